//! The wiring: watches, the broker's messages, and the workers that reconcile.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::topic::{Channel, Topic};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::apply::rollout_labels;
use crate::context::{Context, now};
use crate::error::chain;
use crate::index::Change;
use crate::ledger::Key;
use crate::metrics::label;
use crate::mqtt::{Broker, Feed};
use crate::observe::key_of;
use crate::reconcile::reconcile;
use crate::registry;
use crate::retry::retry_after;
use crate::work::Job;

/// Models that are reconciled at the same time.
const WORKERS: usize = 4;

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

/// Watches a kind, keeps its cache, and hands each changed object on.
pub async fn watch<K>(
    client: Client,
    scope: Scope,
    writer: Writer<K>,
    changed: impl Fn(&K, bool) + Send + Sync,
) where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let api: Api<K> = match &scope {
        Scope::Namespaces(names) if names.len() == 1 => Api::namespaced(client, &names[0]),
        Scope::Namespaces(_) | Scope::All => Api::all(client),
    };
    let events = watcher(api, watcher::Config::default()).default_backoff().try_filter(move |event| {
        let object = match event {
            watcher::Event::Apply(object)
            | watcher::Event::Delete(object)
            | watcher::Event::InitApply(object) => Some(object),
            watcher::Event::Init | watcher::Event::InitDone => None,
        };
        let ours = object.is_none_or(|o| scope.covers(&o.namespace().unwrap_or_default()));
        futures::future::ready(ours)
    });
    let mut events = std::pin::pin!(reflector(writer, events));
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => changed(&object, false),
            Ok(watcher::Event::Delete(object)) => changed(&object, true),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => {}
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), error = chain(&error), "watch broke; tries again")
            }
        }
    }
}

/// A rollout changed or is gone.
pub fn rollout_changed(ctx: &Context, rollout: &Rollout, gone: bool) {
    if gone {
        ctx.written().forget(&rollout.uid().unwrap_or_default());
        if let (Some(marks), Some(namespace)) = (&mut ctx.field().marks, rollout.namespace()) {
            marks.remove(&(namespace, rollout.name_any()));
        }
        ctx.metrics.forget(&rollout_labels(rollout), &rollout.spec.model, &rollout.spec.version);
    }
    if let Some(key) = key_of(rollout.namespace(), &rollout.spec.model) {
        ctx.work.now(key);
    }
}

/// A model version changed or is gone.
pub fn version_changed(
    ctx: &Context,
    checks: &mpsc::UnboundedSender<registry::Name>,
    version: &ModelVersion,
    gone: bool,
) {
    if gone {
        ctx.written().forget(&version.uid().unwrap_or_default());
    } else if let Some(name) = registry::wants_check(version) {
        // The other side ends only with the process.
        let _ = checks.send(name);
    }
    if let Some(key) = key_of(version.namespace(), &version.spec.model) {
        ctx.work.now(key);
    }
}

/// Feeds the index with what the broker sends. Returns when `stop` is asked for.
pub async fn listen(ctx: Arc<Context>, broker: Broker, scope: Scope, stop: CancellationToken) {
    let leave = stop.clone();
    broker.run(stop, move |feed| take(&ctx, &scope, feed, &leave)).await;
}

fn take(ctx: &Context, scope: &Scope, feed: Feed<'_>, leave: &CancellationToken) {
    match feed {
        Feed::Connected => {
            let mut field = ctx.field();
            field.ledger.reconnect();
            field.link = crate::context::Link { connected: true, settled: false, since: now() };
            ctx.metrics.broker_connected.set(1);
            tracing::info!("broker connected");
        }
        Feed::Lost(reason) => {
            let mut field = ctx.field();
            let was = std::mem::take(&mut field.link);
            ctx.metrics.broker_connected.set(0);
            drop(field);
            tracing::warn!(reason, "broker is away");
            if was.connected {
                everything(ctx);
            }
        }
        Feed::Settled => {
            let mut field = ctx.field();
            field.link.settled = true;
            let devices = field.index.devices();
            drop(field);
            tracing::info!(devices, "all retained messages have arrived");
            everything(ctx);
        }
        Feed::Message { topic, payload, retained } => message(ctx, scope, topic, payload, retained, leave),
    }
}

