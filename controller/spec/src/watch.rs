//! The watch after success.

use modelfleet_crds::rollout::{AlarmAction, Watch};
use modelfleet_watch::{OnAlarm, WatchPolicy};

use crate::{Problem, duration};

/// The shortest alarm budget, milliseconds: with more false alarms than one a day no alarm says anything.
const FALSE_ALARM_EVERY_MIN_MS: u64 = 86_400_000;
/// Windows after its end in which devices report a window, where they report after every second one.
const LATE_WINDOWS: u64 = 2;

/// `None`: it is off.
pub(crate) fn watch(
    watch: &Watch,
    window_ms: u64,
    report_every_ms: u64,
) -> Result<Option<WatchPolicy>, Problem> {
    let field = "spec.watch.falseAlarmEvery";
    let false_alarm_every_ms = duration(field, &watch.false_alarm_every)?;
    if false_alarm_every_ms < FALSE_ALARM_EVERY_MIN_MS {
        return Err(Problem::spec(field, "must be at least 1d, such as 365d"));
    }
    let on_alarm = match watch.on_alarm {
        AlarmAction::Observe => OnAlarm::Observe,
        AlarmAction::Notify => OnAlarm::Notify,
        AlarmAction::Pause => OnAlarm::Pause,
        AlarmAction::RollBack => OnAlarm::RollBack,
        AlarmAction::Retrain => OnAlarm::Retrain,
    };
    let late_windows = report_every_ms.div_ceil(window_ms.max(1)).max(LATE_WINDOWS);
    Ok(watch.enabled.then_some(WatchPolicy { false_alarm_every_ms, window_ms, late_windows, on_alarm }))
}
