//! Our own writes that the watch has not shown yet, so that a reconcile never decides on what it has just replaced.

use std::collections::HashMap;
use std::sync::Arc;

use kube::ResourceExt;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::time::Time;

/// Objects as they were after our last write, by uid; dropped once the watch has caught up.
#[derive(Default)]
pub struct Written {
    rollouts: HashMap<String, Arc<Rollout>>,
    versions: HashMap<String, Arc<ModelVersion>>,
    told: HashMap<String, Time>,
    announced: HashMap<String, Time>,
}

/// Kubernetes promises since 1.35 that resource versions of one kind compare as whole numbers.
fn order<K: ResourceExt>(object: &K) -> u128 {
    object.resource_version().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn newest<K: ResourceExt>(kept: &mut HashMap<String, Arc<K>>, seen: Arc<K>) -> Arc<K> {
    let Some(uid) = seen.uid() else { return seen };
    match kept.get(&uid) {
        Some(ours) if order(ours.as_ref()) > order(seen.as_ref()) => Arc::clone(ours),
        Some(_) => {
            kept.remove(&uid);
            seen
        }
        None => seen,
    }
}

impl Written {
    /// The newer of what the watch shows and what we wrote.
    pub fn rollout(&mut self, seen: Arc<Rollout>) -> Arc<Rollout> {
        newest(&mut self.rollouts, seen)
    }

    /// The newer of what the watch shows and what we wrote.
    pub fn version(&mut self, seen: Arc<ModelVersion>) -> Arc<ModelVersion> {
        newest(&mut self.versions, seen)
    }

    /// Remembers a write, or a fresh read.
    pub fn keep_rollout(&mut self, object: Rollout) {
        if let Some(uid) = object.uid() {
            self.rollouts.insert(uid, Arc::new(object));
        }
    }

    /// Remembers a write, or a fresh read.
    pub fn keep_version(&mut self, object: ModelVersion) {
        if let Some(uid) = object.uid() {
            self.versions.insert(uid, Arc::new(object));
        }
    }

    /// When the status of a rollout was last written.
    #[must_use]
    pub fn told_at(&self, uid: &str) -> Option<Time> {
        self.told.get(uid).copied()
    }

    /// Notes that the status of a rollout was written.
    pub fn note_told(&mut self, uid: &str, now: Time) {
        self.told.insert(uid.to_owned(), now);
    }

    /// The moment up to which a rollout's log was announced by this process.
    #[must_use]
    pub fn announced(&self, uid: &str) -> Option<Time> {
        self.announced.get(uid).copied()
    }

    /// Notes up to which moment a rollout's log was announced.
    pub fn note_announced(&mut self, uid: &str, at: Time) {
        self.announced.insert(uid.to_owned(), at);
    }

    /// Forgets a rollout that is gone.
    pub fn forget(&mut self, uid: &str) {
        self.rollouts.remove(uid);
        self.versions.remove(uid);
        self.told.remove(uid);
        self.announced.remove(uid);
    }
}
