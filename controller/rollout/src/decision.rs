//! What is decided.

use modelfleet_protocol::draw::Share;
use modelfleet_protocol::time::Time;

use crate::production::Production;
use crate::reason::{Reason, codes};
use crate::state::State;

/// What is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// The state to store once the actions are done.
    pub state: State,
    /// What to do, in this order; each is safe to repeat.
    pub actions: Vec<Action>,
    /// Why nothing else happens, the most important first; never empty before the end.
    pub reasons: Vec<Reason>,
    /// When to decide again at the latest, always later than now; `None` when the rollout has ended.
    pub wake_at: Option<Time>,
}

/// What the shell has to do. Each is safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Draw the stage's devices into the membership (see [`modelfleet_protocol::draw::open_stage`]) and store it
    /// together with the state. A stored membership with another salt is dropped first.
    OpenStage {
        /// The stage.
        index: u32,
        /// The salt that the membership must have.
        salt: String,
        /// What to draw.
        share: Share,
    },
    /// The last stage was passed: the version joins what the model has in production, for the rollout's devices. What is
    /// new is written first, so that no device is without a stable version; a version that no device has any more becomes archived.
    Promote {
        /// All that is in production from now on.
        production: Production,
    },
    /// What was in production before the attempt is so again, written in the same order; a version that no device has any more is
    /// Verified, as before it was promoted.
    GiveBack {
        /// All that is in production from now on.
        production: Production,
    },
    /// No later rollout takes the version, until its retry token is another one. Devices for which it was proven keep it.
    MarkRejected {
        /// The version.
        version: String,
        /// Why, as one word.
        reason: &'static str,
        /// Why, with numbers.
        message: String,
        /// The retry token to store with the rejection.
        retry_token: Option<String>,
    },
    /// The version is Verified again: a new retry token lifted its rejection.
    MarkVerified {
        /// The version.
        version: String,
    },
    /// Tell people; one for each transition.
    Event {
        /// What happened.
        kind: EventKind,
        /// With numbers.
        message: String,
    },
}

codes! {
    /// What happened: the stable reasons of events and of the decision log.
    EventKind {
        /// It is this rollout's turn.
        Started,
        /// A stage was opened; says how the one before was left: proven, approved, by hand or on trust.
        StageOpened,
        /// A person is asked to agree.
        ApprovalRequested,
        /// The rollout stands still.
        Paused,
        /// It goes on.
        Resumed,
        /// Devices were set aside.
        DevicesQuarantined,
        /// Harm was shown after success, and a person must go back.
        HarmShown,
        /// An objective is broken after success, and nothing shows whose fault that is: a person must look.
        BreachInProduction,
        /// The objective that was broken after success is kept again.
        BreachOver,
        /// The watch over a version in production has raised an alarm: a person must look.
        AlarmRaised,
        /// The same, and the spec asks for a retrained version.
        RetrainingWanted,
        /// The alarm has cleared.
        AlarmCleared,
        /// A rollback of the candidate began.
        RollbackStarted,
        /// Devices should be back by now.
        RollbackOverdue,
        /// No reachable device runs the candidate.
        RolledBack,
        /// The version is in production.
        Succeeded,
        /// The version may not be rolled out.
        Refused,
        /// A new attempt begins.
        Retried,
        /// `spec.retryToken` changed while nothing had ended.
        RetryIgnored,
    }
}

impl EventKind {
    /// Whether it is an event of type Warning.
    #[must_use]
    pub fn is_warning(self) -> bool {
        use EventKind as K;
        matches!(
            self,
            K::Paused
                | K::DevicesQuarantined
                | K::HarmShown
                | K::BreachInProduction
                | K::AlarmRaised
                | K::RetrainingWanted
                | K::RollbackStarted
                | K::RollbackOverdue
                | K::Refused
                | K::RetryIgnored
        )
    }
}
