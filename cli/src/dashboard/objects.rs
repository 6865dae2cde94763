//! The objects that pages are made of, as they were at one moment.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt as _;
use modelfleet_crds::{ModelVersion, Rollout};

use super::verdict_history::VerdictHistory;

/// Objects as they were last seen.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Rollouts.
    pub rollouts: Vec<Arc<Rollout>>,
    /// Versions.
    pub versions: Vec<Arc<ModelVersion>>,
    /// Verdicts that the dashboard has seen since it began.
    pub verdicts: Arc<VerdictHistory>,
    /// Why what is shown may be old; empty: it is not.
    pub stale: Vec<Stale>,
}

/// A kind of object of which no news comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Which. Example: `rollouts`.
    pub kind: String,
    /// Since when; `None`: it was never read.
    pub since: Option<Timestamp>,
    /// Why, in the API server's words.
    pub why: String,
}

impl Objects {
    /// A rollout.
    #[must_use]
    pub fn rollout(&self, namespace: &str, name: &str) -> Option<&Arc<Rollout>> {
        let is_it =
            |rollout: &&Arc<Rollout>| is_of(rollout.as_ref(), namespace) && rollout.name_any() == name;
        self.rollouts.iter().find(is_it)
    }

    /// The versions of a model.
    pub fn versions_of(&self, namespace: &str, model: &str) -> impl Iterator<Item = &Arc<ModelVersion>> {
        self.versions
            .iter()
            .filter(move |version| is_of(version.as_ref(), namespace) && version.spec.model == model)
    }

    /// The rollouts of a model.
    pub fn rollouts_of(&self, namespace: &str, model: &str) -> impl Iterator<Item = &Arc<Rollout>> {
        self.rollouts
            .iter()
            .filter(move |rollout| is_of(rollout.as_ref(), namespace) && rollout.spec.model == model)
    }
}

/// Whether an object is in a namespace.
#[must_use]
pub fn is_of<K: kube::Resource>(object: &K, namespace: &str) -> bool {
    object.meta().namespace.as_deref() == Some(namespace)
}
