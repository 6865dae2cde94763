//! Minimum devices, windows and reporting: without them nothing is Healthy.

use crate::assessment::Coverage;
use crate::decide::tally::Tally;
use crate::observations::{Arm, DeviceOutcome, JudgedBy, Observations, OnBreach};
use crate::sentence;

/// Counts what the needs ask for; the SLO with the fewest covered canaries decides. `Observe` and plain
/// rules do not hold a stage here.
pub fn measure(observations: &Observations<'_>, tallies: &[Tally]) -> Coverage {
    let gates: Vec<usize> = (0..tallies.len())
        .filter(|&i| {
            observations.slos.get(i).is_some_and(|rule| {
                let statistical = rule.judged_by == JudgedBy::Statistical;
                rule.on_breach != OnBreach::Observe && statistical && rule.weight > 0
            })
        })
        .collect();
    // A canary that reports, but nothing that can be judged, is not heard: it must not lift the share. One that settles
    // cannot have reported any of it yet.
    let heard = |d: &&DeviceOutcome<'_>| {
        d.reporting && (gates.is_empty() || d.settling || gates.iter().any(|&i| d.counts(i).post.known > 0))
    };
    let canaries = || observations.devices.iter().filter(|d| d.arm == Arm::Canary);
    let active = || canaries().filter(|d| d.active && (d.awaited || d.reporting));
    let all = u32::try_from(active().count()).unwrap_or(u32::MAX);
    let awaited = canaries().filter(|d| d.awaited).count() as u64;
    let settling = u32::try_from(active().filter(|d| d.settling).count()).unwrap_or(u32::MAX);
    let reporting = u32::try_from(active().filter(heard).count()).unwrap_or(u32::MAX);
    let covered = gates.iter().filter_map(|&i| tallies.get(i)).map(|tally| tally.covered);
    let devices = covered.min().unwrap_or(reporting);
    let share = if all == 0 { 0 } else { u64::from(reporting) * 1_000_000 / u64::from(all) };
    let reporting_ppm = u32::try_from(share).unwrap_or(1_000_000);
    let needs = observations.needs;
    let awaited_share = awaited.saturating_mul(u64::from(needs.min_reporting_ppm)).div_ceil(1_000_000);
    let devices_needed = needs.min_devices.max(u32::try_from(awaited_share).unwrap_or(u32::MAX));
    let mut coverage = Coverage {
        met: all > 0 && devices >= devices_needed && reporting_ppm >= needs.min_reporting_ppm,
        devices,
        devices_needed,
        windows_needed: needs.min_windows,
        reporting_ppm,
        settling,
        reporting_needed_ppm: needs.min_reporting_ppm,
        sentence: String::new(),
    };
    coverage.sentence = sentence::coverage(&coverage);
    coverage
}
