//! How far a rollout got: the part of the status that decides. Integers and short texts only, bounded at any fleet
//! size, and all of it public: what is read back from the status is repaired, never trusted.

use std::collections::VecDeque;

use modelfleet_protocol::draw::Target;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::membership::NAMED_MAX;
use modelfleet_protocol::time::Time;
use serde::{Deserialize, Serialize};

use crate::clock::StageClock;
use crate::decision::EventKind;
use crate::moves::PhaseKind;
use crate::production::Production;
use crate::reason::ReasonCode;
use crate::rejection::Rejection;
use crate::text::clip;

/// Most entries of the decision log; the oldest leave first.
pub const LOG_MAX: usize = 32;
/// Longest message of the log, in bytes.
pub const LOG_MESSAGE_MAX: usize = 200;
/// Most devices that can be set aside: the plan names them one by one.
pub const QUARANTINED_MAX: usize = NAMED_MAX;

/// How far a rollout got. The default is one before its first decision.
///
/// It is stored as it is, but for [`State::prior`] and [`State::log`], which are long: where it is stored they have a place of
/// their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Where it stands.
    pub phase: Phase,
    /// Number of the attempt, from 1; 0 before the first look.
    pub attempt: u32,
    /// The version that this attempt rolls out, as in the spec when it began.
    pub version: String,
    /// Index of the current stage.
    pub stage: u32,
    /// What was in production when this attempt began, and what devices go back to.
    #[serde(skip)]
    pub prior: Production,
    /// When this attempt left the queue; also the line between a device's history and its evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the current stage was opened; `None` before the first one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_opened_at: Option<Time>,
    /// What the membership was last drawn for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drawn: Option<Drawn>,
    /// The bake clock of the current stage.
    pub clock: StageClock,
    /// When a person was first asked to agree to the next stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_asked_at: Option<Time>,
    /// When the phase was entered.
    pub phase_since: Time,
    /// Harm was shown in this attempt: it never goes forward again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub harm: Option<Harm>,
    /// How the attempt goes, or went, back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<Rollback>,
    /// A person went on over an incident or an SLO that pauses; ends with the incident.
    pub breach_waived: bool,
    /// After success an objective is broken, and nothing shows whose fault that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breach: Option<Breach>,
    /// After success the watch has an alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Breach>,
    /// Devices that were set aside in this attempt, at most [`QUARANTINED_MAX`], ordered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<DeviceId>,
    /// The `spec.promote` that was there when this attempt began as a retry: not meant for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promote_stale: Option<String>,
    /// The last `spec.retryToken` that was honoured or ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_token: Option<String>,
    /// The rejection of the version that was seen last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
    /// Error budget that the stages passed so far have spent, parts per billion.
    pub spent_ppb: u64,
    /// Stages that were passed in this attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<PassedStage>,
    /// What it cost.
    pub figures: Figures,
    /// What was decided, the newest last, at most [`LOG_MAX`].
    #[serde(skip)]
    pub log: VecDeque<LogEntry>,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Waits for its turn, or for its version to be checked.
    #[default]
    Queued,
    /// The version may not be rolled out. Waits for a new retry token or another version.
    Refused,
    /// A stage is under way.
    Progressing,
    /// The stage is Healthy and a person is asked to agree.
    AwaitingApproval,
    /// Stands still.
    Paused(PauseCause),
    /// The candidate is being rolled back.
    RollingBack,
    /// No reachable device runs the candidate. The end, until a new retry token or another version.
    RolledBack,
    /// The version is in production. The end for the queue; while no other rollout of the model is active, shown
    /// harm or `abort` still roll it back to the version before.
    Succeeded,
}

/// Why a rollout stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PauseCause {
    /// `spec.paused`; goes on when it is unset.
    User,
    /// Controls suffer as well; goes on when they do not, or by `promote`.
    Incident,
    /// An SLO that pauses is breached; goes on when it is not, or by `promote`.
    SloBreach,
    /// More devices failed than allowed; goes on when fewer are, or by `promote`.
    TooManyFailed,
    /// Contact is lost with most of the devices that run the candidate; goes on when they are back, or by `promote`.
    ContactLost,
    /// Undecided at the deadline; goes on when the verdict comes after all, or by `promote`.
    Undecided,
    /// The approval did not come in time; `promote` continues.
    ApprovalTimedOut,
    /// Harm was shown and the rollback policy is Manual; the way out is `abort`.
    Degraded,
    /// The spec cannot work any more; goes on when it is edited.
    InvalidSpec,
}

