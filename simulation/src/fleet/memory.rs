//! What a device remembers and what its reports carry, where a scenario bounds it.

use modelfleet_judge::SloCounts;

use super::Fleet;
use crate::harm::Tables;
use crate::meter::Meter;
use crate::scenario::{ShortReports, ShortenedArm};

/// How reports of a device are shortened, if they are; `runs`: it runs the candidate.
pub fn shortened(tables: &Tables, runs: bool) -> Option<ShortReports> {
    let arm = if runs { ShortenedArm::Canaries } else { ShortenedArm::Controls };
    tables.scenario.network.short_reports.filter(|short| short.arm == arm)
}

/// Counts the window that is `offset` windows after the stage opened.
pub fn count(short: Option<ShortReports>, meter: &mut Meter, offset: u32, bad: bool) {
    match short {
        Some(short) if short.merged == 0 => meter.count_newest(bad),
        _ => meter.count(offset, bad),
    }
}

/// Whether a device that has not got the candidate loses a window of its past by living through `window`.
pub fn forgets(tables: &Tables, meter: &Meter, window: u32) -> bool {
    let memory = tables.scenario.fleet.memory_windows;
    let lived = window.saturating_add(1).saturating_sub(tables.start);
    memory > 0 && lived > 0 && meter.past().saturating_add(lived) > memory
}

impl Fleet<'_> {
    /// What the reports of a device say of an indicator, the stage from `offset` windows after its opening on.
    pub fn counts(&self, slot: usize, indicator: usize, offset: u32, warmup_windows: u32) -> SloCounts {
        let meter = &self.meters[slot * self.tables.indicators + indicator];
        let device = &self.devices[slot];
        match shortened(self.tables, device.runs()) {
            None => meter.counts(offset),
            Some(short) if short.merged == 0 => meter.counts_newest(short.newest, offset),
            Some(short) => {
                let entered = if device.runs() { device.entered.saturating_add(warmup_windows) } else { 0 };
                let start = self.stage_first.saturating_add(offset).max(entered);
                let whole = start.div_ceil(short.merged).saturating_mul(short.merged);
                let merged = meter.lived().saturating_sub(offset) > short.newest;
                meter.counts(if merged { whole.saturating_sub(self.stage_first) } else { offset })
            }
        }
    }
}
