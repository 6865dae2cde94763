//! An alarm in the words of a person: where and what, with counts, what explains most first.

use std::collections::BTreeMap;

use modelfleet_fleet::intern::Number;
use modelfleet_rollout::{LOG_MESSAGE_MAX, clip};
use modelfleet_watch::{Alarm, Cause, Found, Seen, Stream, WatchMemory, WindowReading};

use super::reading;
use crate::assess::Judged;
use crate::shared_labels::{self, Group};

/// Most causes that are told beside the first.
const OTHERS_MAX: usize = 3;

/// A kind of alarm, as one CamelCase word.
struct Kind {
    reason: &'static str,
}

/// An alarm's kind and its sentence, which begins with the devices that share a label, if the bad ones do, and has no stop.
pub(super) fn words(
    judged: &Judged<'_>,
    memory: &WatchMemory,
    alarm: &Alarm,
    last: Option<&WindowReading>,
) -> (String, String) {
    let first = alarm.causes.first();
    let shared = first.zip(last).map_or(String::new(), |(cause, last)| shared(judged, cause, last.index));
    let kind = match first.map(|cause| (&cause.stream, cause.found)) {
        Some((_, Found::Named)) => Kind { reason: "DetectorCalls" },
        Some((Stream::Group(_), _)) => Kind { reason: "GroupWorse" },
        Some((Stream::Objective(_), _)) if !shared.is_empty() => Kind { reason: "GroupWorse" },
        Some((Stream::Objective(_), Found::Level)) => Kind { reason: "ObjectiveBroken" },
        Some((Stream::Objective(_), Found::Change)) => Kind { reason: "ObjectiveChanged" },
        Some((Stream::Silence, _)) => Kind { reason: "DevicesSilent" },
        Some((Stream::Feature(_) | Stream::Confidence, _)) | None => Kind { reason: "InputsDrifted" },
    };
    let what = what(judged, memory, alarm, last);
    let sentence = if shared.is_empty() { what } else { format!("{shared}: {what}") };
    (kind.reason.to_owned(), clip(&sentence, LOG_MESSAGE_MAX))
}

/// Which labels the devices share that are bad in this window.
fn shared(judged: &Judged<'_>, cause: &Cause, index: u64) -> String {
    let Some(fleet) = judged.fleet else { return String::new() };
    let mut sets: BTreeMap<Number, (u64, u64)> = BTreeMap::new();
    for (labels, bad) in reading::bad_devices(judged, &cause.stream, index) {
        let (all_bad, all_good) = sets.entry(labels).or_default();
        *all_bad += u64::from(bad);
        *all_good += u64::from(!bad);
    }
    let group = |(number, (bad, good)): (Number, (u64, u64))| {
        Some(Group { labels: fleet.labels_numbered(number)?, bad, good })
    };
    shared_labels::sentence(&sets.into_iter().filter_map(group).collect::<Vec<_>>())
}

fn what(judged: &Judged<'_>, memory: &WatchMemory, alarm: &Alarm, last: Option<&WindowReading>) -> String {
    let seen = |cause: &Cause| last?.seen.iter().find(|seen| seen.stream == cause.stream);
    let Some(first) = alarm.causes.first() else {
        return "an alarm from before the restart lasts".to_owned();
    };
    let told = told(judged, memory, first, seen(first));
    // A group is a part of the whole: where devices are told to share a label, no group is named beside them.
    let others: Vec<&Cause> =
        alarm.causes[1..].iter().filter(|cause| !matches!(cause.stream, Stream::Group(_))).collect();
    if others.is_empty() {
        return told;
    }
    let named: Vec<String> =
        others.iter().take(OTHERS_MAX).map(|cause| name(judged, &cause.stream)).collect();
    let more = others.len().saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{told}; with it: {}{more}", named.join(", "))
}

fn told(judged: &Judged<'_>, memory: &WatchMemory, cause: &Cause, seen: Option<&Seen>) -> String {
    let name = name(judged, &cause.stream);
    match (cause.found, seen.and_then(|seen| seen.level)) {
        (Found::Change, _) => format!("{name} changed{}", against_before(memory, &cause.stream)),
        (Found::Level, Some(share)) if share.known > 1 => {
            let (bad, known, allowed) =
                (share.bad, share.known, percent(u64::from(share.allowed_ppm) * 1_000));
            format!("{name} on {bad} of {known} devices, and at most {allowed} may")
        }
        (Found::Named, _) => {
            let named = judged.valid.watch.iter().flat_map(|watch| &watch.named);
            let detector = named.into_iter().find(|named| named.stream == cause.stream);
            let detector =
                detector.map_or_else(String::new, |named| format!("detector {} calls: ", named.name));
            let now = seen.and_then(|seen| seen.level.and_then(|share| share.ppm()));
            let now = now.map_or_else(String::new, |ppm| {
                format!(" on {} of the devices", percent(u64::from(ppm) * 1_000))
            });
            format!("{detector}{name}{now}")
        }
        (Found::Level, _) => match &cause.stream {
            Stream::Feature(_) | Stream::Confidence => {
                format!("{name} differs from the training data in most windows")
            }
            _ => format!("{name}, more often than is allowed"),
        },
    }
}

fn name(judged: &Judged<'_>, stream: &Stream) -> String {
    match stream {
        Stream::Group(group) => format!("broken objectives at {group}"),
        Stream::Objective(name) => {
            let objective = judged.valid.objectives.iter().find(|o| o.indicator.name == *name);
            objective.map_or_else(|| name.clone(), |objective| objective.breach.clone())
        }
        Stream::Silence => "no connection and no report".to_owned(),
        Stream::Confidence => "the confidence of the answers".to_owned(),
        Stream::Feature(place) => {
            let feature = judged.profile.and_then(|profile| profile.features.get(usize::from(*place)));
            feature.map_or_else(|| format!("input {place}"), |feature| format!("input {}", feature.name))
        }
    }
}

/// The day so far against the days before.
fn against_before(memory: &WatchMemory, stream: &Stream) -> String {
    let Some(days) = memory.days_of(stream) else { return String::new() };
    match stream {
        Stream::Group(_) | Stream::Objective(_) | Stream::Silence => format!(
            ": {} of the devices today, {} in the days before (standard deviation {})",
            percent(days.today_ppb()),
            percent(days.mean_ppb),
            percent(days.deviation_ppb)
        ),
        Stream::Confidence | Stream::Feature(_) => {
            let way = if days.today_ppb() > days.mean_ppb { "higher" } else { "lower" };
            let off = days.today_ppb().abs_diff(days.mean_ppb);
            format!(": values are {way} than in the days before, by {} of their ranks", percent(off))
        }
    }
}

/// Billionths as a percentage with one digit behind the point.
fn percent(ppb: u64) -> String {
    let tenths = (ppb.saturating_add(500_000)) / 1_000_000;
    format!("{}.{} %", tenths / 10, tenths % 10)
}
