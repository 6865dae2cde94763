//! The plan of a model as a pure function of what was decided.

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{
    Candidate, Order, PLAN_BYTES_MAX, Plan, PlanError, REJECTED_MAX, StableFor, to_json,
};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{PlanView, Production, Proven, Speaks};
use modelfleet_spec::Problem;

use modelfleet_fleet::ledger::Key;

/// Windows of a plan that no rollout has spoken for yet, milliseconds.
const WINDOW_MS: u64 = 3_600_000;
/// What order and lifetime can add to a plan whose order is still open, bytes.
const ORDER_BYTES_MAX: usize = 256;

/// What one rollout asks of the plan.
#[derive(Clone, Debug)]
pub struct PlanInput {
    /// Its name.
    pub rollout: String,
    /// What it asks for.
    pub view: PlanView,
    /// Who was drawn.
    pub membership: Membership,
    /// When it ended, if it did.
    pub ended_at: Option<Time>,
    /// Devices go back, or have gone.
    pub goes_back: bool,
    /// Its spec cannot work: what the stand-in says of how devices run, fetch and count is ignored.
    pub stands_in: bool,
}

/// What a plan is made of.
pub struct PlanSources<'a> {
    /// The fleet and the model.
    pub key: &'a Key,
    /// All rollouts of the model.
    pub inputs: &'a [PlanInput],
    /// Builds by version; where an object is gone, what devices were told.
    pub builds: &'a BTreeMap<String, ModelBuild>,
    /// What is in production, once this turn's decisions are stored.
    pub production: &'a Production,
    /// Digests of rejected versions, the most important first.
    pub rejected: Vec<Digest>,
    /// The newest plan that was sent.
    pub newest: Option<&'a Plan>,
    /// A device still runs some build of the model.
    pub in_use: bool,
}

/// What the broker shall hold for a model.
#[derive(Clone, Debug, PartialEq)]
pub enum DesiredPlan {
    /// This plan; its order is still open.
    Plan(Box<Plan>),
    /// What it holds: devices would refuse what should replace it.
    Unchanged,
    /// Nothing.
    Nothing,
}

/// The rollout that the plan is for.
#[must_use]
pub fn plan_owner(inputs: &[PlanInput]) -> Option<&PlanInput> {
    let speaks = |input: &&PlanInput| input.view.speaks > Speaks::No;
    inputs.iter().filter(speaks).max_by_key(|v| (v.view.speaks, v.ended_at))
}

/// What the broker shall hold.
#[must_use]
pub fn desired_plan(sources: PlanSources<'_>) -> DesiredPlan {
    let PlanSources { key, inputs, builds, production, rejected, newest, in_use } = sources;
    let input = plan_owner(inputs);
    let build = |version: &str| builds.get(version).cloned().map(ModelBuild::as_sent);
    // What the plan's own rollout takes back goes first, whatever its version's record says by now.
    let own = input.into_iter().chain(inputs).filter(|input| input.view.rejected);
    let own = own.filter_map(|input| build(&input.view.version)).map(|build| build.digest);
    let rejected = own.chain(rejected);
    if let Some((input, plan)) = input.filter(|input| input.stands_in && !input.goes_back).zip(newest) {
        return DesiredPlan::Plan(Box::new(still(plan, input, rejected)));
    }
    let (stable, stable_for) = stable(input, production, build);
    let candidate = input.filter(|input| input.view.candidate).and_then(|input| candidate(input, build));
    // A plan with nothing to run tells devices that come back later to stop; without such devices it may go.
    let nothing = stable.is_none() && stable_for.is_empty() && candidate.is_none();
    if nothing && (newest.is_none() || (inputs.is_empty() && !in_use)) {
        return DesiredPlan::Nothing;
    }
    let meant = input.filter(|input| !input.stands_in);
    let default = || Observe { window_ms: WINDOW_MS, ..Observe::default() };
    let observe = meant.map(|v| v.view.observe.clone()).or_else(|| newest.map(|plan| plan.observe.clone()));
    DesiredPlan::Plan(Box::new(Plan {
        namespace: key.0.clone(),
        model: key.1.clone(),
        order: Order::default(),
        rejected: bounded(
            rejected,
            candidate.as_ref(),
            stable_for.iter().map(|own| &own.build).chain(&stable),
        ),
        stable,
        stable_for,
        candidate,
        fetch: meant.map(|v| v.view.fetch).or_else(|| newest?.fetch),
        observe: observe.unwrap_or_else(default),
    }))
}

