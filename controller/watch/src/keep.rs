//! One closed window after the other.

use libm::{exp, log};
use modelfleet_monitor::detect::{EDetector, threshold_nats};

use crate::alarm::{Alarm, CAUSES_MAX, Cause, Found};
use crate::change::DAY_MS;
use crate::level;
use crate::memory::WatchMemory;
use crate::named::{self, NAMED_MAX, Named};
use crate::policy::WatchPolicy;
use crate::reading::{Share, WindowReading};
use crate::stream::Stream;

/// Windows in a row without anything beyond the allowed, after which an alarm has cleared.
///
/// A day of hourly ones: what is bad by day alone is one alarm, not one for every day.
const CLEAR_WINDOWS: u32 = 24;
/// The same for a change: as many days.
const CLEAR_DAYS: u64 = 3;

/// Days of its own that a group is known by before it is asked in every window.
const OWN_PAST_DAYS: u32 = 3;

/// What came of the windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// An alarm was raised.
    pub raised: bool,
    /// The alarm that there was has cleared.
    pub cleared: bool,
}

/// Takes closed windows in their order; those that were taken before change nothing.
pub fn keep(policy: &WatchPolicy, memory: &mut WatchMemory, readings: &[WindowReading]) -> Kept {
    let mut kept = Kept::default();
    for reading in readings {
        if reading.index < memory.next {
            continue;
        }
        memory.next = reading.index.saturating_add(1);
        memory.windows = memory.windows.saturating_add(1);
        let thresholds = Thresholds::of(policy);
        take(policy, &thresholds, memory, reading);
        if memory.alarm.is_some() {
            kept.cleared |= note_quiet(policy, memory, reading);
        } else if let Some(causes) = found(&thresholds, memory).or_else(|| called(policy, memory)) {
            memory.alarm = Some(Alarm { window: reading.index, causes, words: Default::default(), quiet: 0 });
            kept.raised = true;
        }
    }
    kept
}

/// The streams of which a detector by name calls.
fn called(policy: &WatchPolicy, memory: &WatchMemory) -> Option<Vec<Cause>> {
    let calling = policy.named.iter().filter(|named| calls_now(policy, memory, named));
    let causes: Vec<Cause> =
        calling.map(|named| Cause { stream: named.stream.clone(), found: Found::Named }).collect();
    (!causes.is_empty()).then_some(causes)
}

fn calls_now(policy: &WatchPolicy, memory: &WatchMemory, named: &Named) -> bool {
    let of_day = usize::try_from(DAY_MS / policy.window_ms.max(1)).unwrap_or(usize::MAX);
    memory.history.get(&named.stream).is_some_and(|values| named::calls(named.kind, values, of_day))
}

/// How near an alarm is: 0 is quiet, 1 is an alarm, in between a share on a logarithmic scale.
#[must_use]
pub fn nearness(policy: &WatchPolicy, memory: &WatchMemory) -> f64 {
    let thresholds = Thresholds::of(policy);
    let near = |sum: f64, nats: f64| log(1.0 + sum) / nats.max(1.0);
    near(level_sum(memory), thresholds.level).max(near(change_sum(memory), thresholds.change)).clamp(0.0, 1.0)
}

/// What the weighted sums have to come to, in nats: each layer has half of the alarm budget.
struct Thresholds {
    level: f64,
    change: f64,
}

impl Thresholds {
    fn of(policy: &WatchPolicy) -> Thresholds {
        let budget = policy.false_alarm_every_ms as f64 * 2.0;
        let day = DAY_MS.max(policy.window_ms) as f64;
        let window = policy.window_ms.max(1) as f64;
        Thresholds { level: threshold_nats(budget / window), change: threshold_nats(budget / day) }
    }
}

fn take(policy: &WatchPolicy, thresholds: &Thresholds, memory: &mut WatchMemory, reading: &WindowReading) {
    let day = reading.index.saturating_mul(policy.window_ms) / DAY_MS;
    let alarmed = memory.alarm.is_some();
    for seen in &reading.seen {
        let level = seen.level.and_then(|share| beside_own_past(memory, &seen.stream, share));
        if let Some(share) = &level {
            // One nat beyond what raises an alarm by itself: what lasts for months clears as soon as what lasts for days.
            let most = thresholds.level - log(seen.stream.weight()) + log(4.0) + 1.0;
            level::update(memory.levels.entry(seen.stream.clone()).or_default(), share, most);
        }
        if let Some(position) = seen.position_ppm {
            let change = memory.changes.entry(seen.stream.clone()).or_default();
            change.take(day, position, seen.small_ppm, !alarmed);
        }
    }
    memory.levels.retain(|_, level| !level.is_quiet());
    memory.history.retain(|stream, _| policy.named.iter().any(|named| named.stream == *stream));
    let mut streams: Vec<&Stream> = policy.named.iter().map(|named| &named.stream).take(NAMED_MAX).collect();
    streams.sort_unstable();
    streams.dedup();
    for stream in streams {
        let position =
            reading.seen.iter().find(|seen| seen.stream == *stream).and_then(|seen| seen.position_ppm);
        if let Some(position) = position {
            named::note(&mut memory.history, stream, position);
        }
    }
}

