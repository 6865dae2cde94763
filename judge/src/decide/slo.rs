//! One statistical SLO: both layers, the margin, and the verdict.

use crate::anytime::half_width;
use crate::assessment::{Incident, IncidentKind, SloVerdict, Verdict};
use crate::budget::{Looks, Spending};
use crate::decide::far_worse::FarWorse;
use crate::decide::tally::Tally;
use crate::decide::{
    anytime_layer, exact_layer, exposed, few, few_proof, incident, look_label, margin, own_past_layer,
    transient,
};
use crate::exact::change::{Subject, watched_subjects};
use crate::exact::exposure;
use crate::exact::ratio::{BEYOND, Ratio};
use crate::observations::{Arm, Observations, OnBreach};
use crate::sentence;
use crate::state::SloState;
use modelfleet_number::chance::Chance;
use modelfleet_number::rounding::{milli, ppm};
use std::borrow::Cow;

/// The record, and an incident when canaries got worse and no control is left to compare with.
pub struct Found {
    /// The verdict record.
    pub record: SloVerdict,
    /// Harm against the own past alone.
    pub incident: Option<Incident>,
}

/// Judges the SLO at `index`. Harm, once shown, stays for the stage.
pub fn judge(
    observations: &Observations<'_>,
    index: usize,
    tally: &Tally,
    spending: Spending,
    covered: bool,
    state: &mut SloState,
) -> Found {
    let rule = &observations.slos[index];
    let devices = observations.devices.iter();
    let subjects = watched_subjects(devices.map(|d| (d.id, d.stratum, d.watched, d.arm, d.counts(index))));
    // Harm is looked for all the same: the test evens the exposure out, and a model that is too slow to fill its windows
    // must not escape it by that. Only Healthy wants arms that are alike.
    let unlike = exposure::unlike(&subjects);
    let seed = Chance::fork(observations.seed, look_label(index as u64)).next_u64();
    let shown_before = state.degraded;
    test(rule.looks(observations), &subjects, spending, seed, state);
    // What ended is the price of the change of models. What the look has spent stays spent.
    if !shown_before && state.degraded && transient::judged(rule, tally).is_some() {
        (state.degraded, state.few) = (false, 0);
    }
    let passing = state.shows_what_has_ended();
    let far = FarWorse::of(&subjects);
    let alone = tally.controls == 0;
    let harm = state.degraded;
    let mut record = tally.record(Some(index), rule);
    record.unlike = unlike;
    // A handful of devices that got far worse would drown what the candidate does to the others.
    let told_of = if far.is_empty() || !far.is_handful() {
        Cow::Borrowed(&subjects[..])
    } else {
        Cow::Owned(far.others(&subjects))
    };
    if let Some(ratio) = Ratio::of(&told_of) {
        fill(&mut record, &margin::told(ratio, &told_of));
    }
    record.relative_harm = harm && !alone;
    record.spent_ppb = state.total_ppb();
    record.threshold_ppb = state.threshold_ppb;
    record.p_value_ppb = if state.threshold_ppb > 0 { state.p_value_ppb } else { 1_000_000_000 };
    record.log_e_milli = state.log_e_milli;
    // A first version has no past and no controls: beyond its allowance it can be neither blamed nor passed.
    let beyond = tally.canary.share_ppm() > u64::from(rule.allowance_ppm);
    let first_beyond = alone && tally.canary_history.known == 0 && covered && beyond;
    let ready = !harm && !passing && !first_beyond && covered && unlike.is_none() && record.devices > 0;
    let compared = exposure::compared(&subjects, seed);
    let comparison = margin::Comparison { observations, rule, tally, subjects: &compared, far: &far, seed };
    let ruling = margin::judge(comparison, ready, state);
    record.margin_ppm = ruling.margin_ppm;
    record.few = few::told(&subjects, &far, state);
    let few = record.few.as_ref().filter(|few| few.found);
    record.absolute_breach |= few.is_some_and(|few| few::breaks(few, &subjects, &far, rule.allowance_ppm));
    state.seen = tally.canary;
    record.verdict = if record.relative_harm && record.absolute_breach {
        Verdict::Degraded
    } else if ready && ruling.ruled_out && ruling.margin_ppm == u64::MAX && rule.margin_ppm.is_none() {
        Verdict::Exposed
    } else if ready && ruling.ruled_out {
        Verdict::Healthy
    } else {
        Verdict::Undecided
    };
    if rule.looks(observations).is_final() && ruling.margin_ppm == u64::MAX {
        record.exposure = Some(exposed::of(rule, tally, state.earlier));
    }
    if record.verdict == Verdict::Healthy {
        record.few_proof = few_proof::of(&subjects, &far);
    }
    let told = sentence::slo(rule, &record, tally);
    (record.sentence, record.statistics) = (told.sentence, told.statistics);
    let incident = (((harm && alone) || first_beyond) && rule.on_breach != OnBreach::Observe)
        .then(|| incident::new(rule, index, IncidentKind::NoControls, tally));
    Found { record, incident }
}