/// The build that all devices have in production, and those that some have. One whose build is not known any more is
/// left out.
fn stable(
    input: Option<&PlanInput>,
    production: &Production,
    build: impl Fn(&str) -> Option<ModelBuild>,
) -> (Option<ModelBuild>, Vec<StableFor>) {
    let production = input.and_then(|input| input.view.stable.as_ref()).unwrap_or(production);
    let (all, some): (Vec<_>, Vec<_>) =
        production.entries().iter().partition(|entry| entry.selector.is_everybody());
    let own =
        |entry: &Proven| Some(StableFor { selector: entry.selector.clone(), build: build(&entry.version)? });
    let all = all.first().and_then(|entry| build(&entry.version));
    (all, some.into_iter().filter_map(own).collect())
}

/// The plan that devices have, which no further device follows: nothing changes for those who have begun.
fn still(plan: &Plan, input: &PlanInput, rejected: impl Iterator<Item = Digest>) -> Plan {
    let mut plan = plan.clone();
    if let Some(candidate) = &mut plan.candidate {
        candidate.admit = false;
        candidate.membership.exclude.clone_from(&input.view.exclude);
    }
    let rejected = bounded(rejected, plan.candidate.as_ref(), stable_builds(&plan));
    plan.rejected = rejected;
    plan
}

fn stable_builds(plan: &Plan) -> impl Iterator<Item = &ModelBuild> {
    plan.stable_for.iter().map(|own| &own.build).chain(&plan.stable)
}

/// The first [`REJECTED_MAX`], in an order that does not change with it. A candidate is not among them: a Manual
/// rollback waits for a person. Nor is what is in production for some: harm to others does not take it from them.
fn bounded<'a>(
    rejected: impl Iterator<Item = Digest>,
    candidate: Option<&'a Candidate>,
    stable: impl Iterator<Item = &'a ModelBuild>,
) -> Vec<Digest> {
    let kept: BTreeSet<Digest> = candidate
        .map(|candidate| &candidate.build)
        .into_iter()
        .chain(stable)
        .map(|build| build.digest)
        .collect();
    let mut met = BTreeSet::new();
    let fresh = rejected.filter(|digest| !kept.contains(digest) && met.insert(*digest));
    let mut first: Vec<Digest> = fresh.take(REJECTED_MAX).collect();
    first.sort_unstable();
    first
}

/// Why devices would refuse a plan, whatever its order becomes.
#[must_use]
pub fn problem(wanted: &DesiredPlan) -> Option<Problem> {
    let DesiredPlan::Plan(plan) = wanted else { return None };
    let bytes = to_json(plan).len() + ORDER_BYTES_MAX;
    let size = if bytes > PLAN_BYTES_MAX { Err(PlanError::Size(bytes)) } else { Ok(()) };
    let error = plan.check().and(size).err()?;
    let what = format!(
        "devices would refuse the plan, so the controller does not send it and they keep the plan that they have: {error}; \
         abort this rollout, then register a version or create a rollout within this limit"
    );
    Some(Problem { reason: "PlanRefused", field: String::new(), what })
}

fn candidate(input: &PlanInput, build: impl Fn(&str) -> Option<ModelBuild>) -> Option<Candidate> {
    let PlanView { version, attempt, salt, exclude, mode, probation, fetch, admit, .. } = &input.view;
    if input.membership.salt != *salt {
        return None;
    }
    Some(Candidate {
        rollout: attempt.clone(),
        build: build(version)?,
        membership: Membership { exclude: exclude.clone(), ..input.membership.clone() },
        admit: *admit,
        mode: *mode,
        probation: *probation,
        fetch: *fetch,
    })
}

#[cfg(test)]
mod tests;
