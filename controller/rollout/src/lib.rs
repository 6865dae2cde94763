//! The pure decision core of a rollout.
//!
//! [`decide`] takes a validated [`Policy`], the [`State`] so far, a [`FleetView`] of counts, the judge's
//! [`Evidence`] and the people's [`Intent`], and answers with a [`Decision`]: the next state, what the shell has
//! to do, why nothing else happens, and when to look again. It is total, pure and deterministic, and it never
//! fails: "cannot advance" is a [`Reason`]. It decides on counts and never walks devices.
//!
//! What the shell does with a decision, in this order:
//!
//! 1. carry out [`Decision::actions`] in their order, each safe to repeat; after an error, stop and decide anew;
//! 2. store [`Decision::state`] (with the membership that [`Action::OpenStage`] drew) in one write;
//! 3. publish the plan that [`plan_view`] describes, and show [`conditions()`] and the reasons;
//! 4. decide again when something changes, at the latest at [`Decision::wake_at`].
//!
//! Killed between any two of these, it starts again from what is stored and comes to the same end.

mod check;
mod clock;
mod conditions;
mod decide;
mod decision;
mod evidence;
mod fleet;
mod intent;
mod moves;
mod policy;
mod production;
mod reason;
mod rejection;
mod state;
mod text;
mod view;

pub use check::Broken;
pub use clock::StageClock;
pub use conditions::{Condition, ConditionKind, conditions};
pub use decide::decide;
pub use decision::{Action, Decision, EventKind};
pub use evidence::{Alarm, AlarmAction, Coverage, Evidence, HardStop, Verdict};
pub use fleet::FleetView;
pub use intent::{Facts, Intent, LaterTrust, MissingDevices, Queue, UNCONFIRMED_MAX, VersionFact};
pub use moves::{Move, PhaseKind, after};
pub use policy::{
    Amount, Approval, Limits, OnUndecided, Policy, PolicyError, PolicyParts, RollbackPolicy,
    SETTLING_WINDOWS, STAGES_MAX, Stage, StandIn, WATCH_MAX,
};
pub use production::{Production, Proven, SELECTORS_BYTES_MAX};
pub use reason::{Reason, ReasonCode};
pub use rejection::Rejection;
pub use state::{
    Breach, Cause, Drawn, Figures, Harm, LOG_MAX, LOG_MESSAGE_MAX, LogEntry, Passed, PassedStage, PauseCause,
    Phase, QUARANTINED_MAX, Rollback, State,
};
pub use text::{apart, clip, many, sentences};
pub use view::{PlanView, Speaks, plan_view};
