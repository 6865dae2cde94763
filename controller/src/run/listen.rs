//! The broker's messages: folded into index and ledger, and what they touch asked to be reconciled.

use std::sync::Arc;
use std::time::Instant;

use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::ids::{ModelName, Namespace};
use modelfleet_protocol::topic::{Channel, Topic};
use tokio_util::sync::CancellationToken;

use super::Scope;
use crate::context::Context;
use crate::fleets::FleetState;
use crate::metrics::UNKNOWN_CHANNEL;
use crate::mqtt::{Broker, Feed};
use crate::{traces, trust};
use modelfleet_fleet::ledger::Key;
use modelfleet_fleet::{Change, Link, Source};
use modelfleet_model::epoch::later_epoch;

/// So far ahead no clock of a leader is, seconds.
const YEAR_S: u64 = 366 * 24 * 3_600;

/// Feeds the index with what the broker sends. Returns when `stop` is asked for.
pub async fn listen(ctx: Arc<Context>, broker: Broker, scope: Scope, stop: CancellationToken) {
    let leave = stop.clone();
    broker.run(stop, move |feed| receive(&ctx, &scope, feed, &leave)).await;
}

/// Takes what the broker sends. `leave` is cancelled when a later leader has sent a plan: the process has to end.
pub fn receive(ctx: &Context, scope: &Scope, feed: Feed<'_>, leave: &CancellationToken) {
    match feed {
        Feed::Connected => {
            for (_, fleet) in ctx.fleets.all() {
                let mut fleet = fleet.locked();
                fleet.ledger.reconnect();
                fleet.index.reconnect();
                fleet.trust_topic.reconnect();
            }
            // After the fleets: none of them counts as complete by what was heard before.
            ctx.fleets.set_link(|_| Link { connected: true, settled: false, since: ctx.now() });
            ctx.metrics.link(true, false);
            ctx.metrics.broker_accepts(Instant::now());
            tracing::info!("broker connected");
        }
        Feed::Moves => ctx.metrics.broker_moves(),
        Feed::Lost(reason) => {
            let was = ctx.fleets.set_link(|_| Link::default());
            ctx.metrics.link(false, false);
            if !was.connected {
                // No client is there: that is none that hangs.
                ctx.metrics.broker_moves();
            }
            tracing::warn!(reason, "broker connection lost");
            if was.connected {
                everything(ctx, None);
            }
        }
        Feed::PlansHeard => plans_heard(ctx),
        Feed::Heard { fleets, all } => heard(ctx, fleets, all),
        Feed::Unheard(namespace) => unheard(ctx, namespace),
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
    for (namespace, fleet) in ctx.fleets.all() {
        let mut fleet = fleet.locked();
        let FleetState { index, ledger, .. } = &mut *fleet;
        let held = |model: &ModelName| ledger.newest(&(namespace.clone(), model.clone())).is_some();
        let lost: Vec<ModelName> = index.managed().planned().filter(|model| !held(model)).cloned().collect();
        let moved = lost.iter().any(|model| index.forget(model, &Source::Plan));
        if moved {
            ctx.fleets.moved(ctx.publisher.as_ref(), &namespace, &fleet);
        }
    }
}

fn heard(ctx: &Context, complete: &[Namespace], all: bool) {
    for fleet in complete.iter().filter_map(|namespace| ctx.fleets.get(namespace)) {
        fleet.locked().index.complete(ctx.now());
    }
    let before = ctx.fleets.set_link(|link| Link { settled: link.settled || all, ..link });
    let (settled, devices) = (before.settled || all, ctx.fleets.devices());
    ctx.metrics.link(true, settled);
    ctx.metrics.devices(devices);
    if all && !before.settled {
        tracing::info!(devices, "all retained messages have arrived");
    }
    complete.iter().for_each(|namespace| everything(ctx, Some(namespace)));
}

/// Nothing is decided about a fleet of which the broker is still sending what was retained.
fn unheard(ctx: &Context, namespace: &Namespace) {
    let Some(fleet) = ctx.fleets.get(namespace) else { return };
    fleet.locked().index.unsettle();
    ctx.fleets.set_link(|link| Link { settled: false, ..link });
    ctx.metrics.link(true, false);
    ctx.metrics.late_retained.inc();
    tracing::warn!(
        %namespace,
        "the broker sent a retained message of this fleet after all seemed to be there, so its rollouts wait until it has sent \
         no more for a while; try the broker with `modelfleet-controller check-broker`"
    );
    everything(ctx, Some(namespace));
}

fn message(
    ctx: &Context,
    scope: &Scope,
    topic: &str,
    payload: &[u8],
    retained: bool,
    leave: &CancellationToken,
) {
    let parsed = Topic::parse(topic);
    let channel = parsed.as_ref().map_or(UNKNOWN_CHANNEL, |topic| topic.channel.name());
    ctx.metrics.message(channel);
    let Topic { namespace, channel } = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return malformed(ctx, topic, &with_causes(&error)),
    };
    if !scope.covers(namespace.as_str()) {
        return;
    }
    if let Channel::Plan(model) = channel {
        return plan_arrived(ctx, &(namespace, model), payload, leave);
    }
    if let Channel::HeldPlan(_, model) = channel {
        return held_plan_arrived(ctx, &(namespace, model), payload);
    }
    if channel == Channel::Trust {
        return trust_arrived(ctx, &namespace, topic, payload, leave);
    }
    let Some(fleet) = ctx.fleets.get(&namespace) else { return };
    let mut fleet = fleet.locked();
    if let Channel::Override(device) = &channel {
        let named = ctx.fleets.plan_keys_of(&namespace);
        fleet.index.single_mut().take((ctx.fleets.own(), &named), &namespace, device, payload);
    }
    let devices = fleet.index.len();
    let folded = fleet.index.fold(&channel, payload, retained, ctx.now());
    if fleet.index.len() != devices {
        ctx.metrics.devices(ctx.fleets.devices());
    }
    evidence(ctx, &namespace, &fleet, &folded.change);
    ctx.orders.ask(&namespace, fleet.index.single_mut().take_touched());
    drop(fleet);
    if let (Channel::State(device), true) = (&channel, folded.change != Change::Nothing) {
        traces::attempt::device_said(ctx, &namespace, device, payload, devices);
    }
    if let (Channel::State(device), true) = (&channel, folded.change != Change::Nothing) {
        ctx.orders.ask_if_named(&namespace, device);
    }
    if let (Some(arrived), Channel::Report(_, model)) = (&folded.arrived, &channel) {
        ctx.metrics.models.arrived(&(namespace, model.clone()), arrived);
    }
    if let Some(problem) = &folded.problem {
        malformed(ctx, topic, problem);
    }
}

