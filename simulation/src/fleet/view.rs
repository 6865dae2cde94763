//! The counts for the core.

use modelfleet_rollout::FleetView;

use super::Fleet;
use crate::device::{Device, Fact, NEVER, Standing};

impl Fleet<'_> {
    /// Whether a device was heard lately, at the beginning of `window`.
    pub fn is_heard(&self, device: &Device, window: u32, silent_windows: u32) -> bool {
        let delay = self.tables.scenario.network.report_delay_windows;
        window.saturating_sub(device.reported.saturating_add(delay)) <= silent_windows
    }

    /// The counts for the core, at the beginning of `window`.
    pub fn view(&self, drawn: Option<u32>, window: u32, silent_windows: u32) -> FleetView {
        let mut view = FleetView { drawn, ..FleetView::default() };
        let cut = self.tables.cut_off(window.saturating_sub(1));
        let one = u64::from;
        for device in &self.devices {
            let runs = device.runs();
            let away = cut.as_ref().is_some_and(|cut| cut[usize::from(device.stratum)]);
            let online = device.is(Fact::Online) && !away;
            view.matching += one(self.matching[usize::from(device.stratum)]);
            view.exposed_ever += one(device.ran());
            view.still_exposed += one(runs && online);
            view.still_exposed_unreachable += one(runs && !online);
            if !device.is(Fact::Member) {
                continue;
            }
            view.members += 1;
            view.eligible += 1;
            view.reachable += one(online);
            view.unreachable += one(!online);
            view.offered += one(device.entered != NEVER || device.ran());
            view.downloaded += one(device.ran());
            view.activated += one(runs);
            view.confirmed += one(device.standing == Standing::Confirmed);
            view.failed += one(device.standing == Standing::Failed);
            view.silent_after_activation += one(runs && !self.is_heard(device, window, silent_windows));
        }
        view
    }
}
