//! Which rise a stage has ruled out: what Healthy means.

use crate::budget::Looks;
use crate::decide::far_worse::FarWorse;
use crate::decide::tally::Tally;
use crate::decide::{exposed, few};
use crate::exact::change::Subject;
use crate::exact::ratio::{Ratio, rhythm};
use crate::observations::{Observations, OnBreach, SloRule};
use crate::state::SloState;
use modelfleet_number::rounding::{from_ppb, ppm};

/// The default margin is never asked to be finer than this: a quarter more.
const FINEST_PPM: u64 = 1_250_000;
/// To rule out more than this says little: canaries must not be worse than their own past either.
const COARSE_PPM: u64 = 10_000_000;
/// A ratio above this cannot be told from nothing.
const COARSEST_PPM: u64 = 100_000_000;
/// Chance per stage that a harmless candidate is not below the default margin, and that it seems worse than its
/// controls or its past; it then waits.
const HELD_BACK: f64 = 0.002;
/// Times that a margin is widened before that of all devices is taken.
const WIDENED: usize = 8;
/// Effective bad windows (counts over dispersion) below which an arm has too few events to rule anything out: of
/// twelve expected at least one comes, as surely as a harmless candidate is below the default margin.
const FEW_EVENTS: f64 = 12.0;
/// Chance that a candidate exactly as bad as the margin passes at the last planned look, parts per billion.
pub(crate) const MISSED_PPB: u64 = 40_000_000;
/// The same at all looks after it together: the j-th may use half of what is then left. 5 % over all looks.
const MISSED_LATER_PPB: u64 = 10_000_000;

/// What one look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling {
    /// The rise that had to be ruled out; `u64::MAX`: too few events for any.
    pub margin_ppm: u64,
    /// It is ruled out, or nothing can be and nothing speaks against the candidate.
    pub ruled_out: bool,
}

/// Chance of passing wrongly that is used up when so many looks are reached, parts per billion.
fn missed_ppb(looks: Looks) -> u64 {
    if !looks.is_final() {
        return 0;
    }
    let later = u32::from(looks.reached.saturating_sub(looks.planned.max(1)));
    MISSED_PPB + MISSED_LATER_PPB - (MISSED_LATER_PPB >> later.min(63))
}

/// What the look may use: the looks between the one judged last and this one leave their part to it.
fn missed(looks: Looks, judged: u16) -> f64 {
    let before = missed_ppb(Looks { reached: judged, ..looks });
    from_ppb(missed_ppb(looks).saturating_sub(before))
}

/// What the margin is judged by.
#[derive(Clone, Copy)]
pub struct Comparison<'a> {
    /// Budget and looks.
    pub observations: &'a Observations<'a>,
    /// The SLO.
    pub rule: &'a SloRule<'a>,
    /// Its counts.
    pub tally: &'a Tally,
    /// The devices, in the order of `far`.
    pub subjects: &'a [Subject],
    /// Which of them are far worse than before.
    pub far: &'a FarWorse,
    /// The stage's seed for this SLO.
    pub seed: u64,
}

/// Judges the margin once for each look that is reached, the last planned one and those after it: to ask again at
/// every turn until the answer is right would let a candidate as bad as the margin pass three times as often. The
/// answer stays until the next look. `ready`: covered, and nothing else is in the way.
pub fn judge(of: Comparison<'_>, ready: bool, state: &mut SloState) -> Ruling {
    let Comparison { observations, rule, subjects, far, seed, .. } = of;
    let looks = rule.looks(observations);
    if !looks.is_final() {
        return Ruling { margin_ppm: rule.margin_ppm.unwrap_or(u64::MAX), ruled_out: false };
    }
    if state.judged_look == looks.reached {
        // A margin that the user changed since is another question: it is asked at the next look.
        let same = rule.margin_ppm.is_none_or(|margin| margin == state.margin_ppm);
        let margin_ppm = if same { state.margin_ppm } else { rule.margin_ppm.unwrap_or(u64::MAX) };
        return Ruling { margin_ppm, ruled_out: state.healthy && same };
    }
    let ruling = beside(of, missed(looks, state.judged_look), state);
    if !ready {
        return Ruling { ruled_out: false, ..ruling };
    }
    state.judged_look = looks.reached;
    state.margin_ppm = ruling.margin_ppm;
    let doubt = few::doubt(subjects, gates(observations), seed, state) || far.hold_back(subjects);
    state.healthy = ruling.ruled_out && !doubt;
    Ruling { ruled_out: state.healthy, ..ruling }
}

/// SLOs that can stop the stage.
fn gates(observations: &Observations<'_>) -> usize {
    observations.slos.iter().filter(|rule| rule.on_breach != OnBreach::Observe).count()
}

