//! A breach seen equally in controls is an incident, not a bad model.

use crate::assessment::{Incident, IncidentKind, SloVerdict};
use crate::decide::plain::streak;
use crate::decide::tally::Tally;
use crate::observations::{Arm, Counts, JudgedBy, MergedWindow, Observations, OnBreach, SloRule};
use crate::sentence;
use modelfleet_number::beta::binomial_upper_tail;

/// How many of the newest windows must show it.
const RECENT: usize = 3;
/// A window shows it when chance alone would do so this rarely.
const CHANCE: f64 = 1e-4;
/// Without an allowance only a share this many times the past's is an incident.
const WITHOUT_ALLOWANCE: u64 = 5;

/// Canaries suffer as well when chance alone would let them seem so this rarely: they may be one device.
const CHANCE_FEW: f64 = 0.01;
/// A ratio of canaries to controls whose upper limit is below this: canaries are better.
const ALIKE_PPM: u64 = 1_000_000;

/// Looks at the controls' newest windows, and where no control is left at the canaries' own. Statistical rules: in
/// each of the last three the share of bad devices is beyond the allowance and twice their own past, by more than
/// chance explains. (A binomial tail is safe for devices that differ: their sum scatters less.) A rhythm of the day below twice the mean, and
/// an allowance that was broken before the rollout began, are no incident; nor is what canaries are spared
/// from ([`spared`]): it may be the candidate that mends it, and to hold that up would keep the fleet burning.
/// Plain rules: canaries and controls are both over the threshold for so many windows in a row.
///
/// `record`: what was found of this rule.
pub fn find(
    observations: &Observations<'_>,
    index: usize,
    rule: &SloRule<'_>,
    tally: &Tally,
    record: &SloVerdict,
) -> Option<Incident> {
    if rule.on_breach == OnBreach::Observe {
        return None;
    }
    let slo = u32::try_from(index).unwrap_or(u32::MAX);
    if let JudgedBy::Plain { for_windows } = rule.judged_by {
        let needed = for_windows.max(1);
        let canary = streak(observations, index, Arm::Canary, observations.needs.min_devices.max(1));
        let control = streak(observations, index, Arm::Control, 1);
        if canary.breached < needed || control.breached < needed {
            return None;
        }
        let share = control.last.map_or(0, |w| w.devices.share_ppm());
        return Some(build(rule, slo, IncidentKind::CommonCause, share, u64::from(rule.allowance_ppm)));
    }
    // Where every device has it, they are held against their own past: too few for a verdict, not for a word.
    let alone = tally.controls == 0;
    let (arm, past) =
        if alone { (Arm::Canary, tally.canary_history) } else { (Arm::Control, tally.control_history) };
    if past.known == 0 && (alone || rule.allowance_ppm == 0) {
        return None;
    }
    let usual = usual_ppm(rule, past);
    let Burning { ours, theirs, recent } = since_it_burns(observations, slo, arm, usual)?;
    if alone {
        return Some(build(rule, slo, IncidentKind::NoControls, recent.share_ppm(), past.share_ppm()));
    }
    if spared(ours, theirs, usual, record) {
        return None;
    }
    Some(build(rule, slo, IncidentKind::CommonCause, recent.share_ppm(), usual))
}

/// Device-windows of both arms for as long as one of them has suffered without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burning {
    /// Canaries'.
    pub ours: Counts,
    /// Of the arm that suffers.
    pub theirs: Counts,
    /// Of its newest windows.
    recent: Counts,
}

/// What both arms lived through for as long as controls have suffered; `None`: they do not, or there are none.
pub fn burning(
    observations: &Observations<'_>,
    index: usize,
    rule: &SloRule<'_>,
    tally: &Tally,
) -> Option<Burning> {
    let gates = rule.on_breach != OnBreach::Observe && rule.judged_by == JudgedBy::Statistical;
    let past = tally.control_history;
    if !gates || tally.controls == 0 || (past.known == 0 && rule.allowance_ppm == 0) {
        return None;
    }
    let slo = u32::try_from(index).unwrap_or(u32::MAX);
    since_it_burns(observations, slo, Arm::Control, usual_ppm(rule, past))
}

