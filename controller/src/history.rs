//! Closed windows on their way out: to history, and to a store of time series.
//!
//! One task looks at the fleets and hands on what has changed. Each sink has a task and a bounded queue of its own, so that a
//! dead one delays neither the other nor any rollout.

pub mod remote_write;
pub mod store;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use modelfleet_fleet::Key;
use modelfleet_fleet::closed_windows::HandedOn;
use modelfleet_history::backlog::Backlog;
use modelfleet_history::outgoing::Outgoing;
use modelfleet_history::row::{self, RAW, Row, Value};
use modelfleet_judge::Arm;
use modelfleet_model::closed::{NamedWindow, closed_windows};
use modelfleet_protocol::ids::ModelName;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, compute};
use crate::observe::objects;
use remote_write::RemoteWrite;
use store::HistoryStore;

/// The longest between two looks at the fleets.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Where closed windows go, and when.
pub struct Sinks {
    /// History.
    pub history: Option<HistoryStore>,
    /// A store of time series.
    pub remote_write: Option<RemoteWrite>,
    /// How often history is written.
    pub interval: Duration,
    /// How long after its end a window counts as closed.
    pub lateness: Duration,
}

/// What waits for each sink.
#[derive(Default)]
struct Queues {
    backlog: Mutex<Backlog>,
    outgoing: Mutex<Outgoing>,
    news: Notify,
}

impl Queues {
    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rows wait for history, and how many were dropped.
    fn of_history(&self) -> (usize, u64) {
        let backlog = self.backlog();
        (backlog.len(), backlog.dropped())
    }

    /// The same for remote write.
    fn of_remote_write(&self) -> (usize, u64) {
        let outgoing = self.outgoing();
        (outgoing.len(), outgoing.dropped())
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands closed windows on until `stop`, and then what is still there once more.
pub async fn run(ctx: Arc<Context>, sinks: Sinks, stop: CancellationToken) {
    if sinks.history.is_none() && sinks.remote_write.is_none() {
        return;
    }
    let queues = Arc::new(Queues::default());
    let Sinks { history, remote_write, interval, lateness } = sinks;
    let look = async {
        let wanted = (history.is_some(), remote_write.is_some());
        look(&ctx, &queues, wanted, (interval.min(LOOK_MAX), lateness), &stop).await;
    };
    let write = async {
        if let Some(history) = &history {
            history.run(&ctx, &queues, interval, &stop).await;
        }
    };
    let send = async {
        if let Some(remote_write) = &remote_write {
            remote_write.run(&ctx, &queues, &stop).await;
        }
    };
    tokio::join!(look, write, send);
}

async fn look(
    ctx: &Context,
    queues: &Queues,
    (history, remote_write): (bool, bool),
    (interval, lateness): (Duration, Duration),
    stop: &CancellationToken,
) {
    let mut handed_on = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let rows = compute(|| changed(ctx, &mut handed_on, lateness));
        if history {
            queues.backlog().offer(rows.iter().cloned());
            ctx.metrics.history.waiting(queues.of_history());
        }
        if remote_write {
            queues.outgoing().offer(rows);
            ctx.metrics.remote_write.waiting(queues.of_remote_write());
            queues.news.notify_one();
        }
    }
}

/// The rows of all models that have changed since the last look.
fn changed(ctx: &Context, handed_on: &mut BTreeMap<Key, HandedOn>, lateness: Duration) -> Vec<Row> {
    let now = ctx.now();
    let lateness_ms = u64::try_from(lateness.as_millis()).unwrap_or(u64::MAX);
    let mut rows = Vec::new();
    let mut seen = BTreeMap::new();
    for (namespace, fleet) in ctx.fleets.all() {
        let copied = {
            let state = fleet.locked();
            // While devices are still heard for the first time, a window has too few of them.
            let settled = ctx.fleets.link_of(&state).settled;
            let models: Vec<ModelName> = state.index.managed().models().cloned().collect();
            settled.then(|| (state.index.fleet(), models))
        };
        let Some((fleet, models)) = copied else { continue };
        for model in models.into_iter().filter(|model| fleet.samples(model).is_some()) {
            let key = (namespace.clone(), model);
            let mut handed = handed_on.remove(&key).unwrap_or_default();
            let windows =
                closed_windows(&objects(ctx, &key), &fleet, &key.1, (now, lateness_ms), &mut handed);
            rows.extend(windows.into_iter().map(|window| row(&key, window, now.0)));
            seen.insert(key, handed);
        }
    }
    *handed_on = seen;
    rows
}

fn row(of: &Key, NamedWindow { version, window }: NamedWindow, now_ms: u64) -> Row {
    let key = row::Key {
        namespace: of.0.to_string(),
        model: of.1.to_string(),
        start_ms: window.start_ms,
        window_ms: window.window_ms,
        resolution: RAW.to_owned(),
        version,
        arm: match window.arm {
            Arm::Canary => "canary",
            Arm::Control => "control",
        }
        .to_owned(),
        stratum: window.stratum,
    };
    let values = window.values.into_iter();
    Row {
        key,
        windows: 1,
        devices: window.devices,
        device_windows: window.devices,
        revision: now_ms,
        counters: window.counters,
        latency: window.latency,
        values: values.map(|(metric, value, samples)| (metric, Value::new(value, samples))).collect(),
    }
}