/// Sites differ, and what is bad at one for good is no alarm that comes again and again: a group may also be twice as bad as it
/// was in the days before, and is asked once those are known. So it is with silence.
fn beside_own_past(memory: &WatchMemory, stream: &Stream, share: Share) -> Option<Share> {
    let days = memory.days_of(stream).unwrap_or_default();
    let twice = u32::try_from(days.mean_ppb / 500).unwrap_or(u32::MAX).min(1_000_000);
    match stream {
        Stream::Group(_) if days.days < OWN_PAST_DAYS => None,
        Stream::Group(_) | Stream::Silence => {
            Some(Share { allowed_ppm: share.allowed_ppm.max(twice), ..share })
        }
        Stream::Objective(_) | Stream::Confidence | Stream::Feature(_) => Some(share),
    }
}

fn level_sum(memory: &WatchMemory) -> f64 {
    memory.levels.iter().map(|(stream, level): (&Stream, &EDetector)| stream.weight() * level.value()).sum()
}

fn change_sum(memory: &WatchMemory) -> f64 {
    memory.changes.iter().map(|(stream, change)| stream.weight() * change.value()).sum()
}

/// What is behind an alarm, if there is one: what explains most first, and with it all that has come half as far, as a
/// power of what it takes.
fn found(thresholds: &Thresholds, memory: &WatchMemory) -> Option<Vec<Cause>> {
    let by_level = level_sum(memory) >= exp(thresholds.level);
    let by_change = change_sum(memory) >= exp(thresholds.change);
    if !by_level && !by_change {
        return None;
    }
    let mut all: Vec<(f64, Cause)> = Vec::new();
    let mut add = |stream: &Stream, value: f64, threshold: f64, found: Found| {
        let nats = log((stream.weight() * value).max(f64::MIN_POSITIVE));
        all.push((nats / threshold, Cause { stream: stream.clone(), found }));
    };
    memory.levels.iter().for_each(|(s, one)| add(s, one.value(), thresholds.level, Found::Level));
    memory.changes.iter().for_each(|(s, one)| add(s, one.value(), thresholds.change, Found::Change));
    all.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.stream.cmp(&other.stream)));
    let lead = all.first().map_or(0.0, |(nats, _)| *nats);
    all.retain(|(nats, _)| *nats >= lead / 2.0);
    let mut causes: Vec<Cause> = all.into_iter().map(|(_, cause)| cause).collect();
    causes.truncate(CAUSES_MAX);
    Some(causes)
}

/// Notes whether anything of the alarm is still off, and ends it after a time without. Returns whether it has cleared.
fn note_quiet(policy: &WatchPolicy, memory: &mut WatchMemory, reading: &WindowReading) -> bool {
    let Some(alarm) = memory.alarm.clone() else { return false };
    let off = |cause: &Cause| {
        let seen = reading.seen.iter().find(|seen| seen.stream == cause.stream);
        match (cause.found, seen) {
            (_, None) => false,
            (Found::Level, Some(seen)) => {
                let share = seen.level.and_then(|share| beside_own_past(memory, &cause.stream, share));
                share.as_ref().and_then(level::score).is_some_and(|score| score > 0.0)
            }
            (Found::Named, Some(_)) => {
                let of = policy.named.iter().filter(|named| named.stream == cause.stream);
                of.into_iter().any(|named| calls_now(policy, memory, named))
            }
            (Found::Change, Some(seen)) => {
                memory.changes.get(&cause.stream).is_some_and(|change| change.is_off(seen.small_ppm))
            }
        }
    };
    let any_seen = reading.seen.iter().any(|seen| alarm.causes.iter().any(|c| c.stream == seen.stream));
    let quiet = match (alarm.causes.iter().any(off), any_seen) {
        (true, _) => 0,
        (false, true) => alarm.quiet.saturating_add(1),
        (false, false) => alarm.quiet,
    };
    let of_days = alarm.causes.iter().any(|cause| cause.found == Found::Change);
    let days = CLEAR_DAYS.saturating_mul(DAY_MS) / policy.window_ms.max(1);
    let needed = if of_days { days.max(u64::from(CLEAR_WINDOWS)) } else { u64::from(CLEAR_WINDOWS) };
    if u64::from(quiet) < needed {
        memory.alarm = Some(Alarm { quiet, ..alarm });
        return false;
    }
    memory.alarm = None;
    memory.levels.clear();
    memory.changes.values_mut().for_each(crate::change::Change::settle);
    true
}
