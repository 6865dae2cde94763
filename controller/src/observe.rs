//! Reads Kubernetes: the objects of one model, from the caches that the watches keep.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use kube::ResourceExt;
use modelfleet_crds::{ModelVersion, Rollout};

use crate::context::Context;
use crate::ledger::Key;

/// The objects of one model, each as new as we know it.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Rollouts, by name.
    pub rollouts: Vec<Arc<Rollout>>,
    /// Model versions, by version text.
    pub versions: BTreeMap<String, Arc<ModelVersion>>,
    /// Model versions whose version text an older one holds: nothing goes by them.
    pub shadowed: Vec<Arc<ModelVersion>>,
}

/// Observes one model.
#[must_use]
pub fn observe(ctx: &Context, key: &Key) -> World {
    let (namespace, model) = (key.0.as_str(), key.1.as_str());
    let is_ours = |ns: Option<String>, of: &str| ns.as_deref() == Some(namespace) && of == model;
    let mut written = ctx.written();
    let rollouts = ctx.rollouts.state_filter(|r| is_ours(r.namespace(), &r.spec.model));
    let mut rollouts: Vec<Arc<Rollout>> = rollouts.into_iter().map(|r| written.rollout(r)).collect();
    rollouts.sort_by_key(|r| r.name_any());
    let mut versions: Vec<Arc<ModelVersion>> = ctx
        .versions
        .state_filter(|v| is_ours(v.namespace(), &v.spec.model))
        .into_iter()
        .map(|v| written.version(v))
        .collect();
    // Two objects with the same version: the older one holds, so that nobody can push one aside.
    let age = |v: &Arc<ModelVersion>| v.metadata.creation_timestamp.as_ref().map(|t| t.0);
    versions.sort_by_key(|v| (age(v), v.name_any()));
    let (mut by_version, mut shadowed) = (BTreeMap::new(), Vec::new());
    for version in versions {
        match by_version.entry(version.spec.version.clone()) {
            Entry::Vacant(free) => drop(free.insert(version)),
            Entry::Occupied(_) => shadowed.push(version),
        }
    }
    World { rollouts, versions: by_version, shadowed }
}

/// The same objects as they were after our last writes, without a look at the caches.
#[must_use]
pub fn since(ctx: &Context, world: &World) -> World {
    let written = ctx.written();
    let versions = world.versions.iter().map(|(text, v)| (text.clone(), written.version_since(v)));
    World {
        rollouts: world.rollouts.iter().map(|r| written.rollout_since(r)).collect(),
        versions: versions.collect(),
        shadowed: world.shadowed.iter().map(|v| written.version_since(v)).collect(),
    }
}

/// The key of an object, when namespace and model are names that can stand in a topic. The schema refuses others.
#[must_use]
pub fn key_of(namespace: Option<String>, model: &str) -> Option<Key> {
    Some((namespace?.parse().ok()?, model.parse().ok()?))
}
