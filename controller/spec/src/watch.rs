//! The watch after success.

use modelfleet_crds::RolloutSpec;
use modelfleet_crds::rollout::{AlarmAction, DetectorKind, WatchDetector};
use modelfleet_watch::{Named, NamedKind, OnAlarm, Stream, WatchPolicy};

use crate::{Problem, duration};

/// The shortest alarm budget, milliseconds: with more false alarms than one a day no alarm says anything.
const FALSE_ALARM_EVERY_MIN_MS: u64 = 86_400_000;
/// Windows after its end in which devices report a window, where they report after every second one.
const LATE_WINDOWS: u64 = 2;

/// `None`: it is off.
pub(crate) fn watch(
    spec: &RolloutSpec,
    window_ms: u64,
    report_every_ms: u64,
) -> Result<Option<WatchPolicy>, Problem> {
    let watch = &spec.watch;
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
    let named = watch.detectors.iter().enumerate();
    let named = named.map(|(at, one)| detector(&format!("spec.watch.detectors[{at}]"), one, spec));
    let named = named.collect::<Result<Vec<_>, Problem>>()?;
    let late_windows = report_every_ms.div_ceil(window_ms.max(1)).max(LATE_WINDOWS);
    Ok(watch.enabled.then_some(WatchPolicy {
        false_alarm_every_ms,
        window_ms,
        late_windows,
        on_alarm,
        named,
    }))
}

fn detector(at: &str, one: &WatchDetector, spec: &RolloutSpec) -> Result<Named, Problem> {
    let stream = match &one.objective {
        None => Stream::Silence,
        Some(name) if spec.slos.iter().any(|slo| slo.name == *name) => Stream::Objective(name.clone()),
        Some(name) => {
            return Err(Problem::spec(format!("{at}.objective"), format!("{name} is no name in spec.slos")));
        }
    };
    let threshold = |unit: i64, default: Option<u32>| -> Result<u32, Problem> {
        let field = format!("{at}.threshold");
        let Some(text) = &one.threshold else {
            return default.ok_or_else(|| Problem::spec(&field, "is needed for Above, such as \"0.05\""));
        };
        let millionths = text.millionths().map_err(|error| Problem::spec(&field, error))?;
        u32::try_from(millionths / unit).map_err(|_| Problem::spec(&field, "must be from 0 to 4000"))
    };
    // Standard deviations are kept in thousandths.
    let kind = match one.detector {
        DetectorKind::Above => NamedKind::Above(threshold(1, None)?),
        DetectorKind::Dynamic => NamedKind::Dynamic(threshold(1_000, Some(3_000))?),
        DetectorKind::Seasonal => NamedKind::Seasonal(threshold(1_000, Some(3_000))?),
        DetectorKind::Percentile => NamedKind::Percentile(threshold(1, Some(990_000))?),
        DetectorKind::RateOfChange => NamedKind::RateOfChange(threshold(1, Some(1_000_000))?),
        other if one.threshold.is_some() => {
            let text = format!("{other:?} has its usual settings and takes none");
            return Err(Problem::spec(format!("{at}.threshold"), text));
        }
        DetectorKind::Adwin => NamedKind::Adwin,
        DetectorKind::Ddm => NamedKind::Ddm,
        DetectorKind::Eddm => NamedKind::Eddm,
        DetectorKind::Hddm => NamedKind::Hddm,
        DetectorKind::Kswin => NamedKind::Kswin,
        DetectorKind::PageHinkley => NamedKind::PageHinkley,
        DetectorKind::Cusum => NamedKind::Cusum,
        DetectorKind::Ewma => NamedKind::Ewma,
        DetectorKind::ThreeSigma => NamedKind::ThreeSigma,
    };
    Ok(Named { name: one.name.clone(), kind, stream })
}