/// The effect with its limits; the confidence sequence only where many devices make it hold.
fn fill(record: &mut SloVerdict, ratio: &Ratio) {
    record.estimate_ppm = ppm(ratio.estimate());
    record.low_ppm = ppm(ratio.low(BEYOND));
    record.high_ppm = ppm(ratio.high(BEYOND));
    record.expected_milli = milli(ratio.expected()).unsigned_abs();
    record.dispersion_milli = milli(ratio.dispersion).unsigned_abs();
    let smaller = record.devices.min(record.controls) as usize;
    if smaller >= anytime_layer::FEWEST_DEVICES && ratio.canary > 0.0 && ratio.control > 0.0 {
        let information = 1.0 / (ratio.dispersion * (1.0 / ratio.canary + 1.0 / ratio.control));
        let half = half_width(information, 0.05);
        record.always_low_ppm = ppm(ratio.estimate() * libm::exp(-half));
        record.always_high_ppm = ppm(ratio.estimate() * libm::exp(half));
    }
}

/// Few devices in the smaller arm: the exact layer has the whole share. Many: half each. Very many, or no
/// controls: layer 2 alone. A few and no controls: each against its own past.
/// Which of these holds depends on how many devices there are, not on what they show.
fn test(looks: Looks, subjects: &[Subject], whole: Spending, seed: u64, state: &mut SloState) {
    let canaries = subjects.iter().filter(|s| s.arm == Arm::Canary).count();
    let alone = canaries == subjects.len();
    let smaller = canaries.min(subjects.len() - canaries);
    let left = |part: Spending| Spending {
        share_ppb: part.share_ppb.min(whole.share_ppb.saturating_sub(state.few_spent_ppb)),
    };
    let (ours, others) = (canaries as u64, (subjects.len() - canaries) as u64);
    let few = few::are_tested(ours, others);
    let spending = left(few::left_for_all(whole, ours, others));
    let exact = |spending, state: &mut SloState| exact_layer::test(subjects, spending, looks, seed, state);
    let any_time = |part, state: &mut SloState| {
        // Exposure that differs a little averages out over many devices; a past that one arm lacks does not.
        if smaller <= exact_layer::MOST_DEVICES || exposure::pasts_apart(subjects) {
            anytime_layer::test(&exposure::matched(subjects, seed), part, spending, state)
        } else {
            anytime_layer::test(subjects, part, spending, state)
        }
    };
    // When the number of devices passes a limit between looks, what the other layer has spent stays spent.
    let rest = Spending { share_ppb: spending.share_ppb.saturating_sub(state.anytime_ppb) };
    if alone && canaries < anytime_layer::FEWEST_DEVICES {
        own_past_layer::test(subjects, rest, looks, state);
    } else if alone || smaller > exact_layer::MOST_DEVICES {
        any_time(spending, state);
    } else if smaller >= anytime_layer::FEWEST_DEVICES {
        let half = spending.half();
        let part = Spending { share_ppb: half.share_ppb.min(rest.share_ppb) };
        let _ = exact(part, state) || any_time(half, state);
    } else {
        exact(rest, state);
    }
    if few {
        let rest = whole.share_ppb.saturating_sub(state.spent_ppb.saturating_add(state.anytime_ppb));
        let part = Spending { share_ppb: whole.few().share_ppb.min(rest) };
        few::test(subjects, part, looks, seed, state);
    }
}
