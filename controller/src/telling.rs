//! Tells sinks outside of the cluster what happens to rollouts.
//!
//! What was not told yet is read from stored statuses alone (`controller/telling/src/transition.rs`), and how far a sink was told
//! is stored with the next status. So a process that ends between the status and the delivery, or between the delivery and the
//! note of it, loses nothing. Each sink has a queue and a task of its own: one that is dead keeps no rollout and no other sink
//! waiting.

mod post;
mod secret;
pub mod settings;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::status::TellingProgress;
use modelfleet_fleet::Key;
use modelfleet_model::objects::key_of;
use modelfleet_model::status::event_sinks::SinkTrouble;
use modelfleet_protocol::time::Time;
use modelfleet_telling::answer::Answer;
use modelfleet_telling::sink_queue::WAITING_MAX;
use modelfleet_telling::transition::since;
use modelfleet_telling::{Cursor, Next, Occurrence, Sent, SinkId, SinkQueue, Subject};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::metrics::telling::{SinkLabels, TellingMetrics};
use crate::work::Work;
use post::Poster;
use settings::of_spec;
pub use settings::{Place, Sink, TellingError};

/// Most sinks of one rollout: those of the controller and its own.
pub const SINKS_MAX: usize = 8;
/// Most sinks that are told at the same time. What is not told to others stays in statuses.
const TASKS_MAX: usize = 256;
/// Progress is stored after this time, so that several deliveries share a write.
const NOTE_AFTER: Duration = Duration::from_secs(1);
/// A sink for which nothing has come for so long has no task any more.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// Tells sinks; cheap to clone. The default tells nothing.
#[derive(Clone, Default)]
pub struct Telling {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    /// The controller's own.
    sinks: Vec<Arc<Sink>>,
    poster: Poster,
    work: Work,
    clock: Clock,
    metrics: TellingMetrics,
    stop: CancellationToken,
    tasks: Mutex<BTreeMap<SinkId, Arc<SinkTask>>>,
    /// By uid of the rollout.
    told: Mutex<BTreeMap<String, BTreeMap<SinkId, Told>>>,
}

/// How far this process has told a sink of a rollout.
#[derive(Default)]
struct Told {
    /// What was put into the queue.
    offered: Cursor,
    /// What the sink has taken, if anything.
    delivered: Option<Cursor>,
}

/// One sink with what waits for it.
struct SinkTask {
    sink: Arc<Sink>,
    queue: Mutex<SinkQueue<Arc<Delivery>>>,
    changed: Notify,
}

