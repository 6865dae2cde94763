//! Situations that the swarm has to reach: the reasons and events of rollouts, the phases and failures of devices, and what
//! the agent asks of its shell. They are read from outside, from statuses and messages: the cores know nothing of it.

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_agent_core::interface::Output;
use modelfleet_protocol::state::{DeviceState, FailureCode, Phase};
use modelfleet_rollout::{EventKind, ReasonCode};
use serde_json::Value;

/// Situations that a run has reached.
pub type Reached = BTreeSet<String>;

/// Every phase of an attempt that a device can tell of.
const PHASES: [Phase; 9] = [
    Phase::Offered,
    Phase::Downloading,
    Phase::Downloaded,
    Phase::Activated,
    Phase::Confirmed,
    Phase::Failed,
    Phase::Incompatible,
    Phase::Reverted,
    Phase::RolledBack,
];

/// Every failure that a device can tell of.
const FAILURES: [FailureCode; 20] = [
    FailureCode::DigestMismatch,
    FailureCode::SignatureInvalid,
    FailureCode::DownloadExhausted,
    FailureCode::DiskFull,
    FailureCode::LoadRefused,
    FailureCode::SelfTestMismatch,
    FailureCode::SignatureMismatch,
    FailureCode::ProbationErrors,
    FailureCode::ProbationTimeout,
    FailureCode::Unproven,
    FailureCode::ContactLost,
    FailureCode::CrashLoop,
    FailureCode::MemoryExceeded,
    FailureCode::EngineMissing,
    FailureCode::OpsetMissing,
    FailureCode::OperatorMissing,
    FailureCode::MemoryShort,
    FailureCode::LabelMissing,
    FailureCode::FormatUnknown,
    FailureCode::DiskUnreadable,
];

/// Everything that the agent can ask of its shell.
const OUTPUTS: [&str; 14] = [
    "Save",
    "Connect",
    "PublishPresence",
    "PublishState",
    "PublishReport",
    "Fetch",
    "PauseFetch",
    "CancelFetch",
    "Admit",
    "Unload",
    "Switch",
    "Shadow",
    "Delete",
    "Observe",
];

/// Situations of broker, store and copied devices.
const AROUND: [&str; 12] = [
    "held plan sent",
    "version restored",
    "fleet unheard",
    "copy told",
    "fault RetainedCut",
    "fault RetainedInPart",
    "download Unavailable",
    "download Refuses",
    "download Slow",
    "download OtherBytes",
    "download Truncates",
    "check DigestMismatch",
];

/// Situations that 2 000 seeds need not reach, and why.
pub const RARE: &[(&str, &str)] = &[
    ("reason TooManySelectors", "no rollout of the simulated people has a selector"),
    ("reason NobodyMatches", "no rollout of the simulated people has a selector"),
    ("reason NobodyCanRun", "every device can run every version"),
    ("reason AwaitingRequests", "every device gets twenty requests in a window"),
    ("reason AwaitingApproval", "no stage of the simulated people needs an approval"),
    ("reason ApprovalTimedOut", "no stage of the simulated people needs an approval"),
    ("reason TooManyUnreachable", "the simulated people set no limit"),
    ("reason SloBreach", "no objective of the simulated people pauses"),
    ("reason Degraded", "every rollout goes back by itself when harm is shown"),
    ("reason BrokenInvariant", "a defect of the core, which ends a run"),
    ("event ApprovalRequested", "no stage of the simulated people needs an approval"),
    ("phase Incompatible", "every device can run every version"),
    ("failure SignatureInvalid", "the simulated shell checks no publisher's signature"),
    ("failure SelfTestMismatch", "the simulated shell runs no self-test"),
    ("failure SignatureMismatch", "the simulated shell reads no model file"),
    ("failure ProbationTimeout", "every device gets twenty requests in a window"),
    ("failure Unproven", "older agents alone tell it"),
    ("failure MemoryExceeded", "the simulated shell has memory enough"),
    ("failure EngineMissing", "every device can run every version"),
    ("failure OpsetMissing", "every device can run every version"),
    ("failure OperatorMissing", "every device can run every version"),
    ("failure MemoryShort", "every device can run every version"),
    ("failure LabelMissing", "every device can run every version"),
    ("failure FormatUnknown", "every device can run every version"),
    ("event AlarmRaised", "most runs are shorter than what the watch after success takes to raise an alarm"),
    ("event AlarmCleared", "most runs are shorter than what the watch after success takes to raise an alarm"),
    (
        "reason AlarmInProduction",
        "most runs are shorter than what the watch after success takes to raise an alarm",
    ),
    ("event RetrainingWanted", "the simulated people want no retraining"),
    ("reason AlarmHolds", "no alarm of the simulated people keeps another rollout from starting"),
    ("event HarmShown", "every rollout goes back by itself when harm is shown"),
    (
        "event BreachOver",
        "not within 2 000 seeds: most runs are shorter than a breach after success and its end",
    ),
    (
        "reason Replaced",
        "not within 2 000 seeds: most runs are too short for two versions in production, one after the other",
    ),
    ("reason VersionRefused", "not within 2 000 seeds: people seldom roll out a version that was rejected"),
    ("event Refused", "not within 2 000 seeds: people seldom roll out a version that was rejected"),
    ("reason AbortStillSet", "the simulated people clear abort when they retry"),
    (
        "reason PromoteIgnored",
        "not within 2 000 seeds: needs a promotion that is left standing and a retry after it",
    ),
    (
        "failure DigestMismatch",
        "not within 2 000 seeds: the simulated shell tells it only where bytes vanish between admission and switch",
    ),
    ("failure DiskUnreadable", "the simulated disk is full or rotten, and always readable"),
];

