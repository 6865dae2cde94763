//! The plain rule: a merged value over its threshold for so many windows in a row. No error promise.

use crate::assessment::{SloVerdict, Verdict};
use crate::decide::tally::Tally;
use crate::observations::{Arm, JudgedBy, MergedWindow, Observations, SloRule};
use crate::sentence;

/// What the last windows of one arm say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streak {
    /// Newest usable windows in a row that were breached.
    pub breached: u32,
    /// Usable windows (enough devices and samples).
    pub usable: u32,
    /// The newest usable window.
    pub last: Option<MergedWindow>,
}

/// Looks back from the newest window. A window with too few devices or samples is skipped: it neither
/// breaks a streak nor counts.
pub fn streak(observations: &Observations<'_>, slo: usize, arm: Arm, min_devices: u32) -> Streak {
    let samples = observations.slos.get(slo).map_or(0, |rule| rule.min_samples);
    let mut windows: Vec<&MergedWindow> = observations
        .merged
        .iter()
        .filter(|w| w.slo as usize == slo && w.arm == arm)
        .filter(|w| w.devices.known >= u64::from(min_devices) && w.samples >= samples)
        .collect();
    windows.sort_by_key(|w| std::cmp::Reverse(w.window));
    windows.dedup_by_key(|w| w.window);
    let breached = windows.iter().take_while(|w| w.breached).count();
    Streak {
        breached: u32::try_from(breached).unwrap_or(u32::MAX),
        usable: u32::try_from(windows.len()).unwrap_or(u32::MAX),
        last: windows.first().map(|w| **w),
    }
}

/// Degraded when canaries' last `for_windows` usable windows are all breached and controls' are not;
/// Healthy at the final look when the newest `for_windows` windows exist and the newest is not breached.
pub fn judge(observations: &Observations<'_>, index: usize, rule: &SloRule<'_>, tally: &Tally) -> SloVerdict {
    let needed = match rule.judged_by {
        JudgedBy::Plain { for_windows } => for_windows.max(1),
        JudgedBy::Statistical | JudgedBy::Poisson(_) => 1,
    };
    let canary = streak(observations, index, Arm::Canary, observations.needs.min_devices.max(1));
    let control = streak(observations, index, Arm::Control, 1);
    let absolute = canary.breached >= needed;
    let relative = absolute && control.breached < needed;
    let verdict = if relative {
        Verdict::Degraded
    } else if !absolute
        && canary.breached == 0
        && canary.usable >= needed
        && rule.looks(observations).is_final()
    {
        Verdict::Healthy
    } else {
        Verdict::Undecided
    };
    let mut record = tally.record(Some(index), rule);
    record.verdict = verdict;
    record.absolute_breach = absolute;
    record.relative_harm = relative;
    record.promised = false;
    let told = sentence::plain(rule, &canary, &control, needed, verdict);
    (record.sentence, record.statistics) = (told.sentence, told.statistics);
    record
}