/// One occurrence on its way to one sink.
#[derive(Debug)]
struct Delivery {
    key: Key,
    occurrence: Occurrence,
    /// Up to where the sink is told once it has taken it.
    told: Cursor,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Telling {
    /// Tells the controller's sinks until `stop`.
    ///
    /// # Errors
    /// When no client for HTTP can be made.
    pub fn new(
        sinks: Vec<Sink>,
        allow_link_local: bool,
        client: kube::Client,
        work: Work,
        clock: Clock,
        metrics: &Metrics,
        stop: CancellationToken,
    ) -> Result<Telling, TellingError> {
        let poster = Poster::new(client, allow_link_local)?;
        let sinks = sinks.into_iter().map(Arc::new).collect();
        let (tasks, told) = (Mutex::default(), Mutex::default());
        let metrics = metrics.telling.clone();
        let inner = Inner { sinks, poster, work, clock, metrics, stop, tasks, told };
        Ok(Telling { inner: Some(Arc::new(inner)) })
    }

    /// Up to where each sink of a rollout is told, for its next status. A sink that is new begins after what the status said
    /// before, so that an old story is not told to it.
    #[must_use]
    pub fn progress(&self, rollout: &Rollout) -> Vec<TellingProgress> {
        let Some(inner) = &self.inner else { return Vec::new() };
        let (uid, status) = (rollout.uid().unwrap_or_default(), rollout.status.as_ref());
        let told = locked(&inner.told);
        let told = told.get(&uid);
        let field = |sink: Arc<Sink>| {
            let delivered = told.and_then(|told| told.get(&sink.id)?.delivered.clone());
            let stored = status.and_then(|status| stored(status, &sink.id));
            let Cursor { last, phase } = delivered.or(stored).unwrap_or_else(|| Cursor::after(&uid, status));
            TellingProgress { sink: sink.id.as_str().to_owned(), last, phase }
        };
        inner.sinks_of(rollout).into_iter().map(field).collect()
    }

    /// Puts what a stored status has, and its sinks were not told, into their queues. Never waits.
    pub fn offer(&self, rollout: &Rollout) {
        let Some(inner) = &self.inner else { return };
        let (Some(status), Some(key)) = (&rollout.status, key_of(rollout.namespace(), &rollout.spec.model))
        else {
            return;
        };
        let uid = rollout.uid().unwrap_or_default();
        let mut told = locked(&inner.told);
        for sink in inner.sinks_of(rollout) {
            if !inner.has_room(&sink.id) {
                continue;
            }
            // Where a sink begins is decided by the status that is stored with it.
            let Some(begins) = stored(status, &sink.id) else { continue };
            let told = told.entry(uid.clone()).or_default();
            let told =
                told.entry(sink.id.clone()).or_insert_with(|| Told { offered: begins, delivered: None });
            for transition in since(&uid, &told.offered, status) {
                told.offered = transition.told.clone();
                let occurrence = transition.occurrence(subject(rollout, &uid));
                let delivery = Delivery { key: key.clone(), occurrence, told: transition.told };
                inner.enqueue(&sink, Arc::new(delivery));
            }
        }
    }

    /// The sinks of a rollout that take nothing, as people may see them.
    #[must_use]
    pub fn troubles(&self, rollout: &Rollout) -> Vec<(String, SinkTrouble)> {
        let Some(inner) = &self.inner else { return Vec::new() };
        let tasks = locked(&inner.tasks);
        let trouble = |sink: Arc<Sink>| {
            let queue = locked(&tasks.get(&sink.id)?.queue);
            let trouble = match () {
                () if queue.is_stopped() => SinkTrouble::Gone,
                () if queue.waiting() >= WAITING_MAX => SinkTrouble::Full,
                () if queue.is_open() => SinkTrouble::Dead,
                () => return None,
            };
            Some((sink.shown.clone(), trouble))
        };
        inner.sinks_of(rollout).into_iter().filter_map(trouble).collect()
    }

    /// Forgets a rollout that is gone. What waits of it is still sent.
    pub fn forget(&self, uid: &str) {
        if let Some(inner) = &self.inner {
            locked(&inner.told).remove(uid);
        }
    }
}

fn stored(status: &modelfleet_crds::RolloutStatus, sink: &SinkId) -> Option<Cursor> {
    status.telling.iter().find(|field| field.sink == sink.as_str()).map(Cursor::from)
}

fn subject(rollout: &Rollout, uid: &str) -> Subject {
    Subject {
        namespace: rollout.namespace().unwrap_or_default(),
        rollout: rollout.name_any(),
        uid: uid.to_owned(),
        model: rollout.spec.model.clone(),
        version: rollout.spec.version.clone(),
    }
}

impl Inner {
    /// Where a rollout is told.
    fn sinks_of(&self, rollout: &Rollout) -> Vec<Arc<Sink>> {
        let mut sinks = self.sinks.clone();
        for sink in of_spec(rollout) {
            // The status has one entry for each.
            if sinks.len() < SINKS_MAX && sinks.iter().all(|other| other.id != sink.id) {
                sinks.push(Arc::new(sink));
            }
        }
        sinks
    }

    fn has_room(&self, sink: &SinkId) -> bool {
        let tasks = locked(&self.tasks);
        tasks.len() < TASKS_MAX || tasks.contains_key(sink)
    }