fn message(
    ctx: &Context,
    scope: &Scope,
    topic: &str,
    payload: &[u8],
    retained: bool,
    leave: &CancellationToken,
) {
    let parsed = Topic::parse(topic).ok();
    let channel = parsed.as_ref().map_or("unknown", |topic| match topic.channel {
        Channel::Plan(_) => "plan",
        Channel::Presence(_) => "presence",
        Channel::State(_) => "state",
        Channel::Report(..) => "report",
        Channel::Override(_) => "override",
    });
    ctx.metrics.messages.get_or_create(&label("channel", channel)).inc();
    if parsed.as_ref().is_some_and(|topic| !scope.covers(topic.namespace.as_str())) {
        return;
    }
    if let Some(Topic { namespace, channel: Channel::Plan(model) }) = parsed {
        return plan_arrived(ctx, &(namespace, model), payload, leave);
    }
    let mut field = ctx.field();
    let malformed = field.index.malformed.total();
    let change = field.index.fold(topic, payload, retained, now());
    let settled = field.link.settled;
    if field.index.malformed.total() > malformed {
        ctx.metrics.malformed.inc();
    }
    drop(field);
    // Before everything has arrived nothing is decided, and then everything is.
    if settled {
        evidence(ctx, change);
    }
}

fn plan_arrived(ctx: &Context, key: &Key, payload: &[u8], leave: &CancellationToken) {
    let epoch = ctx.field().ledger.take(key, payload);
    if let Some(epoch) = epoch.filter(|epoch| *epoch > ctx.epoch) {
        // Another leader; or the Lease was deleted and its count began anew. Devices would not obey us either way.
        ctx.seen_epoch.fetch_max(epoch, std::sync::atomic::Ordering::Relaxed);
        tracing::error!(epoch, ours = ctx.epoch, "there is a plan of a later leader; this process ends");
        leave.cancel();
        return;
    }
    ctx.work.now(key.clone());
}

fn evidence(ctx: &Context, change: Change) {
    match change {
        Change::Nothing => {}
        Change::Model(namespace, model) => ctx.work.evidence(&(namespace, model)),
        Change::Device(namespace) => {
            for rollout in ctx.rollouts.state() {
                if rollout.namespace().as_deref() == Some(namespace.as_str())
                    && let Some(key) = key_of(rollout.namespace(), &rollout.spec.model)
                {
                    ctx.work.evidence(&key);
                }
            }
        }
    }
}

/// Every model that has an object or a plan.
fn everything(ctx: &Context) {
    let plans: Vec<Key> = ctx.field().ledger.keys().cloned().collect();
    let rollouts = ctx.rollouts.state();
    let versions = ctx.versions.state();
    let keys = rollouts.iter().filter_map(|r| key_of(r.namespace(), &r.spec.model));
    let more = versions.iter().filter_map(|v| key_of(v.namespace(), &v.spec.model));
    keys.chain(more).chain(plans).for_each(|key| ctx.work.now(key));
}

/// Reconciles until `stop`; the keys that run by then are finished.
pub async fn work(ctx: Arc<Context>, stop: CancellationToken) {
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (ctx, stop) = (Arc::clone(&ctx), stop.clone());
        workers.spawn(async move {
            loop {
                let job = tokio::select! {
                    () = stop.cancelled() => return,
                    job = ctx.work.next() => job,
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
        Ok(Ok(done)) => {
            ctx.work.note_success(&key);
            if let (true, Some(since)) = (done.sent, evidence_since) {
                ctx.metrics.evidence_to_plan_seconds.observe(since.elapsed().as_secs_f64());
            }
            if let Some(wake) = done.wake {
                ctx.work.at(key.clone(), Instant::now() + Duration::from_millis(wake.since_ms(now()).max(1)));
            }
            if done.empty {
                ctx.work.forget(&key);
            }
        }
        Ok(Err(error)) => {
            let wait = retry_after(&error, ctx.work.note_failure(&key));
            ctx.metrics.reconcile_errors.get_or_create(&label("variant", error.variant())).inc();
            let (namespace, model) = (key.0.as_str(), key.1.as_str());
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(namespace, model, error = chain(&error), wait_ms, "reconcile is repeated");
            ctx.work.at(key.clone(), Instant::now() + wait);
        }
        Err(panicked) => {
            ctx.metrics.reconcile_errors.get_or_create(&label("variant", "Panic")).inc();
            tracing::error!(model = key.1.as_str(), error = %panicked, "reconcile ended badly");
            ctx.work.at(key.clone(), Instant::now() + Duration::from_secs(30));
        }
    }
    ctx.work.done(&key, cost);
}
