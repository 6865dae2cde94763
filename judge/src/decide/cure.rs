//! A candidate that mends an incident: while production burns, its stages may end before their time.

use crate::assessment::{Advice, Assessment, SloVerdict};
use crate::budget::Looks;
use crate::decide::assess_look;
use crate::decide::incident::Burning;
use crate::observations::{Counts, Observations, SloRule};
use crate::state::SloState;
use modelfleet_number::beta::binomial_upper_tail;

/// Chance alone would spare canaries so rarely.
const CHANCE: f64 = 1e-4;
/// A ratio of canaries to controls whose upper limit is at most this: the candidate mends it.
const MENDED_PPM: u64 = 500_000;
/// From this part of the planned looks on a stage may end early: one of so many.
const EARLIEST: u16 = 3;

/// For people.
const MENDS: &str = "devices without the new version suffer from something that those with it are spared from, so the stage \
                     ends early";

/// Whether canaries have been spared for as long as controls have suffered: at most half as often bad as controls and past
/// let expect (95 %), and fewer bad windows than controls' by no chance.
pub fn of(burning: &Option<Burning>, record: &SloVerdict) -> bool {
    let Some(Burning { ours, theirs, .. }) = burning else { return false };
    let good = Counts::new(ours.known, ours.known - ours.bad());
    let share = 1.0 - theirs.share_ppm() as f64 * 1e-6;
    let spared = binomial_upper_tail(good.bad(), good.known, share) < CHANCE;
    ours.known > 0 && spared && !record.relative_harm && record.high_ppm <= MENDED_PPM
}

/// Asks at an early look whether the stage could end if it were the last planned one. Only once in a stage: a candidate that
/// mends one thing and does harm in another as large as the margin then passes in 4 % of cases at this look, and in 5 % at
/// all later ones together.
pub fn early(observations: &Observations<'_>, answer: Assessment) -> Assessment {
    if !answer.cures || answer.advice != Advice::Wait {
        return answer;
    }
    let begun = |looks: Looks| looks.reached > 0 && looks.reached >= looks.planned.div_ceil(EARLIEST);
    // Rules are in the order of their states.
    let looks = || observations.slos.iter().map(|rule| rule.looks(observations)).zip(&answer.state.slos);
    let asked = |(looks, slo): (Looks, &SloState)| slo.judged_look != 0 && slo.judged_look != looks.reached;
    let all_begun = begun(observations.looks) && looks().all(|(looks, _)| begun(looks));
    if observations.looks.is_final() || !all_begun || looks().any(asked) {
        return answer;
    }
    let ended = |looks: Looks| Looks { planned: looks.planned.min(looks.reached), ..looks };
    let end = |rule: &SloRule<'_>| Some(ended(rule.looks(observations)));
    let rules: Vec<SloRule<'_>> =
        observations.slos.iter().map(|rule| SloRule { looks: end(rule), ..*rule }).collect();
    let last = Observations { slos: &rules, looks: ended(observations.looks), ..*observations };
    let ended = assess_look(&last, &answer.state);
    if ended.advice == Advice::Advance {
        let sentence = format!("{MENDS}; {}", ended.sentence);
        return Assessment { early: true, sentence, ..ended };
    }
    Assessment { state: ended.state, ..answer }
}
