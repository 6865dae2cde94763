//! What people asked for in the spec, and the facts of the world beside the fleet.

use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::time::Time;

use crate::production::Production;

/// Most devices that a message names.
pub const UNCONFIRMED_MAX: usize = 3;

/// The human fields of the spec, and the facts that the shell observed. Rebuilt before every decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// `spec.paused`: freeze the bake clock and admit no other device; devices that run the candidate keep it.
    pub paused: bool,
    /// `spec.abort`: go back. Wins over everything.
    pub abort: bool,
    /// `spec.promote`: the stage of this name may begin now; ends the waiting of those before it, never over
    /// shown harm. One that is left over from an earlier attempt does not count until it changes.
    pub promote: Option<String>,
    /// `spec.retryToken`: another text than before starts a new attempt after a rollback or refusal.
    pub retry_token: Option<String>,
    /// What the shell observed.
    pub facts: Facts,
}

/// Devices that are missing of those that a rollout selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingDevices {
    /// Known before.
    pub known: u64,
    /// Known now.
    pub seen: u64,
    /// With so many the rollout goes on.
    pub enough: u64,
    /// How long they are waited for in all, milliseconds.
    pub wait_ms: u64,
    /// From then on the rollout goes on with those that there are.
    pub until: Time,
}

/// Devices that hold a later trust document than the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaterTrust {
    /// How many.
    pub devices: u64,
    /// Of how many that have told what they hold.
    pub told: u64,
    /// The latest version that one of them holds.
    pub latest: u64,
    /// The version that the controller has.
    pub own: u64,
}

/// What the shell observed beside the fleet. The default is a controller that has seen nothing yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The ModelVersion that the spec names.
    pub version: VersionFact,
    /// What the model has in production, and for whom.
    pub production: Production,
    /// Nothing is known any more of a build to go back to: neither its object nor the plan has it.
    pub prior_gone: bool,
    /// Why devices may not go back to what they had before: the trust document forbids it. Empty: they may.
    pub prior_forbidden: String,
    /// The rollout of the same model that goes first; `None` when it is this one's turn. One that has ended is taken
    /// back behind one that waits, but not while one is under way.
    pub queue: Option<Queue>,
    /// The rollout whose version is in production has an alarm that keeps others from starting: its name.
    pub alarm_holds: Option<String>,
    /// Other rollouts of the model wait for this one to end.
    pub others_wait: bool,
    /// The Rollout is being deleted: go back, then let it go.
    pub deleted: bool,
    /// The spec cannot work any more, and why: the policy is a stand-in, and nothing goes forward by it.
    pub unreadable: Option<String>,
    /// The broker answers.
    pub broker_connected: bool,
    /// All retained states and reports have been read since this controller started.
    pub view_complete: bool,
    /// The view is not complete because broker and statuses have lost what is in production, and a device is still to send
    /// the plan that says it.
    pub plan_lost: bool,
    /// Many devices hold a later trust document than this controller, so that what it signs may not count any more.
    pub later_trust: Option<LaterTrust>,
    /// The view is not complete because many devices are missing that were known before this controller started.
    pub missing: Option<MissingDevices>,
    /// When any device of the fleet was last heard; `None` before the first.
    pub heard_at: Option<Time>,
    /// Why devices cannot run the build, with how many, for people; empty while nothing is known of that.
    pub unable_why: String,
    /// How long a fleet may be silent by the windows of the plan that devices follow, milliseconds; 0: there is none.
    /// Devices with longer windows than this rollout's speak less often until its own plan reaches them.
    pub silent_by_plan_ms: u64,
    /// The fleet's counts are those of an earlier look: enough to go back or to stand still by, and for nothing else.
    pub counts_are_old: bool,
    /// Some connected devices that ran the candidate when last heard, at most [`UNCONFIRMED_MAX`], for people.
    pub unconfirmed: Vec<DeviceId>,
}

/// Where the ModelVersion stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VersionFact {
    /// No such object.
    Missing,
    /// Not checked yet.
    #[default]
    Registered,
    /// The check failed; why.
    Unverifiable(String),
    /// The trust document forbids it for good; why, and what to do.
    Forbidden(String),
    /// Digest and signature were checked.
    Verified,
    /// It is the stable version of some devices, or of all.
    Production,
    /// It was the stable version before; may be rolled out again.
    Archived,
    /// Objects came back without their statuses, and this rollout may have ended before: a person says whether it runs.
    Doubtful {
        /// Why, for people.
        why: String,
        /// When: a retry token that changes after it was seen lets the rollout run.
        at: Time,
    },
    /// A rollout showed harm.
    Rejected {
        /// Why, for people.
        reason: String,
        /// When: tells one rejection from the next. A retry token that changes after it was seen lifts it.
        at: Time,
    },
}

/// The place in the queue of a model's rollouts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Name of the rollout that goes first.
    pub behind: String,
    /// That one is under way; otherwise it waits as well.
    pub active: bool,
    /// 1 for the next one.
    pub position: u32,
}

impl Intent {
    /// Whether the Rollout is being deleted.
    #[must_use]
    pub fn deleted(&self) -> bool {
        self.facts.deleted
    }
}