    fn enqueue(self: &Arc<Inner>, sink: &Arc<Sink>, delivery: Arc<Delivery>) {
        let mut tasks = locked(&self.tasks);
        let task = tasks.entry(sink.id.clone()).or_insert_with(|| {
            let task = SinkTask { sink: Arc::clone(sink), queue: Mutex::default(), changed: Notify::new() };
            let task = Arc::new(task);
            tokio::spawn(Arc::clone(self).run(Arc::clone(&task)));
            task
        });
        let labels = task.sink.labels();
        let mut queue = locked(&task.queue);
        if let Some(dropped) = queue.offer(delivery) {
            self.metrics.dropped(&labels, 1);
            let id = &dropped.occurrence.id;
            tracing::warn!(
                sink = task.sink.shown,
                id,
                "an event gave way, because too many wait for this sink"
            );
        }
        self.metrics.waiting(task.sink.id.as_str(), &labels, queue.waiting());
        drop(queue);
        task.changed.notify_one();
    }

    fn steady(&self) -> Time {
        Time(u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Sends what waits for one sink, until `stop` or until nothing has come for long.
    async fn run(self: Arc<Inner>, task: Arc<SinkTask>) {
        loop {
            let changed = task.changed.notified();
            let next = locked(&task.queue).next(self.steady());
            let wait = match next {
                Next::Send(delivery) => {
                    let answer = tokio::select! {
                        () = self.stop.cancelled() => return,
                        answer = self.poster.post(&task.sink, &delivery.occurrence, self.clock.now()) => answer,
                    };
                    self.note(&task, &delivery, answer);
                    continue;
                }
                Next::Wait(until) => Duration::from_millis(until.since_ms(self.steady())),
                Next::Idle => IDLE_MAX,
                Next::Stopped => return,
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = changed => {}
                () = tokio::time::sleep(wait) => if self.ends(&task) { return },
            }
        }
    }

    /// Whether the task of a sink that has nothing to do ends. One that was dead is kept, with what is known of it.
    fn ends(&self, task: &SinkTask) -> bool {
        let mut tasks = locked(&self.tasks);
        let idle = locked(&task.queue).waiting() == 0;
        if idle {
            tasks.remove(&task.sink.id);
        }
        idle
    }

    /// Notes what came of a delivery.
    fn note(&self, task: &SinkTask, delivery: &Arc<Delivery>, answer: Answer) {
        let (sink, labels) = (&task.sink, task.sink.labels());
        let occurrence = &delivery.occurrence;
        let mut queue = locked(&task.queue);
        let was_open = queue.is_open();
        let sent = queue.done(answer, self.steady(), rand::random());
        self.metrics.waiting(sink.id.as_str(), &labels, queue.waiting());
        self.metrics.open(sink.id.as_str(), &labels, queue.is_open() || queue.is_stopped());
        if was_open != queue.is_open() || queue.is_stopped() {
            // The condition follows.
            self.work.at(delivery.key.clone(), self.clock.steady() + NOTE_AFTER);
        }
        drop(queue);
        match sent {
            Sent::Delivered(_) => {
                self.metrics.sent(&labels, "delivered");
                let age_ms = self.clock.now().since_ms(occurrence.at);
                self.metrics.age_seconds.observe(Duration::from_millis(age_ms).as_secs_f64());
                self.passed(sink, delivery);
            }
            Sent::Refused(_) => {
                self.metrics.sent(&labels, "refused");
                tracing::warn!(
                    sink = sink.shown,
                    id = occurrence.id,
                    "the sink refuses this event; it is passed over"
                );
                self.passed(sink, delivery);
            }
            Sent::Again => self.metrics.sent(&labels, "failed"),
            Sent::Stopped(dropped) => {
                self.metrics.sent(&labels, "gone");
                self.metrics.dropped(&labels, dropped.len());
                tracing::error!(
                    sink = sink.shown,
                    "the sink says that it is gone (410); no more events are sent to it"
                );
            }
        }
    }

    /// A sink need not be told this again: the next status says so.
    fn passed(&self, sink: &Sink, delivery: &Delivery) {
        let uid = &delivery.occurrence.subject.uid;
        if let Some(told) = locked(&self.told).get_mut(uid).and_then(|told| told.get_mut(&sink.id)) {
            told.delivered = Some(delivery.told.clone());
            self.work.at(delivery.key.clone(), self.clock.steady() + NOTE_AFTER);
        }
    }
}

impl Sink {
    fn labels(&self) -> SinkLabels {
        SinkLabels { namespace: self.namespace.clone(), sink: self.shown.clone() }
    }
}
