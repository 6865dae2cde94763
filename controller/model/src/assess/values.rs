//! What devices with the version and without it measured: by objective for the status, and by metric for Prometheus.

use modelfleet_evidence::StageWindows;
use modelfleet_fleet::arm_values::{ArmWindows, Wanted};
use modelfleet_judge::Arm;
use modelfleet_protocol::metric::{Measured, Metric};

use super::Judged;

/// What devices measured.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// By objective, in the order of the spec: over the newest windows that count.
    pub objectives: Vec<ObjectiveValue>,
    /// By arm: in the last window that is complete.
    pub last_windows: Vec<ArmWindow>,
}

/// The value of an objective.
#[derive(Clone, Copy, Debug, Default)]
pub struct ObjectiveValue {
    /// Of devices with the version; `None`: not known yet.
    pub canaries: Option<Measured>,
    /// Of devices without it.
    pub controls: Option<Measured>,
}

/// One window of an arm.
#[derive(Clone, Debug)]
pub struct ArmWindow {
    /// Which arm.
    pub arm: Arm,
    /// When the window ended, milliseconds since 1970.
    pub ended_at_ms: u64,
    /// Devices of the sample that reported it.
    pub devices: usize,
    /// What is known of each metric.
    pub values: Vec<(Metric, u64)>,
}

/// Reads the samples of both arms. Windows in which a canary pays for the change of models count as little here as they do
/// for the judge.
pub(super) fn values(judged: &Judged<'_>, stage: &StageWindows) -> Values {
    let Some(samples) = judged.samples else { return Values::default() };
    let canaries = samples.arm_windows(Arm::Canary, |activated| stage.start(activated).settled);
    let controls = samples.arm_windows(Arm::Control, |_| stage.first());
    let objective = |objective: &modelfleet_spec::Objective| {
        let asked = &objective.indicator;
        let wanted =
            Wanted { metric: asked.metric, feature: asked.feature.as_deref(), profile: judged.profile };
        ObjectiveValue { canaries: canaries.value(wanted), controls: controls.value(wanted) }
    };
    let window_ms = judged.counting.window_ms;
    let last = |arm| {
        let (index, windows) = samples.last_window(arm)?;
        let ended_at_ms = index.saturating_add(1).saturating_mul(window_ms);
        Some(ArmWindow {
            arm,
            ended_at_ms,
            devices: windows.devices(),
            values: of_all_metrics(judged, &windows),
        })
    };
    Values {
        objectives: judged.valid.objectives.iter().map(objective).collect(),
        last_windows: [Arm::Canary, Arm::Control].into_iter().filter_map(last).collect(),
    }
}

fn of_all_metrics(judged: &Judged<'_>, windows: &ArmWindows) -> Vec<(Metric, u64)> {
    let value = |metric| {
        let value = windows.merged(Wanted { metric, feature: None, profile: judged.profile })?;
        Some((metric, value))
    };
    Metric::all().filter_map(value).collect()
}
