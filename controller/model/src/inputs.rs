//! What is read of a model's objects before anything is decided: specs, what is remembered, builds. No client.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_crds::Rollout;
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::plan::Plan;
use modelfleet_rollout::Phase;
use modelfleet_spec::{Problem, Valid, needs_version, stand_in, validate};

use crate::objects::ModelObjects;
use crate::restore::ended;
use crate::status::memory::Memory;
use crate::status::recall;
use modelfleet_spec::builds::build;

/// A rollout with its spec and its status read.
pub struct RolloutInput {
    /// The object.
    pub rollout: Arc<Rollout>,
    /// What is remembered of it.
    pub memory: Memory,
    /// Who was drawn.
    pub membership: Option<Membership>,
    /// Its spec, or what is wrong with it.
    pub spec: Spec,
    /// It has ended, and its mark alone says so: its status was lost.
    pub restored: bool,
}

/// A spec as it was read.
pub enum Spec {
    /// It can work.
    Valid(Valid),
    /// It cannot work, and the rollout has begun: by the stand-in it stands still and can go back.
    StandsIn(Valid, Problem),
    /// It cannot work, and nothing has begun by it.
    Unreadable(Problem),
}

/// What is read of a model's objects.
pub struct Inputs {
    /// Its rollouts, in the order of the objects.
    pub rollouts: Vec<RolloutInput>,
    /// Builds by version. Where an object is gone, the build that devices were told stands in.
    pub builds: BTreeMap<String, ModelBuild>,
}

/// Reads the objects of a model; one spec that cannot work does not stop the others. `held` is the newest plan.
#[must_use]
pub fn read(objects: &ModelObjects, held: Option<&Plan>) -> Inputs {
    let mut builds = BTreeMap::new();
    let mut problems = BTreeMap::new();
    for (version, object) in &objects.versions {
        match build(&object.spec) {
            Ok(build) => drop(builds.insert(version.clone(), build)),
            Err(problem) => drop(problems.insert(version.clone(), problem.of_version(version))),
        }
    }
    let told = held.into_iter().flat_map(Plan::builds);
    for build in told {
        builds.entry(build.version.to_string()).or_insert_with(|| build.clone());
    }
    let read = |rollout: &Arc<Rollout>| {
        let (mut memory, membership) = recall(rollout.status.as_ref());
        let ended = ended(rollout, &memory.state);
        let restored = ended.is_some();
        if let Some(state) = ended {
            memory = Memory { judged: (state.attempt, state.stage), state, judge: String::new() };
        }
        let spec = spec(rollout, &memory, objects, &problems);
        RolloutInput { rollout: Arc::clone(rollout), memory, membership, spec, restored }
    };
    Inputs { rollouts: objects.rollouts.iter().map(read).collect(), builds }
}

fn spec(
    rollout: &Rollout,
    memory: &Memory,
    objects: &ModelObjects,
    problems: &BTreeMap<String, Problem>,
) -> Spec {
    let version = &rollout.spec.version;
    let begun = !matches!(memory.state.phase, Phase::Queued | Phase::Refused);
    let object = objects.versions.get(version);
    let valid = match problems.get(version) {
        Some(problem) => Err(problem.clone()),
        None if begun && object.is_none() && needs_version(&rollout.spec) => Err(gone(version)),
        None => validate(rollout, object.map(|v| &v.spec)),
    };
    match valid {
        Ok(valid) => Spec::Valid(valid),
        Err(problem) if begun => {
            Spec::StandsIn(stand_in(rollout, memory.state.stage.saturating_add(1)), problem)
        }
        Err(problem) => Spec::Unreadable(problem),
    }
}

fn gone(version: &str) -> Problem {
    let what = "its ModelVersion was deleted, and objectives are relative to its baseline; register it again";
    Problem { reason: "InvalidVersion", field: String::new(), what: what.to_owned() }.of_version(version)
}
