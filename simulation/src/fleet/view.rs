//! The counts for the core.

use modelfleet_evidence::{Device, Moment, count};
use modelfleet_rollout::FleetView;

use super::Fleet;
use crate::observed::Observer;
use crate::setup::Controls;

impl Fleet<'_> {
    /// The counts for the core, at the beginning of `window`.
    pub fn view(&self, drawn: Option<u32>, window: u32, moment: &Moment) -> FleetView {
        let mut view = FleetView { drawn, ..FleetView::default() };
        let observer = Observer::new(self, Controls::All, window);
        observer.devices().for_each(|device| count(&mut view, &device.facts(), moment));
        view
    }
}