/// What is ruled out beside devices that are far worse than before: by the others alone where those are a handful, else
/// by all of them and by the others alike.
///
/// To leave out the worst devices makes harm to all look smaller, since it makes more canaries than controls far worse. So
/// the margin holds only if it is also ruled out by the devices that would not be far worse if the candidate were as bad as
/// the margin: then both arms lose as many. A margin of the user's that is not ruled out like that is not ruled out; one
/// that the stage chose becomes as wide as it has to be.
fn beside(of: Comparison<'_>, beyond: f64, state: &SloState) -> Ruling {
    let by = |subjects: &[Subject]| rule_out(Comparison { subjects, ..of }, beyond, state);
    if of.far.is_empty() {
        return by(of.subjects);
    }
    let others = by(&of.far.others(of.subjects));
    if !of.far.is_handful() {
        let all = by(of.subjects);
        return Ruling { ruled_out: all.ruled_out && others.ruled_out, ..all };
    }
    if others.margin_ppm == u64::MAX || !others.ruled_out {
        return others;
    }
    let margin_ppm = as_wide_as_ruled_out(of.subjects, others.margin_ppm, beyond);
    match of.rule.margin_ppm {
        Some(asked) => Ruling { ruled_out: margin_ppm <= asked, ..others },
        None => Ruling { margin_ppm, ruled_out: margin_ppm < u64::MAX },
    }
}

/// The smallest rise from `margin_ppm` on that is ruled out by the devices that are not far worse than it would make them.
fn as_wide_as_ruled_out(subjects: &[Subject], margin_ppm: u64, beyond: f64) -> u64 {
    let high_ppm = |subjects: &[Subject]| Ratio::of(subjects).map_or(u64::MAX, |r| ppm(r.high(beyond)));
    let mut margin_ppm = margin_ppm;
    for _ in 0..WIDENED {
        let far = FarWorse::if_harmful(subjects, margin_ppm as f64 * 1e-6);
        let high_ppm = if far.is_handful() { high_ppm(&far.others(subjects)) } else { high_ppm(subjects) };
        if high_ppm <= margin_ppm {
            return margin_ppm;
        }
        margin_ppm = high_ppm;
    }
    // More canaries are left out by a smaller margin only.
    margin_ppm.max(high_ppm(subjects))
}

/// The smallest rise that a harmless candidate is below at a look that may miss a harmful one with this chance, where
/// so many SLOs can stop the stage.
pub(crate) fn smallest_ppm(ratio: &Ratio, gates: usize, rhythm: f64, beyond: f64) -> u64 {
    ppm(ratio.smallest_margin(1.0 - held_back(gates), beyond) * rhythm)
}

/// The margin of a stage that the user gave none, from the smallest that it can rule out; `u64::MAX`: too few events
/// for any.
pub(crate) fn default_ppm(ratio: &Ratio, smallest_ppm: u64) -> u64 {
    if smallest_ppm > COARSEST_PPM && has_few_events(ratio) {
        return u64::MAX;
    }
    smallest_ppm.clamp(FINEST_PPM, COARSEST_PPM)
}

fn held_back(gates: usize) -> f64 {
    HELD_BACK / gates.max(1) as f64
}

fn has_few_events(ratio: &Ratio) -> bool {
    ratio.expected().min(ratio.control) < FEW_EVENTS * ratio.dispersion
}

/// The ratio as it is told to people, and by which a candidate seems worse or not: where events are few, canaries are
/// expected to have at least what their strata's mean lets expect.
pub(crate) fn told(ratio: Ratio, subjects: &[Subject]) -> Ratio {
    if has_few_events(&ratio) { ratio.forgiving(subjects) } else { ratio }
}

fn rule_out(of: Comparison<'_>, beyond: f64, state: &SloState) -> Ruling {
    let Comparison { observations, rule, tally, subjects, .. } = of;
    let Some(ratio) = Ratio::of(subjects) else {
        return Ruling { margin_ppm: rule.margin_ppm.unwrap_or(u64::MAX), ruled_out: false };
    };
    let below = |margin_ppm| ppm(ratio.high(beyond)) <= margin_ppm;
    if let Some(margin_ppm) = rule.margin_ppm {
        return Ruling { margin_ppm, ruled_out: margin_ppm == u64::MAX || below(margin_ppm) };
    }
    let gates = gates(observations);
    let held_back = held_back(gates);
    let rhythm = rhythm(subjects);
    // It looks at controls and at what canaries are expected to do, not at what they did.
    let smallest = smallest_ppm(&ratio, gates, rhythm, beyond);
    let as_before = || {
        smallest <= COARSE_PPM || Ratio::of_past(subjects).is_none_or(|past| past.low(held_back) <= rhythm)
    };
    let margin_ppm = default_ppm(&ratio, smallest);
    if margin_ppm == u64::MAX && exposed::lacking(rule, tally, state.earlier).is_some() {
        return Ruling { margin_ppm, ruled_out: false };
    }
    if margin_ppm == u64::MAX && exposed::speaks_against(rule, tally, subjects) {
        return Ruling { margin_ppm, ruled_out: false };
    }
    let calm = told(ratio, subjects).low(held_back) <= rhythm && as_before();
    Ruling { margin_ppm, ruled_out: calm && (margin_ppm == u64::MAX || below(margin_ppm)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_looks_together_miss_five_percent_at_most() {
        let looks = |reached| Looks { reached, planned: 6 };
        assert_eq!(missed_ppb(looks(5)), 0);
        assert_eq!(missed(looks(6), 0), 0.04);
        assert_eq!(missed(looks(7), 6), 0.005);
        let all: f64 = (6..100).map(|reached| missed(looks(reached), reached - 1)).sum();
        assert!(all <= 0.05 + 1e-12, "{all}");
        assert_eq!(missed_ppb(Looks { reached: u16::MAX, planned: 0 }), 50_000_000);
    }
}
