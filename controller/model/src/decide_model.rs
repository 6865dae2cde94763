//! One model of one fleet: everything that happens next, from one snapshot and one moment.

use modelfleet_crds::{ModelVersion, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_fleet::{Fleet, Key, Link};
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::TrustDocument;
use modelfleet_rollout::{Action, Production};
use modelfleet_spec::Problem;

use crate::decide_rollouts::{FleetReading, RolloutOutcome, Sampling, Surroundings, decide_rollouts};
use crate::inputs::{Inputs, read};
use crate::later_trust::later_trust;
use crate::objects::ModelObjects;
use crate::plan::{self, DesiredPlan, PlanInput, PlanSources, desired_plan, plan_owner};
use crate::production;
use crate::recall::{Recall, recall};
use crate::recording::LookMark;
use crate::restore::restored;
use crate::security_floor::Floor;
use crate::status::conditions::NewCondition;
use crate::version_facts;
use crate::watch::WatchAlarm;

/// What was recorded last, by namespace and rollout.
pub type Recorded = BTreeMap<(String, String), LookMark>;

/// What each rollout read of the fleet when it was looked at last, by the name of its attempt.
pub type LastLooks = BTreeMap<String, Arc<FleetReading>>;

/// All that a decision about one model rests on, taken at one moment. It costs little to take, and nothing changes it: a
/// decision needs no lock.
#[derive(Clone)]
pub struct Snapshot {
    /// The fleet and the model.
    pub key: Key,
    /// The Kubernetes objects.
    pub objects: ModelObjects,
    /// The newest plan: the one that was sent last, else the one that the broker holds.
    pub plan: Option<Arc<Plan>>,
    /// The newest plan that a device has sent back, while there is none or an older one.
    pub recalled: Option<Arc<Plan>>,
    /// What devices have said; `None`: nothing is kept of the fleet.
    pub fleet: Option<Fleet>,
    /// The trust document that counts for the fleet.
    pub trust: Option<Arc<TrustDocument>>,
    /// The connection to the broker.
    pub link: Link,
    /// Looks that were recorded; `None`: nothing is recorded.
    pub recorded: Option<Arc<Recorded>>,
    /// What was seen at the last look.
    pub last_looks: Arc<LastLooks>,
}

/// What was decided about a model. The order in which it is carried out is the shell's: finalizers, the plan's own rollout,
/// the plan, the other rollouts, events, annotations.
pub struct ModelDecision {
    /// The objects, with what their statuses have lost and the plan or an annotation still knows.
    pub objects: ModelObjects,
    /// Versions whose statuses are to be written so.
    pub to_restore: Vec<String>,
    /// What was decided about each rollout, in the order of the objects.
    pub rollouts: Vec<RolloutOutcome>,
    /// The rollout that the plan is for.
    pub plan_owner: Option<usize>,
    /// The plan.
    pub plan: DesiredPlan,
    /// What becomes of the report samples that the fleet keeps of the model.
    pub samples: SampleChange,
    /// Versions whose condition about the security floor is to be written.
    pub floor_told: Vec<(Arc<ModelVersion>, NewCondition)>,
    /// The controller's trust document is older than the one that devices hold, and is not to be published.
    pub trust_is_old: bool,
    /// When to look again, whatever the rollouts wait for.
    pub wake_at: Option<Time>,
}

impl ModelDecision {
    /// The alarms about versions in production, each with the place of its rollout: for all that tells of alarms.
    #[must_use]
    pub fn alarms(&self) -> Vec<(usize, &WatchAlarm)> {
        let mut alarms = Vec::new();
        for (place, one) in self.rollouts.iter().enumerate() {
            let watched = one.result.as_ref().ok().and_then(|decided| decided.watched.as_ref());
            alarms.extend(watched.and_then(|watched| watched.alarm.as_ref()).map(|alarm| (place, alarm)));
        }
        alarms
    }

    /// What was read of the fleet for each rollout that was looked at.
    #[must_use]
    pub fn looks(&self) -> LastLooks {
        let decided = self.rollouts.iter().filter_map(|one| one.result.as_ref().ok());
        decided
            .filter_map(|decided| Some((decided.view.attempt.clone(), Arc::clone(decided.seen.as_ref()?))))
            .collect()
    }
}

/// What becomes of the report samples that a fleet keeps of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleChange {
    /// They stay as they are.
    None,
    /// These are kept from now on; those of another candidate or way of counting go.
    Keep(Sampling),
    /// They go: no rollout is judged by them.
    Stop,
}

