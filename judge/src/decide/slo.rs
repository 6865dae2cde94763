//! One statistical SLO: both layers, the margin, and the verdict.

use crate::anytime::half_width;
use crate::assessment::{Incident, IncidentKind, SloVerdict, Verdict};
use crate::budget::Spending;
use crate::decide::tally::Tally;
use crate::decide::{anytime_layer, exact_layer, incident, look_label};
use crate::evidence::{Arm, Evidence, OnBreach};
use crate::exact::change::{Subject, subjects};
use crate::exact::ratio::Ratio;
use crate::number::chance::Chance;
use crate::number::rounding::{milli, ppm};
use crate::sentence;
use crate::state::SloState;

/// The default margin is never asked to be finer than this: a quarter more.
const FINEST_MARGIN_PPM: u64 = 1_250_000;
/// A ratio above this cannot be told from nothing: the stage passes on exposure, and says so.
const COARSEST_MARGIN_PPM: u64 = 100_000_000;
/// Chance per stage that a harmless candidate is not below the default margin.
const HELD_BACK: f64 = 0.002;

/// The record, and an incident when canaries got worse and no control is left to compare with.
pub struct Found {
    /// The verdict record.
    pub record: SloVerdict,
    /// Harm against the own past alone.
    pub incident: Option<Incident>,
}

/// Judges the SLO at `index`. Harm, once shown, stays for the stage.
pub fn judge(
    evidence: &Evidence<'_>,
    index: usize,
    tally: &Tally,
    spending: Spending,
    covered: bool,
    state: &mut SloState,
) -> Found {
    let rule = &evidence.slos[index];
    let subjects = subjects(evidence.devices.iter().map(|d| (d.id, d.stratum, d.arm, d.counts(index))));
    test(evidence, index, &subjects, spending, state);
    let alone = tally.controls == 0;
    let harm = state.degraded;
    let ratio = Ratio::of(&subjects);
    let mut record = tally.record(Some(index), rule);
    if let Some(ratio) = &ratio {
        fill(&mut record, ratio);
    }
    if rule.margin_ppm.is_none() && evidence.looks.is_final() {
        record.margin_ppm = smallest_margin(evidence, ratio.as_ref());
    }
    record.relative_harm = harm && !alone;
    record.spent_ppb = state.spent_ppb + state.anytime_ppb;
    record.threshold_ppb = state.threshold_ppb;
    record.p_value_ppb = if state.threshold_ppb > 0 { state.p_value_ppb } else { 1_000_000_000 };
    record.log_e_milli = state.log_e_milli;
    let ruled_out = record.margin_ppm == u64::MAX || record.high_ppm <= record.margin_ppm;
    // A first version has no past and no controls: beyond its allowance it can be neither blamed nor passed.
    let beyond = tally.canary.share_ppm() > u64::from(rule.allowance_ppm);
    let first_beyond = alone && tally.canary_history.known == 0 && covered && beyond;
    record.verdict = if record.relative_harm && record.absolute_breach {
        Verdict::Degraded
    } else if !harm
        && !first_beyond
        && covered
        && evidence.looks.is_final()
        && ruled_out
        && record.devices > 0
    {
        Verdict::Healthy
    } else {
        Verdict::Undecided
    };
    record.sentence = sentence::slo(rule, &record);
    let incident = (((harm && alone) || first_beyond) && rule.on_breach != OnBreach::Observe)
        .then(|| incident::new(rule, index, IncidentKind::NoControls, tally));
    Found { record, incident }
}

/// The effect with its limits; the confidence sequence only where many devices make it hold.
fn fill(record: &mut SloVerdict, ratio: &Ratio) {
    record.estimate_ppm = ppm(ratio.estimate());
    record.low_ppm = ppm(ratio.low());
    record.high_ppm = ppm(ratio.high());
    record.expected_milli = milli(ratio.control * ratio.exposure).unsigned_abs();
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
/// controls: layer 2 alone.
/// Which of these holds depends on how many devices there are, not on what they show.
fn test(
    evidence: &Evidence<'_>,
    index: usize,
    subjects: &[Subject],
    spending: Spending,
    state: &mut SloState,
) {
    let canaries = subjects.iter().filter(|s| s.arm == Arm::Canary).count();
    let alone = canaries == subjects.len();
    let seed = Chance::fork(evidence.seed, look_label(index as u64)).next_u64();
    let exact =
        |spending, state: &mut SloState| exact_layer::test(subjects, spending, evidence.looks, seed, state);
    let smaller = canaries.min(subjects.len() - canaries);
    // When the number of devices passes a limit between looks, what the other layer has spent stays spent.
    let rest = Spending { share_ppb: spending.share_ppb.saturating_sub(state.anytime_ppb) };
    if alone || smaller > exact_layer::MOST_DEVICES {
        anytime_layer::test(subjects, spending, spending, state);
    } else if smaller >= anytime_layer::FEWEST_DEVICES {
        let half = spending.half();
        let part = Spending { share_ppb: half.share_ppb.min(rest.share_ppb) };
        let _ = exact(part, state) || anytime_layer::test(subjects, half, spending, state);
    } else {
        exact(rest, state);
    }
}

/// The smallest margin that a harmless candidate passes surely enough at this stage; `u64::MAX` when there
/// are too few events for any. It looks at controls and at what canaries are expected to do, not at what
/// they did.
fn smallest_margin(evidence: &Evidence<'_>, ratio: Option<&Ratio>) -> u64 {
    let gates = evidence.slos.iter().filter(|rule| rule.on_breach != OnBreach::Observe).count().max(1);
    let pass = 1.0 - HELD_BACK / gates as f64;
    let smallest = ratio.map_or(u64::MAX, |ratio| ppm(ratio.smallest_margin(pass)));
    if smallest > COARSEST_MARGIN_PPM { u64::MAX } else { smallest.max(FINEST_MARGIN_PPM) }
}
