//! Single devices: observed, decided, and what was decided carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use modelfleet_crds::{DeviceOrder, DeviceOrderStatus, ModelVersion};
use modelfleet_fleet::ledger::Due;
use modelfleet_fleet::{Fleet, FleetIndex};
use modelfleet_model::device_order::{
    DeviceDecision, DeviceSnapshot, Wanted, cleared_at, decide_device, order_events, owner,
};
use modelfleet_model::events::Event;
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::envelope::{OVERRIDE_TYPE, seal};
use modelfleet_protocol::ids::{DeviceId, ModelName, Namespace};
use modelfleet_protocol::overrides::{ModelOverride, Override};
use modelfleet_protocol::plan::Order;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::{Channel, Topic};
use serde_json::json;

use super::DeviceKey;
use crate::apply::{MANAGER, announce, subject};
use crate::context::Context;
use crate::error::Error;
use crate::fleets::FleetState;

/// Versions of one namespace, by model and version text.
type Versions = BTreeMap<(String, String), Arc<ModelVersion>>;

/// Looks at these devices. Returns those for which it failed.
pub(super) async fn look(ctx: &Context, devices: Vec<DeviceKey>) -> Vec<DeviceKey> {
    let mut fleets: BTreeMap<Namespace, Vec<DeviceId>> = BTreeMap::new();
    for (namespace, device) in devices {
        fleets.entry(namespace).or_default().push(device);
    }
    let mut again = Vec::new();
    for (namespace, devices) in fleets {
        let fleet = ctx.fleets.named(&namespace);
        let copied = {
            let fleet = fleet.locked();
            // Before all that the broker holds is here, a device that is not known may still come.
            ctx.fleets.link_of(&fleet).settled.then(|| fleet.index.fleet())
        };
        let Some(copied) = copied else { continue };
        let versions = versions(ctx, &namespace);
        for device in devices {
            let key = (namespace.clone(), device);
            if let Err(error) = one(ctx, &key, &copied, &versions).await {
                let (namespace, device) = (key.0.as_str(), key.1.as_str());
                tracing::warn!(
                    namespace,
                    device,
                    error = with_causes(&error),
                    "the order of a device failed; it is repeated"
                );
                again.push(key);
            }
        }
    }
    again
}

fn versions(ctx: &Context, namespace: &Namespace) -> Versions {
    let ours =
        ctx.versions.state_filter(|version| version.namespace().as_deref() == Some(namespace.as_str()));
    let mut written = ctx.written();
    let mut by_name = Versions::new();
    for version in ours.into_iter().map(|version| written.version(version)) {
        let key = (version.spec.model.clone(), version.spec.version.clone());
        let age = |version: &ModelVersion| version.metadata.creation_timestamp.as_ref().map(|at| at.0);
        match by_name.get(&key) {
            // Of two objects with one version the older one counts.
            Some(known) if age(known) <= age(&version) => {}
            _ => drop(by_name.insert(key, version)),
        }
    }
    by_name
}

async fn one(ctx: &Context, key: &DeviceKey, copied: &Fleet, versions: &Versions) -> Result<(), Error> {
    let now = ctx.now();
    let (decision, again) = {
        let fleet = ctx.fleets.named(&key.0);
        let mut fleet = fleet.locked();
        let (decision, cleared_at) = decide(ctx, key, copied, &fleet.index, versions, now);
        let again = carry_out(ctx, key, &mut fleet, (&decision, cleared_at), now)?;
        (decision, again)
    };
    if let Some(at) = again.into_iter().chain(decision.wake_at).min() {
        let wait = Duration::from_millis(at.since_ms(now).max(1));
        ctx.orders.ask_at(key.clone(), ctx.clock.steady() + wait);
    }
    for (object, status) in decision.statuses {
        write_status(ctx, key, &object, status).await?;
    }
    Ok(())
}

fn decide(
    ctx: &Context,
    key: &DeviceKey,
    copied: &Fleet,
    index: &FleetIndex,
    versions: &Versions,
    now: Time,
) -> (DeviceDecision, Option<Time>) {
    let (device, single) = (&key.1, index.single());
    let objects = ctx.orders.of(key);
    let models = copied.device_models(device).filter(|_| single.retired(device).is_none());
    let elsewhere = models.is_none() && !objects.is_empty() && is_elsewhere(ctx, key);
    let version = |model: &str, version: &str| versions.get(&(model.to_owned(), version.to_owned())).cloned();
    let snapshot = DeviceSnapshot {
        device,
        objects: &objects,
        models,
        elsewhere,
        told: single.told(device),
        newest: single.newest(device).map(AsRef::as_ref),
        occupied: single.is_occupied(device),
        retired: single.retired(device),
        version: &version,
    };
    (decide_device(&snapshot, now), owner(&objects).and_then(|owner| cleared_at(owner)))
}

/// Whether a device of this id is known in another namespace. A fleet whose lock is taken is not waited for with the lock of
/// this one held, so the copy that decisions are made by is asked.
fn is_elsewhere(ctx: &Context, key: &DeviceKey) -> bool {
    let others = ctx.fleets.all().into_iter().filter(|(namespace, _)| *namespace != key.0);
    others.into_iter().any(|(_, fleet)| {
        fleet.try_locked().is_some_and(|fleet| fleet.index.fleet().device_models(&key.1).is_some())
    })
}