/// Decides what happens next to one model.
#[must_use]
pub fn decide_model(snapshot: &Snapshot, now: Time) -> ModelDecision {
    let recall = recall(snapshot, now);
    let (held, wake_at) = match &recall {
        Recall::NotNeeded => (snapshot.plan.as_deref(), None),
        Recall::Found(plan) => (Some(plan.as_ref()), None),
        Recall::Waits(until) => (None, Some(*until)),
    };
    let (objects, to_restore) = restored(&snapshot.objects, held);
    let Inputs { rollouts, builds } = read(&objects, held);
    let later_trust = later_trust(snapshot.fleet.as_ref(), snapshot.trust.as_deref());
    let trust_is_old = later_trust.is_some();
    let around = Surroundings { held, recalling: wake_at.is_some(), later_trust };
    let (mut rollouts, sampling) = decide_rollouts(snapshot, around, &objects, &builds, rollouts, now);
    let inputs: Vec<PlanInput> = rollouts.iter().filter_map(plan_input).collect();
    let owner = plan_owner(&inputs).map(|input| input.rollout.clone());
    let plan_owner = rollouts.iter().position(|one| Some(one.rollout.name_any()) == owner);
    let production = decided_production(&rollouts);
    let floor = Floor::of(snapshot.trust.as_deref(), &snapshot.key.1);
    let forbidden = floor.digests(&builds);
    let plan = desired_plan(PlanSources {
        key: &snapshot.key,
        inputs: &inputs,
        builds: &floor.allowed(&builds),
        production: &production.unwrap_or_else(|| production::production(&objects, held)),
        rejected: forbidden.into_iter().chain(version_facts::rejected(&objects, held)).collect(),
        newest: held,
        // Asked of every device, and read only where no rollout is left.
        in_use: inputs.is_empty() && snapshot.fleet.as_ref().is_some_and(|fleet| fleet.uses(&snapshot.key.1)),
    });
    let plan = floor.without_forbidden(plan);
    let problem = plan::problem(&plan);
    let plan = match problem {
        None => plan,
        Some(problem) => refused(problem, plan_owner.and_then(|at| rollouts.get_mut(at))),
    };
    let plan = if wake_at.is_some() || trust_is_old { DesiredPlan::Unchanged } else { plan };
    let samples = sample_change(&rollouts, sampling);
    let floor_told = floor.to_tell(&objects);
    ModelDecision {
        objects,
        to_restore,
        rollouts,
        plan_owner,
        plan,
        samples,
        floor_told,
        trust_is_old,
        wake_at,
    }
}

fn sample_change(rollouts: &[RolloutOutcome], sampling: Option<Sampling>) -> SampleChange {
    let judged = |one: &RolloutOutcome| one.result.as_ref().is_ok_and(|decided| decided.answer.is_some());
    let watched = rollouts.iter().any(|one| one.phase().is_active() || judged(one));
    match sampling {
        _ if !watched => SampleChange::Stop,
        Some(sampling) => SampleChange::Keep(sampling),
        None => SampleChange::None,
    }
}

/// What is in production once these decisions are stored, where one of them changes it.
fn decided_production(rollouts: &[RolloutOutcome]) -> Option<Production> {
    let decided = rollouts.iter().filter_map(|one| one.result.as_ref().ok());
    decided.flat_map(|decided| &decided.decision.actions).find_map(|action| match action {
        Action::Promote { production } | Action::GiveBack { production } => Some(production.clone()),
        _ => None,
    })
}

fn plan_input(one: &RolloutOutcome) -> Option<PlanInput> {
    let decided = one.result.as_ref().ok()?;
    Some(PlanInput {
        rollout: one.rollout.name_any(),
        view: decided.view.clone(),
        membership: decided.membership.clone(),
        ended_at: decided.memory.state.figures.ended_at,
        goes_back: decided.goes_back(),
        stands_in: decided.problem.is_some(),
    })
}

/// Devices would refuse the plan: the broker keeps the one that it has, and the rollout that it is for stays where it is
/// and says so. One that goes back is stored all the same.
fn refused(problem: Problem, owner: Option<&mut RolloutOutcome>) -> DesiredPlan {
    if let Some(owner) = owner.filter(|owner| !owner.goes_back()) {
        owner.result = Err(problem);
    }
    DesiredPlan::Unchanged
}
