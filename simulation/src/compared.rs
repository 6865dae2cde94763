//! Lets a method that users would pick instead of the judge decide: reads for it what it would have read.

use modelfleet_evidence::LookPlan;
use modelfleet_judge::{Arm, Looks};
use modelfleet_rollout::{Coverage, Evidence, State, Verdict};

use crate::device::Fact;
use crate::fleet::Fleet;
use crate::methods::{Devices, Method, Progress, Reading, Requests};

/// What is carried from window to window of a stage.
#[derive(Debug, Default)]
pub struct Compared {
    indicators: Vec<Progress>,
    seen: Option<u32>,
    /// The most that has spoken against the candidate in this stage.
    pub peak: Option<f64>,
}

impl Compared {
    /// Reads the newest window and says what the method says; `looks` are those of the stage's bake time.
    pub fn judge(
        &mut self,
        (method, bar): (Method, f64),
        state: &State,
        fleet: &Fleet,
        window: u32,
        plan: &LookPlan,
        looks: Looks,
    ) -> Evidence {
        if self.indicators.is_empty() {
            self.indicators = (0..fleet.tables.indicators).map(|_| Progress::new(method)).collect();
        }
        // The newest window that everybody who is in reach has reported.
        let delay = fleet.tables.scenario.network.report_delay_windows + 1;
        let newest = window.checked_sub(delay).filter(|w| *w >= fleet.stage_first);
        let unread = self.seen.map_or(fleet.stage_first, |seen| seen + 1);
        for at in newest.map_or(unread..unread, |newest| unread..newest + 1) {
            self.seen = Some(at);
            for (indicator, progress) in self.indicators.iter_mut().enumerate() {
                let read = progress.read(&reading(method, fleet, indicator, at, plan.windows()));
                self.peak = read.into_iter().chain(self.peak).reduce(f64::max);
            }
        }
        let harm = self.peak.is_some_and(|peak| peak > bar);
        let verdict = match (harm, looks.is_final()) {
            (true, _) => Verdict::Degraded,
            (false, true) => Verdict::Healthy,
            (false, false) => Verdict::Undecided,
        };
        Evidence {
            attempt: state.attempt,
            stage: state.stage,
            verdict,
            coverage: Coverage::Met,
            final_look: looks.is_final(),
            ..Evidence::default()
        }
    }
}

/// What a method reads of one objective in a window.
fn reading(method: Method, fleet: &Fleet, indicator: usize, window: u32, planned: u64) -> Reading {
    let per_window = f64::from(fleet.tables.scenario.fleet.predictions_per_window);
    let requests = [Arm::Canary, Arm::Control].map(|arm| {
        let cell = fleet.windows.at(arm, indicator, window);
        let all = f64::from(cell.known) * per_window;
        Requests { all, wrong: (cell.errors as f64).min(all) }
    });
    let devices = match method {
        Method::ConfidenceSequence => devices(fleet, indicator),
        Method::Argo { .. } | Method::Flagger | Method::MannWhitney | Method::Msprt => Default::default(),
    };
    let passed = u64::from(window.saturating_sub(fleet.stage_first)) + 1;
    Reading { requests, devices, usual: usual(fleet, indicator) / per_window, passed, planned }
}

/// Devices of both arms since the stage began.
fn devices(fleet: &Fleet, indicator: usize) -> [Devices; 2] {
    [true, false].map(|canaries| {
        let slots = 0..fleet.devices.len();
        let own = slots.filter(|slot| {
            let device = &fleet.devices[*slot];
            if canaries { device.runs() } else { !device.runs() && !device.is(Fact::Member) }
        });
        let counts = own.map(|slot| fleet.since(slot, indicator, u64::from(fleet.stage_first)));
        Devices::of(counts.filter(|one| one.known > 0).map(|one| one.bad() as f64 / one.known as f64))
    })
}

/// Errors of a device and window before the rollout: its share of bad windows, each with a burst of mean length.
fn usual(fleet: &Fleet, indicator: usize) -> f64 {
    let hazard = |stratum: u16| fleet.tables.usual_hazard(stratum, indicator);
    let strata = fleet.tables.labels.len().max(1);
    let mean = (0..strata).map(|stratum| hazard(stratum as u16)).sum::<f64>() / strata as f64;
    mean * fleet.tables.scenario.fleet.burst
}