fn since_it_burns(observations: &Observations<'_>, slo: u32, arm: Arm, usual: u64) -> Option<Burning> {
    let far = |w: &MergedWindow| beyond(w.devices, usual) < CHANCE;
    let mut windows = newest_first(observations, slo, arm);
    // Devices report at different times: what few have told of yet says nothing of all, in either direction.
    let most = windows.iter().map(|w| w.devices.known).max().unwrap_or(0);
    windows.retain(|w| w.devices.known >= most.div_ceil(2));
    windows.truncate(windows.iter().take_while(|w| far(w)).count());
    let since = windows.last()?.window;
    let sum = |windows: &[MergedWindow]| windows.iter().fold(Counts::default(), |sum, w| sum.plus(w.devices));
    let mut ours = newest_first(observations, slo, Arm::Canary);
    ours.retain(|w| w.window >= since);
    let burns = windows.len() >= RECENT;
    burns.then(|| Burning { ours: sum(&ours), theirs: sum(&windows), recent: sum(&windows[..RECENT]) })
}

/// The share of bad device-windows that is allowed, or that a past like this makes no wonder.
fn usual_ppm(rule: &SloRule<'_>, past: Counts) -> u64 {
    // One window more, so that a past without a single bad window is not taken for a promise.
    let past = past.plus(Counts::new(2, 1)).share_ppm();
    match rule.allowance_ppm {
        0 => past * WITHOUT_ALLOWANCE,
        allowance => (past * 2).max(u64::from(allowance)),
    }
}

/// The chance of so many bad device-windows or more where so large a share is bad.
fn beyond(counts: Counts, share_ppm: u64) -> f64 {
    binomial_upper_tail(counts.bad(), counts.known, share_ppm.min(1_000_000) as f64 * 1e-6)
}

/// Whether canaries are spared from what controls suffer from at the same time: they have no window of their own yet,
/// or no more bad ones than usual, or fewer than their controls by more than chance explains, and than their own past
/// lets expect too. (The past alone does not tell: where nearly all windows are bad, the devices that were the worst
/// before seem to have got better.)
fn spared(canaries: Counts, controls: Counts, usual_ppm: u64, record: &SloVerdict) -> bool {
    let good = Counts::new(canaries.known, canaries.known - canaries.bad());
    let fewer = beyond(good, 1_000_000 - controls.share_ppm()) < CHANCE_FEW;
    beyond(canaries, usual_ppm) >= CHANCE_FEW || (fewer && record.high_ppm < ALIKE_PPM)
}

/// The windows of an arm with a known outcome, newest first.
fn newest_first(observations: &Observations<'_>, slo: u32, arm: Arm) -> Vec<MergedWindow> {
    let ours = observations.merged.iter().filter(|w| w.slo == slo && w.arm == arm);
    let mut windows: Vec<MergedWindow> = ours.filter(|w| w.devices.known > 0).copied().collect();
    windows.sort_by_key(|w| std::cmp::Reverse(w.window));
    windows.dedup_by_key(|w| w.window);
    windows
}

/// An incident of `kind` with the share among canaries and what their past was.
pub fn new(rule: &SloRule<'_>, index: usize, kind: IncidentKind, tally: &Tally) -> Incident {
    let slo = u32::try_from(index).unwrap_or(u32::MAX);
    build(rule, slo, kind, tally.canary.share_ppm(), tally.canary_history.share_ppm())
}

fn build(rule: &SloRule<'_>, slo: u32, kind: IncidentKind, share: u64, usual: u64) -> Incident {
    let cut = |ppm: u64| u32::try_from(ppm).unwrap_or(u32::MAX);
    let mut incident =
        Incident { slo, kind, share_ppm: cut(share), usual_ppm: cut(usual), sentence: String::new() };
    incident.sentence = sentence::incident(rule, &incident);
    incident
}
