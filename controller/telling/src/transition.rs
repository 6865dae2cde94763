//! Which transitions of a rollout were not told yet, from nothing but its stored status.
//!
//! A status keeps the last decisions. How far a sink was told is stored beside them ([`Cursor`]), so a process that ends
//! between the status and the delivery loses nothing: the next one reads both and goes on from there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as K8sTime;
use modelfleet_crds::conditions::ALARM;
use modelfleet_crds::rollout::status::{DecisionRecord, RolloutPhase, RolloutStatus, TellingProgress};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;

use crate::occurrence::{Occurrence, Severity, Subject};

/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 32;
/// Decisions about an alarm of the watch after success.
const ALARM_KINDS: [&str; 3] = ["AlarmRaised", "RetrainingWanted", "AlarmCleared"];
/// The reason of a change of the phase that no decision explains, such as a spec that cannot work any more.
pub const PHASE_CHANGED: &str = "PhaseChanged";

/// Up to where a sink was told of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Id of the last decision that was told; empty: none.
    pub last: String,
    /// The phase that the sink knows of; `None`: of none, as before the first decision.
    pub phase: Option<RolloutPhase>,
}

/// One transition that a sink was not told yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// See [`Occurrence::id`].
    pub id: String,
    /// Reason of its Event, one CamelCase word.
    pub reason: String,
    /// When.
    pub at: Time,
    /// Name of the stage; empty before the first.
    pub stage: String,
    /// With numbers.
    pub message: String,
    /// The phase that it leads to, if it leads to one.
    pub phase: Option<RolloutPhase>,
    /// Why a rollback began, or what kind of alarm it is.
    pub cause: Option<String>,
    /// Up to where a sink is told once it has taken this one.
    pub told: Cursor,
}

impl From<&TellingProgress> for Cursor {
    fn from(field: &TellingProgress) -> Cursor {
        Cursor { last: field.last.clone(), phase: field.phase }
    }
}

impl Cursor {
    /// After all that a status says: where a sink begins that was not there when it was written. Without a status: before
    /// everything.
    #[must_use]
    pub fn after(uid: &str, status: Option<&RolloutStatus>) -> Cursor {
        let Some(status) = status else { return Cursor::default() };
        let last = recorded(uid, &status.decisions).pop().map(|(id, _)| id).unwrap_or_default();
        Cursor { last, phase: status.phase }
    }
}

/// The transitions from one status of a rollout to a later one, in order.
#[must_use]
pub fn between(uid: &str, old: Option<&RolloutStatus>, new: &RolloutStatus) -> Vec<Transition> {
    since(uid, &Cursor::after(uid, old), new)
}

/// The transitions in a status that a sink at `cursor` was not told, in order. When the decision that was told last has left
/// the status, all decisions in it count as not told: rather twice than never.
#[must_use]
pub fn since(uid: &str, cursor: &Cursor, status: &RolloutStatus) -> Vec<Transition> {
    let recorded = recorded(uid, &status.decisions);
    let told = recorded.iter().position(|(id, _)| *id == cursor.last).map_or(0, |at| at + 1);
    // What the status says of a rollback is about the newest attempt.
    let attempt = status.decisions.iter().rposition(|d| d.reason == "Retried").unwrap_or(0);
    let is_alarm = |d: &DecisionRecord| ALARM_KINDS.contains(&d.reason.as_str());
    let alarm = status.decisions.iter().rposition(is_alarm).unwrap_or(0);
    let mut at = cursor.clone();
    let mut transitions = Vec::with_capacity(recorded.len() - told + 1);
    for (index, (id, record)) in recorded.into_iter().enumerate().skip(told) {
        let phase = leads_to(&record.reason, status.phase);
        at = Cursor { last: id.clone(), phase: phase.or(at.phase) };
        let cause = match record.reason.as_str() {
            "RollbackStarted" | "RollbackOverdue" | "RolledBack" if index >= attempt => {
                status.rollback.as_ref().map(|rollback| rollback.reason.clone())
            }
            "AlarmRaised" | "RetrainingWanted" if index >= alarm => alarm_cause(status),
            _ => None,
        };
        transitions.push(Transition {
            id,
            reason: record.reason.clone(),
            at: from_k8s(&record.at),
            stage: record.stage.clone(),
            message: record.message.clone(),
            phase,
            cause,
            told: at.clone(),
        });
    }
    transitions.extend(unexplained(uid, &at, status));
    transitions
}

/// What kind of thing the watch after success has found, while the alarm lasts: the one place where an alarm becomes part of an
/// event.
fn alarm_cause(status: &RolloutStatus) -> Option<String> {
    let alarm = status.conditions.iter().find(|c| c.type_ == ALARM && c.status == "True")?;
    Some(alarm.reason.clone())
}

