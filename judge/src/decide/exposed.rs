//! Passing on exposure: too few events to rule out any rise, so what is told is which rate so many windows rule out.

use crate::assessment::Exposure;
use crate::decide::tally::Tally;
use crate::exact::change::Subject;
use crate::exact::tail_scan::marked_among_canaries;
use crate::observations::{Counts, SloRule};
use modelfleet_number::gamma;

/// Chance that the rate is above its limit all the same.
const BEYOND: f64 = 0.05;
/// Chance of as many bad windows, or as many bad canaries, where nothing is wrong, below which they speak against a candidate.
const HARDLY_EVER: f64 = 0.01;

/// From the canaries' windows of this stage and of those before. Exact (Garwood, *Biometrika* 1936): so few bad windows
/// come in a twentieth of cases where the share is at the limit; without one the limit is three over the windows (Hanley &
/// Lippman-Hand, *JAMA* 1983).
pub fn of(rule: &SloRule<'_>, tally: &Tally, earlier: Counts) -> Exposure {
    let canary = tally.canary.plus(earlier);
    let high = gamma::lower_inverse(canary.bad() as f64 + 1.0, 1.0 - BEYOND) / canary.known.max(1) as f64;
    let usual = usual(tally);
    let share = usual.bad() as f64 / usual.known.max(1) as f64;
    let rise_ppm = if share > 0.0 { modelfleet_number::rounding::ppm(high / share) } else { u64::MAX };
    let high_ppb = modelfleet_number::rounding::ppb_up(high.min(1.0));
    Exposure { canary, high_ppb, rise_ppm, lacking: lacking(rule, tally, earlier) }
}

/// Whether canaries break the allowance so plainly that few events are no excuse. That is no proof of harm: the stage waits.
///
/// Either most canaries break it and most controls do not, and so many bad windows hardly ever come where the share is the
/// allowance, or what was usual with one bad window more. Or the devices that break it are canaries more often than a random
/// pick hardly ever makes them (Fisher's exact test within strata), however few of all canaries that are: seven of twenty
/// and no control of twenty.
///
/// The first counts windows, which a broken sensor makes bad in a row; so it asks for most canaries. The second counts devices, so
/// that one broken device is one device: one or two of five canaries pass, as they must ([`crate::decide::far_worse`]).
/// More bad windows of canaries never take either back. A harmless candidate with few events is kept waiting by each in one of a
/// hundred stages at the most; a tenth of that would let most of what a few short windows can show pass, since not even five of
/// five canaries and no control of five are that rare (one in 252).
pub fn speaks_against(rule: &SloRule<'_>, tally: &Tally, subjects: &[Subject]) -> bool {
    most_are_bad(rule, tally) || are_among_canaries(rule, subjects)
}

fn most_are_bad(rule: &SloRule<'_>, tally: &Tally) -> bool {
    let most = |over: u32, of: u32| u64::from(over) * 2 > u64::from(of);
    let alone = most(tally.canaries_over, tally.canaries) && !most(tally.controls_over, tally.controls);
    let (bad, known) = (tally.canary.bad(), tally.canary.known);
    if !alone || bad == 0 {
        return false;
    }
    let usual = usual(tally);
    let usual = (usual.bad() as f64 + 1.0) / (usual.known as f64 + 1.0);
    let low = gamma::lower_inverse(bad as f64, HARDLY_EVER) / known.max(1) as f64;
    low > usual.max(f64::from(rule.allowance_ppm) * 1e-6)
}

/// Devices beyond the allowance are canaries more often than chance explains.
fn are_among_canaries(rule: &SloRule<'_>, subjects: &[Subject]) -> bool {
    let allowed = f64::from(rule.allowance_ppm) * 1e-6;
    let over: Vec<bool> = subjects.iter().map(|s| s.bad > allowed * s.known).collect();
    marked_among_canaries(subjects, &over) <= HARDLY_EVER
}

/// What devices did before the stage, and what controls do.
fn usual(tally: &Tally) -> Counts {
    tally.canary_history.plus(tally.control_history).plus(tally.control)
}

/// What the rule asks for and is not reached: windows of canaries, and bad windows of all.
pub fn lacking(rule: &SloRule<'_>, tally: &Tally, earlier: Counts) -> Option<(u64, u64)> {
    let windows = tally.canary.plus(earlier).known;
    let events = tally.canary.plus(tally.control).bad();
    let enough = windows >= rule.min_exposure && events >= rule.min_events;
    (!enough).then_some((rule.min_exposure, rule.min_events))
}
