//! The watch over a version in production, as the status shows and keeps it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Field;
use modelfleet_crds::conditions::ALARM;
use modelfleet_crds::rollout::RolloutStatus;
use modelfleet_crds::rollout::status::WatchProgress;
use modelfleet_rollout::Phase;

use super::StatusInputs;
use super::conditions::NewCondition;
use super::fleet_conditions::kept;
use super::time::{signed, to_k8s};

/// What is shown and kept of the watch; until the next look it stays.
pub(super) fn progress(inputs: &StatusInputs<'_>, before: Option<&WatchProgress>) -> Option<WatchProgress> {
    if inputs.memory.state.phase != Phase::Succeeded || inputs.valid.watch.is_none() {
        return None;
    }
    let Some(watched) = inputs.watched else { return before.cloned() };
    Some(WatchProgress {
        windows: signed(watched.memory.windows),
        level_percent: i64::from(watched.level_percent),
        alarm_since: watched.alarm.as_ref().map(|alarm| to_k8s(alarm.since)),
        state: watched.memory.to_text(),
    })
}

/// Whether there is an alarm. Not said before anything was watched.
pub(super) fn condition(inputs: &StatusInputs<'_>, before: &[Field]) -> Option<NewCondition> {
    let state = &inputs.memory.state;
    if state.phase != Phase::Succeeded || inputs.valid.watch.is_none() {
        let told = before.iter().any(|field| field.type_ == ALARM);
        return told.then(|| off("NotWatched", String::new()));
    }
    let Some(watched) = inputs.watched else { return kept(before, &[ALARM]).pop() };
    let Some(alarm) = watched.alarm.as_ref().filter(|_| state.alarm.is_some()) else {
        let text = format!("Watched for {} windows without an alarm.", watched.memory.windows);
        return Some(off("NoAlarm", text));
    };
    // As it was when it was raised: a message that changes with every window would be one alarm after the other.
    let message = state.alarm.as_ref().map_or_else(String::new, |noted| noted.sentence.clone());
    Some(NewCondition { kind: ALARM, holds: true, reason: alarm.reason.clone(), message })
}

fn off(reason: &str, message: String) -> NewCondition {
    NewCondition { kind: ALARM, holds: false, reason: reason.to_owned(), message }
}

/// Whether one of two statuses has read more windows: what the watch keeps is stored before it is forgotten.
pub(super) fn has_read_more(a: &RolloutStatus, b: &RolloutStatus) -> bool {
    let windows = |status: &RolloutStatus| status.watch.as_ref().map(|watch| watch.windows);
    windows(a) != windows(b)
}
