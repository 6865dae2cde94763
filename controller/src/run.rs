//! The wiring: watches, the broker's messages, and the workers that reconcile.

mod listen;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::error::Error;
use crate::metrics::label;
use crate::reconcile::{Done, reconcile};
use crate::retry::retry_after;
use crate::work::Job;
use modelfleet_fleet::Key;
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::time::Time;

pub(crate) use listen::everything;
pub use listen::{listen, receive};
pub use watch::{hand_on, rollout_changed, version_changed, watch};

/// Models that are reconciled at the same time.
const WORKERS: usize = 4;
/// A model is looked at at least this often, milliseconds.
const LOOK_AGAIN_MS: u64 = 3_600_000;

/// Whose objects are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every namespace.
    All,
    /// These.
    Namespaces(Vec<String>),
}

impl Scope {
    /// Whether a namespace is ours.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Namespaces(names) => names.iter().any(|name| name == namespace),
        }
    }
}

/// A task without which the process is no use: however it ends, by a panic too, `stop` is asked for at once.
pub async fn vital<T>(stop: CancellationToken, task: impl Future<Output = T>) -> T {
    let _end = stop.drop_guard();
    task.await
}

/// Reconciles until `stop`; the keys that run by then are finished.
pub async fn work(ctx: Arc<Context>, stop: CancellationToken) {
    let mut workers = JoinSet::new();
    for worker in 0..=WORKERS {
        let (ctx, stop) = (Arc::clone(&ctx), stop.clone());
        workers.spawn(async move {
            loop {
                // One is kept free for what does not wait.
                let next = async {
                    if worker < WORKERS { ctx.work.next().await } else { ctx.work.next_urgent().await }
                };
                let job = tokio::select! {
                    () = stop.cancelled() => return,
                    job = next => job,
                };
                one(&ctx, job).await;
            }
        });
    }
    while workers.join_next().await.is_some() {}
}

async fn one(ctx: &Arc<Context>, job: Job) {
    let started = Instant::now();
    let Job { key, evidence_since } = job;
    // In a task of its own: a defect that panics ends this reconcile and not the controller.
    let (shared, of) = (Arc::clone(ctx), key.clone());
    let result = tokio::spawn(async move { reconcile(&shared, &of).await }).await;
    let cost = started.elapsed();
    ctx.metrics.reconcile_seconds.observe(cost.as_secs_f64());
    match result {
        Ok(result) => note(ctx, &key, evidence_since, result, rand::random()),
        Err(panicked) => {
            ctx.metrics.reconcile_errors.get_or_create(&label("variant", "Panic")).inc();
            tracing::error!(model = key.1.as_str(), error = %panicked, "reconcile panicked");
            ctx.work.at(key.clone(), ctx.clock.steady() + Duration::from_secs(30));
        }
    }
    ctx.work.done(&key, cost);
}

/// Notes what a reconcile has come to, and asks for the next one. `evidence_since`: when the first evidence came that it
/// ran for. `chance`, from 0 to 1, spreads the waits after failures.
pub fn note(
    ctx: &Context,
    key: &Key,
    evidence_since: Option<Instant>,
    result: Result<Done, Error>,
    chance: f64,
) {
    let now = ctx.clock.steady();
    match result {
        Ok(done) if done.interrupted => ctx.work.note_interrupted(key, evidence_since),
        Ok(done) => {
            ctx.work.note_success(key);
            if let (true, Some(since)) = (done.sent, evidence_since) {
                let seconds = now.saturating_duration_since(since).as_secs_f64();
                ctx.metrics.evidence_to_plan_seconds.observe(seconds);
            }
            if let Some(wake) = done.wake {
                ctx.work.at(key.clone(), now + wait(wake, ctx.now()));
            }
            if done.empty {
                ctx.work.forget(key);
            }
        }
        Err(error) => {
            let wait = retry_after(&error, ctx.work.note_failure(key), chance);
            ctx.metrics.reconcile_errors.get_or_create(&label("variant", error.variant())).inc();
            let (namespace, model) = (key.0.as_str(), key.1.as_str());
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                namespace,
                model,
                error = with_causes(&error),
                wait_ms,
                "reconcile failed; it is repeated"
            );
            ctx.work.at(key.clone(), now + wait);
        }
    }
}

/// How long until a model is looked at again that wants to be at `wake`: an hour at most, because the wall clock may be set
/// right meanwhile, and a plan that it has outdated must not stay at the broker.
fn wait(wake: Time, now: Time) -> Duration {
    Duration::from_millis(wake.since_ms(now).clamp(1, LOOK_AGAIN_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_looked_at_every_hour_however_late_it_wants_to_be() {
        let waits = |wake_ms| wait(Time(wake_ms), Time(1_000)).as_millis();
        assert_eq!((waits(500), waits(1_000), waits(61_000)), (1, 1, 60_000));
        assert_eq!(waits(400 * 86_400_000), u128::from(LOOK_AGAIN_MS));
    }

    #[tokio::test]
    async fn a_vital_task_that_panics_stops_the_others_at_once() {
        let stop = CancellationToken::new();
        let task = tokio::spawn(vital(stop.clone(), async { panic!("a defect") }));
        tokio::time::timeout(Duration::from_secs(5), stop.cancelled()).await.unwrap();
        assert!(task.await.unwrap_err().is_panic());
    }
}
