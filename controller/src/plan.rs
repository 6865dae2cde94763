//! The plan of a model as a pure function of what was decided.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{Candidate, Order, Plan, REJECTED_MAX};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{PlanView, Speaks};

use crate::ledger::Key;

/// Windows of a plan that no rollout has spoken for yet, milliseconds.
const WINDOW_MS: u64 = 3_600_000;

/// One rollout's say in the plan.
pub struct Voice {
    /// What it says.
    pub view: PlanView,
    /// Who was drawn.
    pub membership: Membership,
    /// When it ended, if it did.
    pub ended_at: Option<Time>,
}

/// What a plan is made of.
pub struct Sources<'a> {
    /// The fleet and the model.
    pub key: &'a Key,
    /// All rollouts of the model.
    pub voices: Vec<Voice>,
    /// Builds by version.
    pub builds: &'a BTreeMap<String, ModelBuild>,
    /// The version in production.
    pub production: Option<&'a str>,
    /// Digests of rejected versions.
    pub rejected: Vec<Digest>,
    /// The newest plan that was sent: it stands in for versions whose objects are gone.
    pub newest: Option<&'a Plan>,
    /// A rollout that has devices under way cannot be read: nothing may change for them.
    pub frozen: bool,
    /// A device still runs some build of the model.
    pub in_use: bool,
}

/// What the broker shall hold for a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// This plan; its order is still open.
    Plan(Box<Plan>),
    /// Nothing.
    Nothing,
}

/// What the broker shall hold.
#[must_use]
pub fn wanted(sources: Sources<'_>) -> Wanted {
    let Sources { key, voices, builds, production, mut rejected, newest, frozen, in_use } = sources;
    if let (true, Some(plan)) = (frozen, newest) {
        return Wanted::Plan(Box::new(plan.clone()));
    }
    let speaks = |voice: &&Voice| voice.view.speaks > Speaks::No;
    let voice = voices.iter().filter(speaks).max_by_key(|v| (v.view.speaks, v.ended_at));
    let old =
        newest.into_iter().flat_map(|plan| plan.stable.iter().chain(plan.candidate.iter().map(|c| &c.build)));
    let old: Vec<&ModelBuild> = old.collect();
    let build = |version: &str| {
        let gone = || old.iter().find(|b| b.version.to_string() == version).map(|b| (*b).clone());
        builds.get(version).cloned().or_else(gone)
    };
    for voice in voices.iter().filter(|voice| voice.view.rejected) {
        rejected.extend(build(&voice.view.version).map(|b| b.digest));
    }
    let stable = match voice {
        Some(voice) => voice.view.stable.as_deref(),
        None => production,
    };
    let stable = stable.and_then(&build);
    let candidate = voice.filter(|voice| voice.view.candidate).and_then(|voice| candidate(voice, build));
    let kept: Vec<Digest> = candidate.iter().map(|c| c.build.digest).collect();
    rejected.retain(|digest| !kept.contains(digest));
    rejected.sort_unstable();
    rejected.dedup();
    rejected.truncate(REJECTED_MAX);
    // A plan with nothing to run tells devices that come back later to stop; without such devices it may go.
    if stable.is_none() && candidate.is_none() && (newest.is_none() || (voices.is_empty() && !in_use)) {
        return Wanted::Nothing;
    }
    let unspoken = || newest.map(|plan| plan.observe.clone());
    let default = || Observe { window_ms: WINDOW_MS, ..Observe::default() };
    Wanted::Plan(Box::new(Plan {
        namespace: key.0.clone(),
        model: key.1.clone(),
        order: Order::default(),
        stable,
        candidate,
        rejected,
        observe: voice.map(|v| v.view.observe.clone()).or_else(unspoken).unwrap_or_else(default),
    }))
}

fn candidate(voice: &Voice, build: impl Fn(&str) -> Option<ModelBuild>) -> Option<Candidate> {
    let PlanView { version, attempt, salt, exclude, mode, probation, fetch, admit, .. } = &voice.view;
    if voice.membership.salt != *salt {
        return None;
    }
    Some(Candidate {
        rollout: attempt.clone(),
        build: build(version)?,
        membership: Membership { exclude: exclude.clone(), ..voice.membership.clone() },
        admit: *admit,
        mode: *mode,
        probation: *probation,
        fetch: *fetch,
    })
}