fn malformed(ctx: &Context, topic: &str, problem: &str) {
    ctx.fleets.note_malformed(topic, problem);
    ctx.metrics.malformed.inc();
}

/// Where keys can be replaced, an epoch that no leader can have moves no epoch of ours: our next one would be as useless once the
/// stolen key is revoked.
fn bound_epochs(ctx: &Context, namespace: &Namespace, fleet: &mut FleetState) {
    let latest = ctx.epoch.max(ctx.now().0 / 1_000).saturating_add(YEAR_S);
    fleet.ledger.bound_epochs(latest, ctx.fleets.trust_of(namespace).is_some());
}

fn plan_arrived(ctx: &Context, key: &Key, payload: &[u8], leave: &CancellationToken) {
    // A plan of another key makes no fleet known.
    let known = ctx.fleets.get(&key.0);
    let ours = || ctx.fleets.is_ours(key, payload).then(|| ctx.fleets.named(&key.0));
    let Some(fleet) = known.or_else(ours) else { return };
    let mut fleet = fleet.locked();
    bound_epochs(ctx, &key.0, &mut fleet);
    let epoch = fleet.ledger.take(key, payload);
    let met = epoch.and_then(|epoch| i64::try_from(epoch).ok());
    if let Some(epoch) = later_epoch([met].into_iter(), ctx.epoch) {
        // Another leader; or our clock is behind and the Lease is a new one. Devices would not obey us either way.
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
        Some(_) => fleet.index.note(&key.1, Source::Plan),
        None if payload.is_empty() => fleet.index.forget(&key.1, &Source::Plan),
        None => false,
    };
    if moved {
        ctx.fleets.moved(ctx.publisher.as_ref(), &key.0, &fleet);
    }
    if fleet.index.managed().has(&key.1) {
        ctx.work.now(key.clone());
    } else {
        // Not ours, and about a model that we do not manage: another's, or nothing.
        fleet.ledger.note_cleared(key);
    }
}