/// All situations.
#[must_use]
pub fn all() -> BTreeSet<String> {
    let reasons = ReasonCode::ALL.iter().map(|code| format!("reason {}", code.as_str()));
    let events = EventKind::ALL.iter().map(|kind| format!("event {}", kind.as_str()));
    let phases = PHASES.iter().map(|phase| format!("phase {phase:?}"));
    let failures = FAILURES.iter().map(|code| format!("failure {code:?}"));
    let outputs = OUTPUTS.iter().map(|name| format!("output {name}"));
    let around = AROUND.iter().map(|name| (*name).to_owned());
    around.chain(reasons).chain(events).chain(phases).chain(failures).chain(outputs).collect()
}

/// Situations that were not reached and are not marked as rare.
#[must_use]
pub fn missing(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let rare = |name: &String| RARE.iter().any(|(rare, _)| rare == name);
    all().into_iter().filter(|name| !counts.contains_key(name) && !rare(name)).collect()
}

/// What a rollout's status shows.
pub fn note_status(reached: &mut Reached, status: &Value) {
    let list = |name: &str| status[name].as_array().into_iter().flatten();
    let reasons =
        list("conditions").map(|one| format!("reason {}", one["reason"].as_str().unwrap_or_default()));
    let events = list("decisions").map(|one| format!("event {}", one["reason"].as_str().unwrap_or_default()));
    reached.extend(reasons.chain(events));
    if status.to_string().contains("two devices use this id") {
        reached.insert("copy told".to_owned());
    }
}

/// What an agent asks of its shell, and what it tells the fleet.
pub fn note_output(reached: &mut Reached, output: &Output) {
    reached.insert(format!("output {}", name(output)));
    if let Output::PublishState(state) = output {
        note_state(reached, state);
    }
}

fn note_state(reached: &mut Reached, state: &DeviceState) {
    for attempt in state.models.iter().filter_map(|model| model.candidate.as_ref()) {
        reached.insert(format!("phase {:?}", attempt.phase));
        reached.extend(attempt.failure.as_ref().map(|failure| format!("failure {:?}", failure.code)));
    }
}

fn name(output: &Output) -> &'static str {
    match output {
        Output::Save(_) => "Save",
        Output::Connect { .. } => "Connect",
        Output::PublishPresence(_) => "PublishPresence",
        Output::PublishState(_) => "PublishState",
        Output::PublishReport { .. } => "PublishReport",
        Output::AskForPlans => "AskForPlans",
        Output::Fetch { .. } => "Fetch",
        Output::PauseFetch { .. } => "PauseFetch",
        Output::CancelFetch { .. } => "CancelFetch",
        Output::Admit { .. } => "Admit",
        Output::Unload { .. } => "Unload",
        Output::Switch { .. } => "Switch",
        Output::Shadow { .. } => "Shadow",
        Output::Delete { .. } => "Delete",
        Output::Observe(_) => "Observe",
        Output::Note(_) => "Note",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_as_rare_is_a_situation() {
        let all = all();
        for (name, why) in RARE {
            assert!(all.contains(*name) && !why.is_empty(), "{name}");
        }
    }
}
