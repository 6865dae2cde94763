//! Our own writes that the watch has not shown yet, so that a reconcile never decides on what it has just replaced.

use std::collections::HashMap;
use std::sync::Arc;

use kube::ResourceExt;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::time::Time;

/// Objects as they were after our last write, by uid; dropped once the watch has caught up.
#[derive(Default)]
pub struct WriteCache {
    rollouts: HashMap<String, Arc<Rollout>>,
    versions: HashMap<String, Arc<ModelVersion>>,
    status_sent_at: HashMap<String, Time>,
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

fn since<K: ResourceExt>(kept: &HashMap<String, Arc<K>>, known: &Arc<K>) -> Arc<K> {
    let ours = known
        .uid()
        .and_then(|uid| kept.get(&uid))
        .filter(|ours| order(ours.as_ref()) > order(known.as_ref()));
    Arc::clone(ours.unwrap_or(known))
}

impl WriteCache {
    /// An object as it was after our last write, when that is newer than `known`. What was not read from the watch must
    /// not go through [`WriteCache::rollout`]: it would pass for the watch having caught up.
    #[must_use]
    pub fn rollout_since(&self, known: &Arc<Rollout>) -> Arc<Rollout> {
        since(&self.rollouts, known)
    }

    /// As [`WriteCache::rollout_since`].
    #[must_use]
    pub fn version_since(&self, known: &Arc<ModelVersion>) -> Arc<ModelVersion> {
        since(&self.versions, known)
    }

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
    pub fn status_sent_at(&self, uid: &str) -> Option<Time> {
        self.status_sent_at.get(uid).copied()
    }

    /// Notes that the status of a rollout was written.
    pub fn note_status_sent(&mut self, uid: &str, now: Time) {
        self.status_sent_at.insert(uid.to_owned(), now);
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
        self.status_sent_at.remove(uid);
        self.announced.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_crds::RolloutSpec;

    fn rollout(version: &str) -> Rollout {
        let mut rollout = Rollout::new("r", RolloutSpec::new("m", "1.0.0"));
        rollout.metadata.uid = Some("u".into());
        rollout.metadata.resource_version = Some(version.into());
        rollout
    }

    #[test]
    fn what_we_wrote_stays_until_the_watch_shows_it() {
        let mut written = WriteCache::default();
        let version = |rollout: Arc<Rollout>| rollout.resource_version().unwrap();
        written.keep_rollout(rollout("7"));
        let ours = written.rollout(Arc::new(rollout("3")));
        assert_eq!(version(written.rollout_since(&ours)), "7");
        assert_eq!(
            version(written.rollout(Arc::new(rollout("3")))),
            "7",
            "it was not the watch that showed it"
        );
        assert_eq!(version(written.rollout(Arc::new(rollout("8")))), "8");
        assert_eq!(version(written.rollout_since(&Arc::new(rollout("3")))), "3", "the watch has caught up");
    }
}
