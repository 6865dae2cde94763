//! What a device remembers and what its reports carry, where a scenario bounds it.

use modelfleet_judge::Counts;

use super::Fleet;
use crate::device::NEVER;
use crate::harm::Tables;
use crate::meter::Meter;
use crate::scenario::{ShortReports, ShortenedArm};

/// How reports of a device are shortened, if they are; `runs`: it runs the candidate.
pub fn shortened(tables: &Tables, runs: bool) -> Option<ShortReports> {
    let arm = if runs { ShortenedArm::Canaries } else { ShortenedArm::Controls };
    tables.scenario.network.short_reports.filter(|short| short.arm == arm)
}

/// Counts the window that is `offset` windows after the device's first that counts.
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
    memory > 0 && lived > 0 && meter.past_windows().saturating_add(lived) > memory
}

impl Fleet<'_> {
    fn meter(&self, slot: usize, indicator: usize) -> &Meter {
        &self.meters[slot * self.tables.indicators + indicator]
    }

    /// What a device remembers of an indicator under the model before.
    #[inline]
    pub fn past(&self, slot: usize, indicator: usize) -> Counts {
        self.meter(slot, indicator).past()
    }

    /// What the reports of a device say of an indicator from window `first` on.
    #[inline]
    pub fn since(&self, slot: usize, indicator: usize, first: u64) -> Counts {
        let meter = self.meter(slot, indicator);
        let device = &self.devices[slot];
        let runs = device.runs();
        // A device counts from its own first window on; where old windows are lost, what is left is counted from its end.
        let begin = match runs {
            true => self.stage.start_window(u64::from(device.entered)).compared,
            false => u64::from(self.stage_first),
        };
        let offset = |window: u64| u32::try_from(window.saturating_sub(begin)).unwrap_or(NEVER);
        match shortened(self.tables, runs) {
            None => meter.since(offset(first)),
            Some(short) if short.merged == 0 => meter.newest_since(short.newest, offset(first)),
            Some(short) => {
                let merged = meter.lived().saturating_sub(offset(first)) > short.newest;
                let length = u64::from(short.merged);
                let whole = first.div_ceil(length).saturating_mul(length);
                meter.since(offset(if merged { whole } else { first }))
            }
        }
    }
}
