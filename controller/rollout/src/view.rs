//! What the published plan says: a function of policy and state, so that the shell has nothing to choose.

use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{Fetch, Mode, Probation};
use modelfleet_protocol::time::Time;

use crate::policy::Policy;
use crate::production::Production;
use crate::state::{Phase, State};

/// So much of an object's uid tells two objects of one name apart, and stays readable.
const UID_CHARS: usize = 8;

/// What the plan for the model says on behalf of this rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanView {
    /// Whether the model's plan is this rollout's to say.
    pub speaks: Speaks,
    /// The plan carries the candidate, [`PlanView::version`], with the stored membership.
    pub candidate: bool,
    /// `candidate.admit`: members that have not activated yet may.
    pub admit: bool,
    /// The digest of [`PlanView::version`] belongs to the plan's rejected ones, whatever its ModelVersion says by
    /// now. It must not be among them while `candidate` holds: a Manual rollback waits for a person.
    pub rejected: bool,
    /// The version that this attempt rolls out.
    pub version: String,
    /// What the plan calls stable, for whom; `None`: what is in production by now.
    pub stable: Option<Production>,
    /// `candidate.rollout`: the attempt, as devices count it.
    pub attempt: String,
    /// The salt of the membership.
    pub salt: String,
    /// `membership.exclude`.
    pub exclude: Vec<DeviceId>,
    /// `candidate.mode`.
    pub mode: Mode,
    /// `candidate.probation`.
    pub probation: Probation,
    /// `candidate.fetch`.
    pub fetch: Fetch,
    /// `observe`, with its `since`.
    pub observe: Observe,
}

/// Whether the model's plan is this rollout's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Speaks {
    /// No: it waits. Without another one that speaks, the plan is the version in production alone.
    No,
    /// It has ended: while no other rollout of the model is active; of several the one that ended last.
    WhenNoOther,
    /// It goes back and is overdue: until the next rollout of the model begins.
    UntilNext,
    /// It is the model's active rollout.
    Now,
}

/// What the plan says.
#[must_use]
pub fn plan_view(policy: &Policy, state: &State) -> PlanView {
    let parts = policy.parts();
    // A hold-back needs a plan that still tells the two versions apart.
    let holds_back = parts.holdback_ppm > 0 && state.prior.of(policy.scope()).next().is_some();
    let (candidate, admit) = match state.phase {
        Phase::Progressing | Phase::AwaitingApproval => (true, true),
        Phase::Paused(cause) => (true, cause.admits()),
        Phase::Succeeded => (holds_back, true),
        Phase::Queued | Phase::Refused | Phase::RollingBack | Phase::RolledBack => (false, false),
    };
    // Before the first draw there is no membership to publish.
    let candidate = candidate && state.drawn.is_some();
    let going_back = matches!(state.phase, Phase::RollingBack | Phase::RolledBack);
    // What has ended has no say of its own: a later promotion stays what it is when its Rollout is deleted.
    let ended = state.phase.is_terminal() && !candidate;
    PlanView {
        speaks: match state.phase {
            _ if state.is_overdue() => Speaks::UntilNext,
            phase if phase.is_active() => Speaks::Now,
            // What ended before it began knows no version to go back to: devices keep what they were told before.
            Phase::RolledBack if state.started_at.is_none() => Speaks::No,
            phase if phase.is_terminal() => Speaks::WhenNoOther,
            _ => Speaks::No,
        },
        candidate,
        admit: candidate && admit && state.harm.is_none(),
        rejected: going_back && state.rollback.as_ref().is_some_and(|r| r.cause.rejects()),
        version: state.version.clone(),
        stable: (!ended).then(|| state.prior.clone()),
        attempt: attempt_name(policy, state),
        salt: salt(policy, state),
        exclude: policy.excluded(state),
        mode: policy.stage(state.stage).mode,
        probation: parts.probation,
        fetch: parts.fetch,
        observe: Observe { since: state.started_at.unwrap_or(Time::ZERO), ..parts.observe.clone() },
    }
}

/// The name of the attempt: the rollout's, the beginning of its uid, and from the second attempt on its number. A Rollout
/// that is deleted and applied again under its name is a new attempt for every device.
fn attempt_name(policy: &Policy, state: &State) -> String {
    let parts = policy.parts();
    let uid: String = parts.uid.chars().take(UID_CHARS).collect();
    let name = if uid.is_empty() { parts.rollout.clone() } else { format!("{}@{uid}", parts.rollout) };
    if state.attempt > 1 { format!("{name}#{}", state.attempt) } else { name }
}

/// The salt of the draw: another one for each attempt, so that a retry meets other devices first.
pub(crate) fn salt(policy: &Policy, state: &State) -> String {
    format!("{}/{}", policy.parts().uid, state.attempt.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RollbackPolicy, StandIn};

    #[test]
    fn a_name_that_is_used_again_is_another_attempt() {
        let of = |uid: &str, attempt: u32| {
            let known = StandIn {
                rollout: "pump".to_owned(),
                uid: uid.to_owned(),
                version: "1.0.0".to_owned(),
                stages: vec![],
                set_aside: vec![],
                scope: modelfleet_protocol::selector::Selector::default(),
                begun: 1,
                rollback: RollbackPolicy::Automatic,
            };
            plan_view(&Policy::stand_in(known), &State { attempt, ..State::default() }).attempt
        };
        assert_eq!(of("0c1d2e3f-aaaa-bbbb", 1), "pump@0c1d2e3f");
        assert_eq!(of("0c1d2e3f-aaaa-bbbb", 2), "pump@0c1d2e3f#2");
        assert_ne!(of("0c1d2e3f-aaaa-bbbb", 1), of("9c1d2e3f-aaaa-bbbb", 1));
    }
}