/// A change of the phase that none of the decisions explains.
fn unexplained(uid: &str, at: &Cursor, status: &RolloutStatus) -> Option<Transition> {
    let phase = status.phase?;
    if at.phase.unwrap_or(RolloutPhase::Queued) == phase {
        return None;
    }
    // These two change with the phase, and with nothing else.
    let decided = status.conditions.iter().filter(|c| matches!(c.type_.as_str(), "Stalled" | "Progressing"));
    let when = decided.map(|c| from_k8s(&c.last_transition_time)).max().unwrap_or(Time(0));
    Some(Transition {
        id: id(&format!("{uid}/{PHASE_CHANGED}/{phase:?}/{}/{}", when.0 / 1_000, at.last)),
        reason: PHASE_CHANGED.to_owned(),
        at: when,
        stage: status.stage.as_ref().map(|stage| stage.name.clone()).unwrap_or_default(),
        message: status.message.clone().unwrap_or_default(),
        phase: Some(phase),
        cause: None,
        told: Cursor { last: at.last.clone(), phase: Some(phase) },
    })
}

/// The decisions with their ids. Of several that say the same of the same second each has its own. The sentence is not part of
/// it: a status that is short of room clips it.
fn recorded<'a>(uid: &str, decisions: &'a [DecisionRecord]) -> Vec<(String, &'a DecisionRecord)> {
    let key = |record: &DecisionRecord| {
        (from_k8s(&record.at).0 / 1_000, record.stage.clone(), record.reason.clone())
    };
    let with_id = |(index, record): (usize, &'a DecisionRecord)| {
        let this = key(record);
        let same = decisions[..index].iter().filter(|earlier| key(earlier) == this).count();
        (id(&format!("{uid}/{}/{}/{}/{same}", record.reason, this.0, record.stage)), record)
    };
    decisions.iter().enumerate().map(with_id).collect()
}

fn id(identity: &str) -> String {
    let mut digits = Digest::of(identity.as_bytes()).hex();
    digits.truncate(ID_DIGITS);
    digits
}

fn from_k8s(time: &K8sTime) -> Time {
    Time(u64::try_from(time.0.as_millisecond()).unwrap_or(0))
}

/// The phase that a decision leads to; `None`: it leaves the phase as it is. A pause is shown as `Stalled` when a person must
/// end it, which the status alone says.
fn leads_to(reason: &str, shown: Option<RolloutPhase>) -> Option<RolloutPhase> {
    use RolloutPhase as P;
    match reason {
        // A version that may be rolled out after all waits for its turn again.
        "Resumed" if shown == Some(P::Queued) => Some(P::Queued),
        "Started" | "StageOpened" | "Resumed" => Some(P::Progressing),
        "ApprovalRequested" => Some(P::AwaitingApproval),
        "Paused" if shown == Some(P::Stalled) => Some(P::Stalled),
        "Paused" => Some(P::Paused),
        "RollbackStarted" => Some(P::RollingBack),
        "RolledBack" => Some(P::RolledBack),
        "Succeeded" => Some(P::Succeeded),
        "Refused" => Some(P::Stalled),
        "Retried" => Some(P::Queued),
        _ => None,
    }
}

/// The word for a phase.
#[must_use]
pub fn phase_word(phase: RolloutPhase) -> &'static str {
    use RolloutPhase as P;
    match phase {
        P::Queued => "Queued",
        P::Progressing => "Progressing",
        P::AwaitingApproval => "AwaitingApproval",
        P::Paused => "Paused",
        P::RollingBack => "RollingBack",
        P::RolledBack => "RolledBack",
        P::Succeeded => "Succeeded",
        P::Stalled => "Stalled",
    }
}

impl Transition {
    /// As an occurrence of a rollout.
    #[must_use]
    pub fn occurrence(&self, subject: Subject) -> Occurrence {
        Occurrence {
            id: self.id.clone(),
            kind: format!("rollout.{}", kebab(&self.reason)),
            subject,
            at: self.at,
            severity: severity(&self.reason, self.phase),
            reason: self.reason.clone(),
            message: self.message.clone(),
            stage: self.stage.clone(),
            phase: self.phase.map(phase_word),
            cause: self.cause.clone(),
        }
    }
}

/// How soon a person should look. Harm that the controller answers by itself is a warning; what goes on until a person acts
/// is critical.
fn severity(reason: &str, phase: Option<RolloutPhase>) -> Severity {
    match reason {
        "HarmShown" | "RollbackOverdue" | "BreachInProduction" => Severity::Critical,
        "AlarmRaised" | "RetrainingWanted" | "Paused" | "DevicesQuarantined" | "RollbackStarted"
        | "Refused" | "RetryIgnored" => Severity::Warning,
        PHASE_CHANGED if phase == Some(RolloutPhase::Stalled) => Severity::Warning,
        _ => Severity::Info,
    }
}

/// `RolledBack` as `rolled-back`.
fn kebab(word: &str) -> String {
    let mut text = String::with_capacity(word.len() + 4);
    for letter in word.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