/// Brings index and broker to what was decided. Returns when to look again.
fn carry_out(
    ctx: &Context,
    key: &DeviceKey,
    fleet: &mut FleetState,
    (decision, cleared_at): (&DeviceDecision, Option<Time>),
    now: Time,
) -> Result<Option<Time>, Error> {
    let device = &key.1;
    if decision.retired {
        if fleet.index.retire(device, cleared_at) {
            ctx.metrics.devices(ctx.fleets.devices());
        }
    } else {
        fleet.index.single_mut().take_back(device);
    }
    if fleet.index.single_mut().direct(device, decision.directed.clone()) {
        // What counts in the rollouts of its models has changed.
        let rolling = fleet.index.managed().rolling();
        rolling.iter().for_each(|model| ctx.work.evidence(&(key.0.clone(), model.clone())));
    }
    match &decision.wanted {
        Wanted::Unchanged => Ok(None),
        Wanted::Send(models) => send(ctx, key, &mut fleet.index, models, now),
        Wanted::Nothing => {
            ctx.publisher.publish_retained(&topic(key, Channel::Override(device.clone())), Vec::new())?;
            fleet.index.single_mut().note_cleared(device);
            tracing::info!(namespace = %key.0, %device, "the override of a device was cleared");
            Ok(None)
        }
        Wanted::Cleared => clear(ctx, key, &mut fleet.index, now).map(|()| None),
    }
}

fn topic(key: &DeviceKey, channel: Channel) -> String {
    Topic { namespace: key.0.clone(), channel }.name()
}

/// Signs and sends an override, where the broker does not hold it.
fn send(
    ctx: &Context,
    key: &DeviceKey,
    index: &mut FleetIndex,
    models: &[ModelOverride],
    now: Time,
) -> Result<Option<Time>, Error> {
    let device = &key.1;
    let topic = topic(key, Channel::Override(device.clone()));
    let single = index.single_mut();
    match single.due(device, models, ctx.epoch, now) {
        Due::Nothing => {
            let order = single.newest(device).map(|held| held.order);
            Ok(order.map(|o| o.issued.after_ms(o.expires.since_ms(o.issued) / 2 + 1)))
        }
        Due::Echo(by) => Ok(Some(by)),
        Due::Again(bytes) => {
            ctx.publisher.publish_retained(&topic, bytes.clone())?;
            if let Some(newest) = single.newest(device).cloned() {
                single.note_sent(device, newest, bytes, now);
            }
            Ok(Some(now.after_ms(5_000)))
        }
        Due::Sign(above) => {
            let expires = now.after_ms(ctx.plan_lifetime_ms);
            let order = Order { epoch: ctx.epoch, revision: above + 1, issued: now, expires };
            let (namespace, models) = (key.0.clone(), models.to_vec());
            let order = Override { namespace, device: device.clone(), order, models };
            let text = serde_json::to_vec(&order).expect("an override has text keys");
            let bytes = seal(&ctx.signer, OVERRIDE_TYPE, &text);
            ctx.publisher.publish_retained(&topic, bytes.clone())?;
            tracing::info!(
                topic,
                revision = order.order.revision,
                models = order.models.len(),
                "override published"
            );
            single.note_sent(device, order, bytes, now);
            Ok(Some(now.after_ms(5_000)))
        }
    }
}

/// Clears all that a device has retained, and its override.
fn clear(ctx: &Context, key: &DeviceKey, index: &mut FleetIndex, now: Time) -> Result<(), Error> {
    let device = &key.1;
    let known = index.fleet().device_models(device).into_iter().flatten().map(|(model, _)| model);
    let models: BTreeSet<ModelName> = known.chain(index.managed().models().cloned()).collect();
    let reports = models.into_iter().map(|model| Channel::Report(device.clone(), model));
    let own = [
        Channel::Presence(device.clone()),
        Channel::State(device.clone()),
        Channel::Override(device.clone()),
    ];
    for channel in reports.chain(own) {
        ctx.publisher.publish_retained(&topic(key, channel), Vec::new())?;
    }
    let was_known = index.retire(device, Some(now));
    index.single_mut().note_retired_cleared(device, now);
    if was_known {
        ctx.metrics.devices(ctx.fleets.devices());
        index.managed().rolling().iter().for_each(|model| ctx.work.evidence(&(key.0.clone(), model.clone())));
    }
    tracing::info!(namespace = %key.0, %device, "the messages of a retired device were cleared");
    Ok(())
}

/// Announces what became of an order. Best effort: the object says the same.
async fn tell_events(ctx: &Context, object: &DeviceOrder, events: &[Event]) {
    for event in events {
        ctx.metrics.orders.announced(event.reason);
        if let Err(error) = announce(ctx, &subject(object), event).await {
            tracing::warn!(reason = event.reason, error = with_causes(&error), "event not written");
            return;
        }
    }
}

/// Writes what an object is to say. Where another write was faster, the watch brings the object again.
async fn write_status(
    ctx: &Context,
    key: &DeviceKey,
    object: &DeviceOrder,
    status: DeviceOrderStatus,
) -> Result<(), Error> {
    let name = object.name_any();
    let before = object.status.clone().unwrap_or_default();
    let events = order_events(&before, &status, ctx.now());
    let patch = json!({
        "apiVersion": "modelfleet.io/v1alpha1",
        "kind": "DeviceOrder",
        "metadata": { "name": name, "resourceVersion": object.resource_version() },
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    let api: Api<DeviceOrder> = Api::namespaced(ctx.client.clone(), key.0.as_str());
    let what = format!("status of device order {}/{name}", key.0);
    let patched = api.patch_status(&name, &params, &Patch::Apply(patch)).await;
    match patched.map_err(|e| Error::kubernetes(what, e)) {
        Ok(patched) => {
            ctx.orders.keep(key, patched);
            ctx.metrics.orders.show(key.0.as_str(), ctx.orders.stands_of(&key.0));
            tell_events(ctx, object, &events).await;
        }
        Err(Error::Conflict { .. }) => {}
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
