//! A limit by device and year, such as "under 25 false alarms a year": what canaries' windows say of it by themselves.
//!
//! A window is bad when something came in it, so windows are counted, not events, and the limit is taken for windows: of so many
//! windows at the limit, [`expected_in`] are bad. That holds however the events of a window hang together.
//!
//! - **Above the limit** is shown by a mixture of likelihood ratios ([`above`]): under the limit it reaches 100 in one rollout
//!   of a hundred at the most, however often it is looked at. Where there are controls, canaries must be bad more often than
//!   they, too (an exact binomial test of the windows of both at 1 %), or a limit that no build can hold would take back good ones.
//! - **Below the limit** is shown by the exact Poisson test at 5 % at the last planned look, and while the stage waits after
//!   it by the same kind of mixture. A stage passes only when that is shown.
//!
//! Nothing of it is spent from the error budget: it holds for events that come independently of each other at the limit. A
//! device that raises its alarms on a bad day all together counts as that many windows.

use modelfleet_number::beta;

use crate::assessment::{SloVerdict, Verdict};
use crate::decide::tally::Tally;
use crate::observations::{Counts, Observations, SloRule, YearlyLimit};
use crate::sentence;
use crate::sizing::yearly::{expected_in, is_below};
use crate::state::SloState;

/// The mixture that shows it: one over how often it may be reached wrongly.
const SHOWS: f64 = 100.0;
/// How much more often canaries are to be bad than controls, by chance.
const RELATIVE: f64 = 0.01;
/// The multiples of the limit that are looked for above it, and below it.
const RISES: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];
const FALLS: [f64; 4] = [0.0, 0.25, 0.5, 0.75];

/// What canaries and controls say of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// Canaries' windows with the candidate, of all stages.
    pub canary: Counts,
    /// They are above the limit.
    pub above: bool,
    /// And above what controls do, or there are none.
    pub relative: bool,
    /// They are below the limit.
    pub below: bool,
}

impl Finding {
    /// Tests the windows; `at_end`: it is the last planned look.
    #[must_use]
    pub fn of(canary: Counts, control: Counts, limit: YearlyLimit, at_end: bool, waits: bool) -> Finding {
        let mean = expected_in(canary.known, limit.window_ms, limit.per_year_milli);
        let exact = at_end && !waits && canary.known > 0 && is_below(canary.bad(), mean);
        Finding {
            canary,
            above: mixture(canary.bad(), mean, &RISES) >= SHOWS,
            relative: more_often(canary, control),
            below: exact || (at_end && mixture(canary.bad(), mean, &FALLS) >= SHOWS),
        }
    }
}

/// The mean of likelihood ratios of these multiples of the rate against the rate itself. Under the rate it is a supermartingale:
/// a window of chance p has the mean 1 + p (r - 1), which is at most exp(p (r - 1)).
fn mixture(bad: u64, mean: f64, multiples: &[f64]) -> f64 {
    let events = |r: f64| if bad == 0 { 0.0 } else { bad as f64 * libm::log(r) };
    let ratios = multiples.iter().map(|&r| libm::exp(events(r) + mean * (1.0 - r)));
    ratios.sum::<f64>() / multiples.len() as f64
}

/// Whether canaries have more of the bad windows than their share of all windows explains; without controls they do.
fn more_often(canary: Counts, control: Counts) -> bool {
    if control.known == 0 {
        return true;
    }
    let (ours, all) = (canary.bad(), canary.bad().saturating_add(control.bad()));
    let share = canary.known as f64 / (canary.known as f64 + control.known as f64);
    ours > 0 && beta::binomial_upper_tail(ours, all, share) <= RELATIVE
}

/// Judges a limit by year.
pub fn judge(
    observations: &Observations<'_>,
    index: usize,
    rule: &SloRule<'_>,
    limit: YearlyLimit,
    tally: &Tally,
    state: &mut SloState,
) -> SloVerdict {
    let looks = rule.looks(observations);
    let canary = tally.canary.plus(state.earlier);
    let finding = Finding::of(canary, tally.control, limit, looks.is_final(), looks.reached > looks.planned);
    state.seen = tally.canary;
    let mut record = tally.record(Some(index), rule);
    record.verdict = match finding {
        Finding { above: true, relative: true, .. } => Verdict::Degraded,
        Finding { above: false, below: true, .. } => Verdict::Healthy,
        _ => Verdict::Undecided,
    };
    (record.absolute_breach, record.relative_harm) = (finding.above, finding.above && finding.relative);
    record.promised = false;
    let told = sentence::rare(rule, limit, &finding, tally);
    (record.sentence, record.statistics) = (told.sentence, told.statistics);
    record
}

#[cfg(test)]
mod tests {
    use modelfleet_number::chance::Chance;

    use super::*;

    const HOUR: u64 = 3_600_000;
    const LIMIT: YearlyLimit = YearlyLimit { per_year_milli: 25_000, window_ms: HOUR };

    fn windows(known: u64, bad: u64) -> Counts {
        Counts { known, bad }
    }

    /// Five pumps, under 25 a year: nine days without an event are enough, seven are not.
    #[test]
    fn five_pumps_show_under_25_a_year_in_nine_days() {
        let of =
            |days: u64, bad| Finding::of(windows(5 * 24 * days, bad), Counts::default(), LIMIT, true, false);
        assert!(!of(7, 0).below && of(9, 0).below && !of(9, 1).below && of(14, 1).below);
        assert!(
            !Finding::of(windows(5 * 24 * 30, 0), Counts::default(), LIMIT, false, false).below,
            "at the end only"
        );
        // 34 expected at the limit in a hundred days: 60 are too many.
        assert!(!of(100, 45).above && of(100, 62).above);
    }

    #[test]
    fn a_limit_that_no_build_holds_takes_nothing_back() {
        let canary = windows(12_000, 62);
        let of = |control| Finding::of(canary, control, LIMIT, true, false);
        assert!(of(windows(120_000, 300)).relative && !of(windows(120_000, 600)).relative);
        assert!(of(Counts::default()).relative && of(Counts::default()).above);
    }

    /// Played: 2 000 stages of 12 000 windows at the limit, looked at after every thousandth of them.
    #[test]
    fn at_the_limit_one_in_a_hundred_is_taken_for_above() {
        let chance = &mut Chance::fork(7, 1);
        let per_step = expected_in(12, HOUR, 25_000);
        let (mut above, mut below) = (0, 0);
        for _ in 0..2_000 {
            let (mut bad, mut found) = (0, false);
            for step in 1..=1_000_u64 {
                bad += u64::from(chance.unit() < per_step);
                found |= Finding::of(windows(12 * step, bad), Counts::default(), LIMIT, false, false).above;
            }
            above += u32::from(found);
            below +=
                u32::from(Finding::of(windows(12_000, bad), Counts::default(), LIMIT, true, false).below);
        }
        assert!(above <= 30 && below <= 130, "{above} {below} of 2 000");
    }
}