/// The trust document that the broker holds for a fleet. A newer one counts at once; one that is older, forged or gone is replaced
/// by ours.
fn trust_arrived(
    ctx: &Context,
    namespace: &Namespace,
    topic: &str,
    payload: &[u8],
    leave: &CancellationToken,
) {
    if ctx.fleets.trust_of(namespace).is_none() {
        return;
    }
    let before = ctx.fleets.trust_file_of(namespace);
    if !payload.is_empty()
        && let Some(problem) = trust::took(ctx, payload, "the broker", leave)
    {
        malformed(ctx, topic, &problem);
    }
    let changed = match ctx.fleets.get(namespace) {
        Some(fleet) => fleet.locked().trust_topic.heard(payload),
        None => false,
    };
    if ctx.fleets.trust_file_of(namespace) != before {
        everything(ctx, None);
    } else if changed {
        everything(ctx, Some(namespace));
    }
}

/// A device has sent the plan that it holds, because the broker has none. Our own signature counts, not which device sends it.
fn held_plan_arrived(ctx: &Context, key: &Key, payload: &[u8]) {
    let Some(fleet) = ctx.fleets.get(&key.0) else { return };
    let mut fleet = fleet.locked();
    bound_epochs(ctx, &key.0, &mut fleet);
    let is_new = fleet.index.managed().has(&key.1) && fleet.ledger.recall(key, payload);
    drop(fleet);
    if is_new {
        tracing::info!(
            namespace = key.0.as_str(),
            model = key.1.as_str(),
            "a device has sent the plan that it holds"
        );
        ctx.work.now(key.clone());
    }
}

/// Asks for what a change touches: models that are rolled out. Before all of a fleet has arrived nothing is decided about
/// it, and then everything is. What a device failed at is looked at without delay: it may have to be stopped everywhere.
fn evidence(ctx: &Context, namespace: &Namespace, fleet: &FleetState, change: &Change) {
    let model = match change {
        Change::Nothing => return,
        Change::Model(model) => Some(model),
        Change::Device | Change::Failure(_) => None,
    };
    if !ctx.fleets.link_of(fleet).settled {
        return;
    }
    for rolling in fleet.index.managed().rolling().iter() {
        let key = || (namespace.clone(), rolling.clone());
        match change {
            Change::Failure(models) if models.contains(rolling) => ctx.work.failure(&key()),
            _ if model.is_none_or(|model| model == rolling) => ctx.work.evidence(&key()),
            _ => {}
        }
    }
}

/// Asks for every managed model, of one fleet or of all.
pub(crate) fn everything(ctx: &Context, of: Option<&Namespace>) {
    let fleets = match of {
        Some(namespace) => {
            ctx.fleets.get(namespace).map(|fleet| (namespace.clone(), fleet)).into_iter().collect()
        }
        None => ctx.fleets.all(),
    };
    for (namespace, fleet) in fleets {
        let (models, devices) = {
            let index = &fleet.locked().index;
            let models: Vec<ModelName> = index.managed().models().cloned().collect();
            (models, index.single().with_overrides())
        };
        ctx.orders.ask_all(&namespace, None);
        ctx.orders.ask(&namespace, devices);
        models.into_iter().for_each(|model| ctx.work.now((namespace.clone(), model)));
    }
}
