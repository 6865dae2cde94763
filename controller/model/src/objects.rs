//! The Kubernetes objects of one model.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use modelfleet_crds::ResourceExt;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_fleet::Key;

/// The objects of one model, each as new as it is known.
#[derive(Clone, Debug, Default)]
pub struct ModelObjects {
    /// Rollouts, by name.
    pub rollouts: Vec<Arc<Rollout>>,
    /// Model versions, by version text.
    pub versions: BTreeMap<String, Arc<ModelVersion>>,
    /// Model versions whose version text an older object has: nothing goes by them.
    pub shadowed: Vec<Arc<ModelVersion>>,
}

impl ModelObjects {
    /// Sorts the objects of a model. Of two objects with the same version the older one counts, so that no later object can push
    /// one aside.
    #[must_use]
    pub fn new(mut rollouts: Vec<Arc<Rollout>>, mut versions: Vec<Arc<ModelVersion>>) -> ModelObjects {
        rollouts.sort_by_key(|r| r.name_any());
        let age = |v: &Arc<ModelVersion>| v.metadata.creation_timestamp.as_ref().map(|t| t.0);
        versions.sort_by_key(|v| (age(v), v.name_any()));
        let (mut by_version, mut shadowed) = (BTreeMap::new(), Vec::new());
        for version in versions {
            match by_version.entry(version.spec.version.clone()) {
                Entry::Vacant(free) => drop(free.insert(version)),
                Entry::Occupied(_) => shadowed.push(version),
            }
        }
        ModelObjects { rollouts, versions: by_version, shadowed }
    }

    /// Whether there is no object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rollouts.is_empty() && self.versions.is_empty()
    }

    /// The highest plan revision that a status names: known even when the broker has lost its plans.
    #[must_use]
    pub fn highest_revision(&self) -> u64 {
        let told = |rollout: &Arc<Rollout>| rollout.status.as_ref()?.plan_revision;
        let highest = self.rollouts.iter().filter_map(told).max();
        highest.and_then(|revision| u64::try_from(revision).ok()).unwrap_or(0)
    }
}

/// The key of an object, when namespace and model are names that can stand in a topic. The schema refuses others.
#[must_use]
pub fn key_of(namespace: Option<String>, model: &str) -> Option<Key> {
    Some((namespace?.parse().ok()?, model.parse().ok()?))
}
