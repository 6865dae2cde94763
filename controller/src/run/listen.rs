//! The broker's messages: folded into index and ledger, and what they touch asked to be reconciled.

use std::sync::Arc;
use std::time::Instant;

use modelfleet_protocol::ids::Namespace;
use modelfleet_protocol::topic::{Channel, Topic};
use tokio_util::sync::CancellationToken;

use super::Scope;
use crate::context::{Context, FleetState};
use crate::metrics::label;
use crate::mqtt::{Broker, Feed};
use modelfleet_fleet::ledger::Key;
use modelfleet_fleet::{Change, Link, Source};

/// Feeds the index with what the broker sends. Returns when `stop` is asked for.
pub async fn listen(ctx: Arc<Context>, broker: Broker, scope: Scope, stop: CancellationToken) {
    let leave = stop.clone();
    broker.run(stop, move |feed| receive(&ctx, &scope, feed, &leave)).await;
}

/// Listens to the fleets that there are by now, and to no others.
pub(super) fn hear(ctx: &Context, fleets: &FleetState) {
    ctx.publisher.subscribe_to(fleets.index.managed().fleets().cloned().collect());
}

/// Takes what the broker sends. `leave` is cancelled when a later leader has sent a plan: the process has to end.
pub fn receive(ctx: &Context, scope: &Scope, feed: Feed<'_>, leave: &CancellationToken) {
    match feed {
        Feed::Connected => {
            let mut fleets = ctx.fleets();
            fleets.ledger.reconnect();
            fleets.index.reconnect();
            fleets.link = Link { connected: true, settled: false, since: ctx.now() };
            drop(fleets);
            ctx.metrics.link(true, false);
            ctx.metrics.broker_accepts(Instant::now());
            tracing::info!("broker connected");
        }
        Feed::Moves => ctx.metrics.broker_moves(),
        Feed::Lost(reason) => {
            let was = std::mem::take(&mut ctx.fleets().link);
            ctx.metrics.link(false, false);
            if !was.connected {
                // Nobody is there: that is no client that hangs.
                ctx.metrics.broker_moves();
            }
            tracing::warn!(reason, "broker connection lost");
            if was.connected {
                everything(ctx, None);
            }
        }
        Feed::PlansHeard => plans_heard(ctx),
        Feed::Heard { fleets, all } => heard(ctx, fleets, all),
        Feed::Denied { filters } => {
            ctx.metrics.subscriptions_denied.inc_by(filters.len() as u64);
            tracing::error!(
                ?filters,
                "the broker refuses subscriptions, so the rollouts of these fleets wait; allow the controller's user to \
                 read these topics"
            );
        }
        Feed::Message { topic, payload, retained } => message(ctx, scope, topic, payload, retained, leave),
    }
}

/// A plan that we knew and that the broker has not sent is there no more.
fn plans_heard(ctx: &Context) {
    let mut guard = ctx.fleets();
    let fleets = &mut *guard;
    let lost: Vec<Key> =
        fleets.index.managed().planned().filter(|key| fleets.ledger.newest(key).is_none()).collect();
    let mut moved = false;
    for key in &lost {
        moved |= fleets.index.forget(key, &Source::Plan);
    }
    if moved {
        hear(ctx, fleets);
    }
}

fn heard(ctx: &Context, complete: &[Namespace], all: bool) {
    let mut fleets = ctx.fleets();
    for namespace in complete {
        fleets.index.complete(namespace, ctx.now());
    }
    let first = all && !fleets.link.settled;
    fleets.link.settled |= all;
    let (settled, devices) = (fleets.link.settled, fleets.index.devices());
    drop(fleets);
    ctx.metrics.link(true, settled);
    ctx.metrics.devices(devices);
    if first {
        tracing::info!(devices, "all retained messages have arrived");
    }
    complete.iter().for_each(|namespace| everything(ctx, Some(namespace)));
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
    let mut fleets = ctx.fleets();
    let (malformed, devices) = (fleets.index.malformed.total(), fleets.index.devices());
    let change = fleets.index.fold(topic, payload, retained, ctx.now());
    if fleets.index.malformed.total() > malformed {
        ctx.metrics.malformed.inc();
    }
    if fleets.index.devices() != devices {
        ctx.metrics.devices(fleets.index.devices());
    }
    evidence(ctx, &fleets, change);
}

fn plan_arrived(ctx: &Context, key: &Key, payload: &[u8], leave: &CancellationToken) {
    let mut fleets = ctx.fleets();
    let epoch = fleets.ledger.take(key, payload);
    if let Some(epoch) = epoch.filter(|epoch| *epoch > ctx.epoch) {
        // Another leader; or the Lease was deleted and its count began anew. Devices would not obey us either way.
        ctx.seen_epoch.fetch_max(epoch, std::sync::atomic::Ordering::Relaxed);
        tracing::error!(
            epoch,
            ours = ctx.epoch,
            "the broker has a plan of a later leader, so this process ends"
        );
        leave.cancel();
        return;
    }
    let moved = match epoch {
        Some(_) => fleets.index.note(key, Source::Plan),
        None if payload.is_empty() => fleets.index.forget(key, &Source::Plan),
        None => false,
    };
    if moved {
        hear(ctx, &fleets);
    }
    if fleets.index.managed().has(&key.0, &key.1) {
        ctx.work.now(key.clone());
    } else {
        // Not ours, and about a model that nobody has named to us: another's, or nothing.
        fleets.ledger.note_cleared(key);
    }
}

/// CheckQueue for what a change touches: models that are rolled out. Before all of a fleet has arrived nothing is decided
/// about it, and then everything is.
fn evidence(ctx: &Context, fleets: &FleetState, change: Change) {
    let (namespace, model) = match change {
        Change::Nothing => return,
        Change::Model(namespace, model) => (namespace, Some(model)),
        Change::Device(namespace) => (namespace, None),
    };
    if !fleets.link_of(&namespace).settled {
        return;
    }
    let rolling = fleets.index.managed().rolling(&namespace);
    let touched = |key: &&Key| model.as_ref().is_none_or(|model| key.1 == *model);
    rolling.iter().filter(touched).for_each(|key| ctx.work.evidence(key));
}

/// Every model that somebody names, of one fleet or of all.
fn everything(ctx: &Context, of: Option<&Namespace>) {
    let keys: Vec<Key> = ctx.fleets().index.managed().keys(of).collect();
    keys.into_iter().for_each(|key| ctx.work.now(key));
}