/// What the membership was drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drawn {
    /// The stage.
    pub stage: u32,
    /// Its size as the spec had it then: a size that is edited is drawn again.
    pub target: Target,
    /// When it was asked for.
    pub at: Time,
    /// A hash of the devices that a user had set aside then, 0 for none: when others are, other devices are drawn for them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub set_aside: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Harm that was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Harm {
    /// When.
    pub at: Time,
    /// Why the version is rejected: [`Cause::Degraded`], [`Cause::HardStop`] or [`Cause::VersionRejected`].
    pub cause: Cause,
    /// With numbers.
    pub sentence: String,
    /// The statistics behind it, told last; empty without any.
    pub statistics: String,
}

/// An objective that is broken after success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Breach {
    /// Since when, as far as was seen.
    pub at: Time,
    /// With numbers.
    pub sentence: String,
}

/// A way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Why.
    pub cause: Cause,
    /// With numbers.
    pub sentence: String,
    /// A person ordered it; otherwise the controller did.
    pub by_person: bool,
    /// When it began.
    pub started_at: Time,
    /// When it is overdue.
    pub deadline: Time,
    /// It was overdue, and people were told.
    pub overdue: bool,
}

/// Why the candidate is rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The judge showed harm; the version is rejected.
    Degraded,
    /// Devices failed as controls did not; the version is rejected.
    HardStop,
    /// The version was rejected elsewhere meanwhile.
    VersionRejected,
    /// Undecided at the deadline, and the spec asks to go back. No harm was shown: not rejected.
    Undecided,
    /// `spec.abort`. Not rejected: the version is Verified as before.
    Aborted,
    /// The Rollout is being deleted. Not rejected.
    Deleted,
    /// The spec names another version now. Not rejected.
    Superseded,
    /// No device of the stage can run it. Not rejected: other devices may.
    NobodyCanRun,
    /// The trust document forbids the version. Not rejected: no harm was shown, and no retry token lifts it.
    VersionForbidden,
    /// The watch has an alarm, and the spec asks to go back. Not rejected: the cause may be the world's.
    Alarm,
}

/// How a stage was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Passed {
    /// The judge ruled harm out.
    Proven,
    /// There were too few events to rule a rise out, and nothing spoke against the version.
    OnExposure,
    /// The judge ruled harm out, or the stage passed on exposure, and a person agreed.
    Approved,
    /// A person went on without waiting for a verdict.
    ByHand,
    /// Undecided at the deadline, and the spec says to go on.
    OnTrust,
}

/// A stage that was passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PassedStage {
    /// Its name.
    pub name: String,
    /// When it was opened.
    pub opened_at: Time,
    /// When it was left.
    pub passed_at: Time,
    /// How it was left.
    pub how: Passed,
}

/// What a rollout cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Figures {
    /// When the first device ran the candidate, as far as was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_exposed_at: Option<Time>,
    /// Most devices that have run the candidate in this attempt.
    pub exposed_devices: u64,
    /// When harm was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected_at: Option<Time>,
    /// When the last device that had the candidate was known to be back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_at: Option<Time>,
    /// Devices that were out of reach then and follow when they return.
    pub to_follow: u64,
    /// When the attempt ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// One line of the decision log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When.
    pub at: Time,
    /// Name of the stage it was in; empty before the first.
    pub stage: String,
    /// What.
    pub kind: EventKind,
    /// With numbers, at most [`LOG_MESSAGE_MAX`] bytes.
    pub message: String,
}

