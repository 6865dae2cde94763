//! What canaries counted by how long ago they changed models, beside controls in the same hours.

use modelfleet_judge::{AfterSwap, Arm, Counts};

use crate::{Device, SAMPLE_MAX, StageWindows};

/// Where spans begin, in windows since the first that is compared: one by one where most costs of a change end, longer
/// ones later.
const EDGES: [u64; 14] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32];

/// Sums over at most [`SAMPLE_MAX`] devices of each arm.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    /// By objective, arm and span.
    spans: Vec<AfterSwap>,
    objectives: usize,
    /// Canaries and controls that were added.
    devices: [usize; 2],
}

/// Spans of an objective.
const SPANS: usize = 2 * EDGES.len();

impl Profile {
    /// Forgets all.
    pub(crate) fn begin(&mut self, objectives: usize, windows: &StageWindows) {
        self.spans.clear();
        self.objectives = objectives;
        self.devices = [0, 0];
        let span = |arm| {
            EDGES.map(|edge| AfterSwap {
                arm,
                from: short(edge.saturating_add(windows.warmup())),
                settling: edge < windows.settling(),
                devices: Counts::default(),
            })
        };
        let both = [Arm::Canary, Arm::Control].map(span);
        (0..objectives).for_each(|_| self.spans.extend(both.iter().flatten().copied()));
    }

    /// Adds a device whose windows are compared from `first` on.
    pub(crate) fn add<D: Device>(&mut self, arm: Arm, first: u64, device: &D) {
        let at = usize::from(arm == Arm::Control);
        if self.devices[at] >= SAMPLE_MAX || device.reported_until() <= first {
            return;
        }
        self.devices[at] += 1;
        for objective in 0..self.objectives {
            let begin = objective * SPANS + at * EDGES.len();
            let spans = &mut self.spans[begin..begin + EDGES.len()];
            // From the last span back to the first, each is what the ones after it have not counted.
            let mut later = Counts::default();
            for (span, edge) in spans.iter_mut().zip(EDGES).rev() {
                let since = device.since(objective, first.saturating_add(edge));
                let own = Counts::new(
                    since.known.saturating_sub(later.known),
                    since.bad().saturating_sub(later.bad()),
                );
                span.devices = span.devices.plus(own);
                later = since;
            }
        }
    }

    /// The spans of an objective: of canaries, then of controls.
    pub(crate) fn of(&self, objective: usize) -> &[AfterSwap] {
        let begin = objective.saturating_mul(SPANS);
        self.spans.get(begin..begin.saturating_add(SPANS)).unwrap_or_default()
    }
}

fn short(windows: u64) -> u32 {
    u32::try_from(windows).unwrap_or(u32::MAX)
}
