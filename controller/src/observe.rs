//! Takes a snapshot of one model: its objects from the caches that the watches keep, and what its fleet has said.

use kube::ResourceExt;
use std::sync::Arc;

use modelfleet_fleet::Key;
use modelfleet_model::{ModelObjects, Snapshot};
use modelfleet_protocol::plan::REVISION_MAX;

use crate::context::Context;

/// A status that tells of so many plans was written while a thief of the plan key had signed the last numbers that there are. They
/// bind no later leader, whose epoch is higher.
const IMPLAUSIBLE: u64 = REVISION_MAX / 2;

/// Observes one model. The fleet's lock is held to copy out.
#[must_use]
pub fn observe(ctx: &Context, key: &Key) -> Snapshot {
    let objects = objects(ctx, key);
    // Before the fleet: one that is complete may be so on this connection alone.
    let link = ctx.fleets.link();
    let fleet = ctx.fleets.named(&key.0);
    let mut fleet = fleet.locked();
    fleet.ledger.raise(key, Some(objects.highest_revision()).filter(|told| *told < IMPLAUSIBLE).unwrap_or(0));
    Snapshot {
        key: key.clone(),
        objects,
        plan: fleet.ledger.newest(key).cloned(),
        recalled: fleet.ledger.recalled(key).cloned(),
        fleet: (!fleet.index.managed().is_empty()).then(|| fleet.index.fleet()),
        trust: ctx.fleets.trust_of(&key.0),
        link,
        recorded: fleet.recorded.clone(),
        last_looks: fleet.last_looks.get(&key.1).map(Arc::clone).unwrap_or_default(),
    }
}

/// The objects of a model as the caches and our last writes have them.
pub(crate) fn objects(ctx: &Context, key: &Key) -> ModelObjects {
    let (namespace, model) = (key.0.as_str(), key.1.as_str());
    let is_ours = |ns: Option<String>, of: &str| ns.as_deref() == Some(namespace) && of == model;
    let mut written = ctx.written();
    let rollouts = ctx.rollouts.state_filter(|r| is_ours(r.namespace(), &r.spec.model));
    let versions = ctx.versions.state_filter(|v| is_ours(v.namespace(), &v.spec.model));
    let rollouts = rollouts.into_iter().map(|r| written.rollout(r)).collect();
    let versions = versions.into_iter().map(|v| written.version(v)).collect();
    ModelObjects::new(rollouts, versions)
}

/// The same objects as they were after our last writes, without a look at the caches.
#[must_use]
pub fn since(ctx: &Context, objects: &ModelObjects) -> ModelObjects {
    let written = ctx.written();
    let versions = objects.versions.iter().map(|(text, v)| (text.clone(), written.version_since(v)));
    ModelObjects {
        rollouts: objects.rollouts.iter().map(|r| written.rollout_since(r)).collect(),
        versions: versions.collect(),
        shadowed: objects.shadowed.iter().map(|v| written.version_since(v)).collect(),
    }
}