impl Phase {
    /// Its row in the table of moves.
    #[must_use]
    pub fn kind(self) -> PhaseKind {
        match self {
            Phase::Queued => PhaseKind::Queued,
            Phase::Refused => PhaseKind::Refused,
            Phase::Progressing => PhaseKind::Progressing,
            Phase::AwaitingApproval => PhaseKind::AwaitingApproval,
            Phase::Paused(_) => PhaseKind::Paused,
            Phase::RollingBack => PhaseKind::RollingBack,
            Phase::RolledBack => PhaseKind::RolledBack,
            Phase::Succeeded => PhaseKind::Succeeded,
        }
    }

    /// The end of an attempt: the next rollout of the model may start, and a deleted Rollout may go.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Phase::RolledBack | Phase::Succeeded)
    }

    /// It holds the model's turn: devices may have the candidate, and others wait.
    #[must_use]
    pub fn is_active(self) -> bool {
        !matches!(self, Phase::Queued | Phase::Refused) && !self.is_terminal()
    }
}

impl Cause {
    /// Whether the version is rejected with it: only shown harm does that.
    #[must_use]
    pub fn rejects(self) -> bool {
        matches!(self, Cause::Degraded | Cause::HardStop | Cause::VersionRejected)
    }

    /// The stable word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Degraded => "Degraded",
            Cause::HardStop => "HardStop",
            Cause::VersionRejected => "VersionRejected",
            Cause::Undecided => "Undecided",
            Cause::Aborted => "Aborted",
            Cause::Deleted => "Deleted",
            Cause::Superseded => "Superseded",
            Cause::NobodyCanRun => "NobodyCanRun",
            Cause::VersionForbidden => "VersionForbidden",
            Cause::Alarm => "Alarm",
        }
    }
}

impl PauseCause {
    /// The reason that goes with it.
    #[must_use]
    pub fn code(self) -> ReasonCode {
        match self {
            PauseCause::User => ReasonCode::PausedByUser,
            PauseCause::Incident => ReasonCode::Incident,
            PauseCause::SloBreach => ReasonCode::SloBreach,
            PauseCause::TooManyFailed => ReasonCode::TooManyFailed,
            PauseCause::ContactLost => ReasonCode::ContactLost,
            PauseCause::Undecided => ReasonCode::Undecided,
            PauseCause::ApprovalTimedOut => ReasonCode::ApprovalTimedOut,
            PauseCause::Degraded => ReasonCode::Degraded,
            PauseCause::InvalidSpec => ReasonCode::InvalidSpec,
        }
    }

    /// The stable word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.code().as_str()
    }

    /// Whether members that have not activated yet may do so: they may where only the next stage waits, since
    /// late members can bring the verdict.
    #[must_use]
    pub fn admits(self) -> bool {
        matches!(self, PauseCause::Undecided | PauseCause::ApprovalTimedOut)
    }
}

impl State {
    /// Whether a stage has been opened in this attempt.
    #[must_use]
    pub fn is_opened(&self) -> bool {
        self.stage_opened_at.is_some()
    }

    /// The stage that would be opened next; beyond the last one when the current one is the last.
    #[must_use]
    pub fn next_stage(&self) -> u32 {
        if self.is_opened() { self.stage.saturating_add(1) } else { 0 }
    }

    /// Whether a way back took longer than it may: the next rollout of the model need not wait for it.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.phase == Phase::RollingBack && self.rollback.as_ref().is_some_and(|r| r.overdue)
    }

    /// Whether the version's rejection, written at `at`, keeps this rollout from starting under this `spec.retryToken`.
    #[must_use]
    pub fn is_refused(&self, at: Time, retry_token: Option<&str>) -> bool {
        let asked = retry_token.is_some() && retry_token != self.retry_token.as_deref();
        !Rejection::seen(self.rejection, at, asked).lifted
    }

    /// When the current stage has been watched for `total_ms`; `None` while its clock stands.
    #[must_use]
    pub fn watched_until(&self, total_ms: u64) -> Option<Time> {
        self.clock.reaches(total_ms)
    }

    /// Adds a line to the log; the oldest leaves when it is full.
    pub(crate) fn record(&mut self, at: Time, stage: &str, kind: EventKind, message: &str) {
        while self.log.len() >= LOG_MAX {
            self.log.pop_front();
        }
        let message = clip(message, LOG_MESSAGE_MAX);
        self.log.push_back(LogEntry { at, stage: stage.to_owned(), kind, message });
    }
}
