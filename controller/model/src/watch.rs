//! The watch over a version in production: what is read of the fleet for it, and what is said of its alarm.

mod groups;
mod reading;
mod words;

use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Alarm, AlarmAction, Phase};
use modelfleet_watch::{OnAlarm, WatchMemory, WatchPolicy, WindowReading, keep, nearness};

use crate::assess::Judged;

/// Most windows that one look reads. Those of a longer time without a controller are not read: their histograms are gone, and
/// a burst of old windows would say little about now.
const WINDOWS_MAX: u64 = 24;

/// What the watch says at a look.
#[derive(Clone, Debug)]
pub struct Watched {
    /// To keep.
    pub memory: WatchMemory,
    /// How near an alarm is: 0 is quiet, 100 is an alarm.
    pub level_percent: u32,
    /// The alarm, while there is one.
    pub alarm: Option<WatchAlarm>,
    /// When the next window is closed.
    pub wake_at: Time,
}

/// An alarm, with what shows it. What tells of alarms takes them from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchAlarm {
    /// Since when: the end of the window that raised it.
    pub since: Time,
    /// What kind of thing it is, one CamelCase word.
    pub reason: String,
    /// What and where, with numbers, as it was when it was raised.
    pub sentence: String,
    /// What the spec says that it does.
    pub action: AlarmAction,
}

/// Goes on with the watch, where there is one. `text`: what was kept.
#[must_use]
pub fn watch(judged: &Judged<'_>, text: Option<&str>) -> Option<Watched> {
    let policy = judged.valid.watch.as_ref().filter(|_| judged.state.phase == Phase::Succeeded)?;
    let ended = judged.state.figures.ended_at?;
    let kept = text.and_then(WatchMemory::from_text).filter(|kept| kept.attempt == judged.state.attempt);
    let mut memory = kept.unwrap_or_else(|| begun(policy, judged.state.attempt, ended));
    let end = policy.closed_end(judged.moment.now.0);
    memory.next = memory.next.max(end.saturating_sub(WINDOWS_MAX));
    let pending = memory.next..end;
    let groups = if pending.is_empty() { None } else { Some(groups::Groups::of(judged)) };
    let readings: Vec<WindowReading> = groups
        .iter()
        .flat_map(|groups| pending.clone().map(|index| reading::reading(judged, groups, index)))
        .collect();
    keep(policy, &mut memory, &readings);
    if let Some(unsaid) = memory.alarm.as_ref().filter(|alarm| alarm.words.0.is_empty()) {
        let words = words::words(judged, &memory, unsaid, readings.last());
        memory.alarm.iter_mut().for_each(|alarm| alarm.words = words.clone());
    }
    let alarm = memory.alarm.as_ref().map(|alarm| WatchAlarm {
        since: Time(alarm.window.saturating_add(1).saturating_mul(policy.window_ms)),
        reason: alarm.words.0.clone(),
        sentence: alarm.words.1.clone(),
        action: action(policy.on_alarm),
    });
    let level_percent = if alarm.is_some() { 100 } else { (nearness(policy, &memory) * 100.0) as u32 };
    let wake_at = Time(policy.closes_at_ms(memory.next));
    Some(Watched { memory, level_percent, alarm, wake_at })
}

/// From the first whole window after success.
fn begun(policy: &WatchPolicy, attempt: u32, ended: Time) -> WatchMemory {
    let next = ended.0.div_ceil(policy.window_ms.max(1));
    WatchMemory { attempt, next, ..WatchMemory::default() }
}

fn action(on_alarm: OnAlarm) -> AlarmAction {
    match on_alarm {
        OnAlarm::Observe => AlarmAction::Observe,
        OnAlarm::Notify => AlarmAction::Notify,
        OnAlarm::Pause => AlarmAction::Pause,
        OnAlarm::RollBack => AlarmAction::RollBack,
        OnAlarm::Retrain => AlarmAction::Retrain,
    }
}

impl Watched {
    /// As the core takes it.
    #[must_use]
    pub fn evidence(&self) -> Option<Alarm> {
        let alarm = self.alarm.as_ref()?;
        Some(Alarm { sentence: alarm.sentence.clone(), action: alarm.action })
    }
}
