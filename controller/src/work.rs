//! What wants to be reconciled, and when: every key at most once at a time, the earliest wish wins.
//!
//! A key that was asked for while it runs runs again. Evidence comes in bursts, so a wish of the index waits for a
//! short while for others to join it, and longer where one reconcile costs longer: at most a fifth of the time goes
//! into a key.
//!
//! Two things do not wait. What a person takes back or holds runs at once, in a worker of its own if all are busy, and
//! interrupts a look at the same model that is under way. A failure that speaks against a build does the same. Neither
//! interrupts a look that was begun for its own kind: looks have to come to an end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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
    /// Wakes those who wait for what is urgent alone.
    urgent: Notify,
}

#[derive(Default)]
struct Queue {
    due: BTreeMap<Key, Instant>,
    running: BTreeMap<Key, Running>,
    slots: BTreeMap<Key, Slot>,
}

/// A key that runs.
struct Running {
    /// Ends its look before it is over.
    interrupt: CancellationToken,
    /// Why it did not wait to begin, if it did not.
    urgency: Option<Urgency>,
}

/// Why a key does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// A device failed in a way that speaks against a build.
    Failure,
    /// A person takes a rollout back or holds it.
    Intervention,
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
    /// Why the next run does not wait, if it does not.
    urgency: Option<Urgency>,
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

    /// A person takes a rollout back or holds it: its model runs now, whatever runs.
    pub fn at_once(&self, key: &Key) {
        self.hurry(key, Urgency::Intervention);
    }

    /// A device failed in a way that speaks against a build: its model is looked at now, however much looks cost.
    pub fn failure(&self, key: &Key) {
        self.hurry(key, Urgency::Failure);
    }

    fn hurry(&self, key: &Key, urgency: Urgency) {
        let now = self.inner.clock.steady();
        let mut queue = self.queue();
        let slot = queue.slots.entry(key.clone()).or_default();
        slot.urgency = slot.urgency.max(Some(urgency));
        if urgency == Urgency::Failure {
            slot.evidence_since.get_or_insert(now);
        }
        let due = queue.due.entry(key.clone()).or_insert(now);
        *due = now.min(*due);
        if let Some(running) = queue.running.get(key)
            && Some(urgency) > running.urgency
        {
            running.interrupt.cancel();
        }
        drop(queue);
        self.inner.changed.notify_one();
        self.inner.urgent.notify_one();
    }

    /// Ends the look of a key that runs before it is over. One that does not run is not interrupted.
    #[must_use]
    pub fn interrupt(&self, key: &Key) -> CancellationToken {
        self.queue().running.get(key).map(|running| running.interrupt.clone()).unwrap_or_default()
    }

    /// A run was interrupted: the evidence that it ran for still waits.
    pub fn note_interrupted(&self, key: &Key, evidence_since: Option<Instant>) {
        let mut queue = self.queue();
        let slot = queue.slots.entry(key.clone()).or_default();
        slot.evidence_since = evidence_since.into_iter().chain(slot.evidence_since).min();
    }

    /// The next key that is due; waits for it. The key counts as running until [`Work::done`].
    pub async fn next(&self) -> Job {
        self.wait_for(&self.inner.changed, || self.take_due()).await
    }

    /// The same, of keys that do not wait.
    pub async fn next_urgent(&self) -> Job {
        self.wait_for(&self.inner.urgent, || self.take_urgent()).await
    }

    async fn wait_for(&self, changed: &Notify, take: impl Fn() -> Result<Job, Option<Instant>>) -> Job {
        loop {
            let wait = match take() {
                Ok(job) => return job,
                Err(wait) => wait,
            };
            let changed = changed.notified();
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
        self.take(|_| true)
    }

    /// The same, of keys that do not wait.
    ///
    /// # Errors
    /// When none of them is free to run.
    pub fn take_urgent(&self) -> Result<Job, Option<Instant>> {
        self.take(|slot| slot.is_some_and(|slot| slot.urgency.is_some()))
    }

    fn take(&self, wanted: impl Fn(Option<&Slot>) -> bool) -> Result<Job, Option<Instant>> {
        let mut queue = self.queue();
        let free =
            |(key, _): &(&Key, &Instant)| !queue.running.contains_key(*key) && wanted(queue.slots.get(*key));
        let first = queue.due.iter().filter(free).min_by_key(|(_, due)| **due);
        match first.map(|(key, due)| (key.clone(), *due)) {
            Some((key, due)) if due <= self.inner.clock.steady() => {
                queue.due.remove(&key);
                let slot = queue.slots.entry(key.clone()).or_default();
                let (evidence_since, urgency) = (slot.evidence_since.take(), slot.urgency.take());
                let running = Running { interrupt: CancellationToken::new(), urgency };
                queue.running.insert(key.clone(), running);
                Ok(Job { evidence_since, key })
            }
            other => Err(other.map(|(_, due)| due)),
        }
    }

    /// When the next key that does not run is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let queue = self.queue();
        queue.due.iter().filter(|(key, _)| !queue.running.contains_key(*key)).map(|(_, due)| *due).min()
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
        self.inner.urgent.notify_one();
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

    /// As a device or a person asks for what does not wait.
    fn hurry(work: &Work, key: &Key, urgency: Urgency) {
        match urgency {
            Urgency::Failure => work.failure(key),
            Urgency::Intervention => work.at_once(key),
        }
    }

    #[tokio::test]
    async fn what_does_not_wait_interrupts_what_is_less_urgent_and_nothing_else() {
        for urgency in [Urgency::Failure, Urgency::Intervention] {
            let work = Work::default();
            work.now(key("a"));
            let job = work.next().await;
            let (interrupt, other) = (work.interrupt(&key("a")), work.interrupt(&key("b")));
            hurry(&work, &key("b"), urgency);
            assert!(!interrupt.is_cancelled(), "{urgency:?} of another model");
            hurry(&work, &key("a"), urgency);
            assert!(interrupt.is_cancelled() && !other.is_cancelled(), "{urgency:?}");
            assert_eq!(work.next_urgent().await.key, key("b"), "one at a time");
            work.done(&job.key, Duration::from_secs(60));
            assert_eq!(work.next_urgent().await.key, key("a"), "it rests for nothing");
            for again in [Urgency::Failure, Urgency::Intervention] {
                let interrupt = work.interrupt(&key("a"));
                hurry(&work, &key("a"), again);
                assert_eq!(interrupt.is_cancelled(), again > urgency, "{again:?} while {urgency:?} runs");
            }
        }
    }

    #[tokio::test]
    async fn evidence_of_a_run_that_was_interrupted_still_waits() {
        let work = Work::default();
        work.evidence(&key("a"));
        let job = work.next().await;
        work.at_once(&key("a"));
        work.note_interrupted(&job.key, job.evidence_since);
        work.done(&job.key, Duration::from_secs(60));
        assert_eq!(work.next_urgent().await.evidence_since, job.evidence_since);
    }
}
