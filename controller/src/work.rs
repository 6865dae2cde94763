//! What wants to be reconciled, and when: every key at most once at a time, the earliest wish wins.
//!
//! A key that was asked for while it runs runs again. Evidence comes in bursts, so a wish of the index waits for a
//! short while for others to join it, and longer where one reconcile costs longer: at most a fifth of the time goes
//! into a key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use modelfleet_fleet::Key;

use crate::clock::Clock;

/// Evidence waits so long for more of it.
const DEBOUNCE: Duration = Duration::from_millis(60);
/// Longest wait for more evidence, however much a reconcile costs.
const DEBOUNCE_MAX: Duration = Duration::from_secs(5);
/// Rest after a reconcile, in times of its cost.
const REST: u32 = 4;

/// A queue of keys; cheap to clone.
#[derive(Clone, Default)]
pub struct Work {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    clock: Clock,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    due: BTreeMap<Key, Instant>,
    running: BTreeSet<Key>,
    slots: BTreeMap<Key, Slot>,
}

/// What is known of a key between two runs.
#[derive(Default, Clone, Copy)]
struct Slot {
    /// No evidence is looked at before it.
    rests_until: Option<Instant>,
    /// The first evidence since the last run.
    evidence_since: Option<Instant>,
    /// Runs that failed since the last good one.
    failures: u32,
}

/// A key to be reconciled now.
pub struct Job {
    /// Which.
    pub key: Key,
    /// When the first evidence came that it runs for.
    pub evidence_since: Option<Instant>,
}

impl Work {
    /// An empty queue that goes by this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Work {
        Work { inner: Arc::new(Inner { clock, ..Inner::default() }) }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a key now.
    pub fn now(&self, key: Key) {
        self.at(key, self.inner.clock.steady());
    }

    /// Asks for a key at a moment; an earlier wish stays.
    pub fn at(&self, key: Key, when: Instant) {
        let mut queue = self.queue();
        let due = queue.due.entry(key).or_insert(when);
        *due = when.min(*due);
        drop(queue);
        self.inner.changed.notify_one();
    }

    /// Evidence came in for a key.
    pub fn evidence(&self, key: &Key) {
        let now = self.inner.clock.steady();
        let mut queue = self.queue();
        let slot = queue.slots.entry(key.clone()).or_default();
        if slot.evidence_since.is_some() {
            // The first evidence has asked already.
            return;
        }
        slot.evidence_since = Some(now);
        let when = (now + DEBOUNCE).max(slot.rests_until.unwrap_or(now));
        let due = queue.due.entry(key.clone()).or_insert(when);
        *due = when.min(*due);
        drop(queue);
        self.inner.changed.notify_one();
    }

    /// The next key that is due; waits for it. The key counts as running until [`Work::done`].
    pub async fn next(&self) -> Job {
        loop {
            let wait = match self.take_due() {
                Ok(job) => return job,
                Err(wait) => wait,
            };
            let changed = self.inner.changed.notified();
            match wait {
                Some(due) => {
                    tokio::select! { () = changed => {}, () = tokio::time::sleep_until(due) => {} }
                }
                None => changed.await,
            }
        }
    }

    /// The next key that is due, which counts as running until [`Work::done`].
    ///
    /// # Errors
    /// When none is due: says when the next one will be, if any is asked for.
    pub fn take_due(&self) -> Result<Job, Option<Instant>> {
        let mut queue = self.queue();
        let free = |(key, _): &(&Key, &Instant)| !queue.running.contains(*key);
        let first = queue.due.iter().filter(free).min_by_key(|(_, due)| **due);
        match first.map(|(key, due)| (key.clone(), *due)) {
            Some((key, due)) if due <= self.inner.clock.steady() => {
                queue.due.remove(&key);
                queue.running.insert(key.clone());
                let slot = queue.slots.entry(key.clone()).or_default();
                Ok(Job { evidence_since: slot.evidence_since.take(), key })
            }
            other => Err(other.map(|(_, due)| due)),
        }
    }

    /// When the next key that does not run is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let queue = self.queue();
        queue.due.iter().filter(|(key, _)| !queue.running.contains(*key)).map(|(_, due)| *due).min()
    }

    /// A key has run and cost so much.
    pub fn done(&self, key: &Key, cost: Duration) {
        let mut queue = self.queue();
        queue.running.remove(key);
        let rest = (cost * REST).min(DEBOUNCE_MAX);
        // One that was forgotten stays so.
        if let Some(slot) = queue.slots.get_mut(key) {
            slot.rests_until = Some(self.inner.clock.steady() + rest);
        }
        drop(queue);
        self.inner.changed.notify_one();
    }

    /// A run has failed. Returns how many did before it in a row.
    #[must_use]
    pub fn note_failure(&self, key: &Key) -> u32 {
        let mut queue = self.queue();
        let slot = queue.slots.entry(key.clone()).or_default();
        let before = slot.failures;
        slot.failures = before.saturating_add(1);
        before
    }

    /// A run was good.
    pub fn note_success(&self, key: &Key) {
        if let Some(slot) = self.queue().slots.get_mut(key) {
            slot.failures = 0;
        }
    }

    /// Forgets a key that nothing is left of.
    pub fn forget(&self, key: &Key) {
        self.queue().slots.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(model: &str) -> Key {
        ("plant".parse().unwrap(), model.parse().unwrap())
    }

    #[tokio::test]
    async fn a_key_runs_once_at_a_time_and_again_when_asked_meanwhile() {
        let work = Work::default();
        work.now(key("a"));
        work.now(key("a"));
        let job = work.next().await;
        work.now(key("a"));
        let again = tokio::time::timeout(Duration::from_millis(50), work.next()).await;
        assert!(again.is_err(), "it runs already");
        work.done(&job.key, Duration::ZERO);
        assert_eq!(work.next().await.key, key("a"));
    }

    #[tokio::test]
    async fn a_key_that_is_forgotten_leaves_nothing_behind() {
        let work = Work::default();
        for i in 0..100 {
            work.evidence(&key(&format!("m-{i}")));
            let job = work.next().await;
            work.forget(&job.key);
            work.done(&job.key, Duration::ZERO);
        }
        let queue = work.queue();
        assert_eq!((queue.due.len(), queue.running.len(), queue.slots.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn evidence_is_gathered_for_a_moment() {
        let work = Work::default();
        let start = Instant::now();
        for _ in 0..100 {
            work.evidence(&key("a"));
        }
        let job = work.next().await;
        assert!(job.evidence_since.is_some_and(|since| since >= start && since < start + DEBOUNCE));
        assert!(start.elapsed() >= DEBOUNCE);
    }
}
