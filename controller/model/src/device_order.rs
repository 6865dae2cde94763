//! What becomes of the orders of one device: which override the broker holds for it, and what each object says about it.
//!
//! Decided for each device alone: one that cannot be obeyed stops no other, and a hundred thousand of them make no look at a
//! model slower.

mod status;
mod transitions;

use std::sync::Arc;

use modelfleet_crds::device_order::OrderedModel;
use modelfleet_crds::model_version::VersionStage;
use modelfleet_crds::{DeviceOrder, DeviceOrderStatus, ModelVersion, ResourceExt};
use modelfleet_fleet::single_devices::Retired;
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::overrides::{ModelOverride, Override, OverrideAction};
use modelfleet_protocol::state::Overridden;
use modelfleet_protocol::time::Time;

use crate::builds::build;
use crate::status::time::from_k8s;
use crate::version_facts::stage;
use status::Told;

pub use status::cleared_at;
pub use transitions::{STANDS, order_events, stand};

/// All that is known of one device and its orders.
pub struct DeviceSnapshot<'a> {
    /// The device.
    pub device: &'a DeviceId,
    /// Every object that names it.
    pub objects: &'a [Arc<DeviceOrder>],
    /// The models that its state names, each with the digest that answers; `None`: nothing is known of it.
    pub models: Option<Vec<(ModelName, Option<Digest>)>>,
    /// A device of this id is known in another namespace.
    pub elsewhere: bool,
    /// Which override it says that it has taken.
    pub told: Option<&'a Overridden>,
    /// The newest override: sent, or held by the broker.
    pub newest: Option<&'a Override>,
    /// The broker holds something for it, ours or not.
    pub occupied: bool,
    /// What was heard since it was retired.
    pub retired: Option<Retired>,
    /// The version of a model, where it is registered.
    pub version: &'a dyn Fn(&str, &str) -> Option<Arc<ModelVersion>>,
}

/// What the broker shall hold for a device.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// What it holds.
    Unchanged,
    /// An override of these models; of none: the device follows its plans again.
    Send(Vec<ModelOverride>),
    /// Nothing.
    Nothing,
    /// Nothing, and no message that the device has retained either.
    Cleared,
}

/// What was decided about a device.
pub struct DeviceDecision {
    /// What the broker shall hold.
    pub wanted: Wanted,
    /// The device is retired: nothing of it counts.
    pub retired: bool,
    /// The models for which the device goes by an order of its own.
    pub directed: Vec<ModelName>,
    /// What the objects are to say, where that differs.
    pub statuses: Vec<(Arc<DeviceOrder>, DeviceOrderStatus)>,
    /// When to look again: an order ends by itself, or what a retired device has left may be cleared again.
    pub wake_at: Option<Time>,
}

/// Why a part of an order is not sent: one word for programs, and a line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotSent {
    reason: &'static str,
    line: String,
}

fn not_sent(reason: &'static str, line: impl Into<String>) -> NotSent {
    NotSent { reason, line: line.into() }
}

/// Decides about one device.
#[must_use]
pub fn decide_device(snapshot: &DeviceSnapshot<'_>, now: Time) -> DeviceDecision {
    let Some(owner) = owner(snapshot.objects) else { return released(snapshot) };
    let (mut decision, told) =
        if owner.spec.retired { retire(snapshot, owner, now) } else { direct(snapshot, owner, now) };
    decision.statuses.extend(status::of_owner(snapshot, owner, &told, now));
    for other in snapshot.objects.iter().filter(|other| !Arc::ptr_eq(other, owner) && is_there(other)) {
        decision.statuses.extend(status::of_younger(other, owner, now));
    }
    decision
}

/// The object by which a device goes: of several the oldest.
#[must_use]
pub fn owner(objects: &[Arc<DeviceOrder>]) -> Option<&Arc<DeviceOrder>> {
    let age = |object: &DeviceOrder| object.metadata.creation_timestamp.as_ref().map(|at| at.0);
    objects.iter().filter(|object| is_there(object)).min_by_key(|object| (age(object), object.name_any()))
}

fn is_there(object: &DeviceOrder) -> bool {
    object.metadata.deletion_timestamp.is_none()
}

/// Nothing but what the broker shall hold.
fn quiet(wanted: Wanted) -> DeviceDecision {
    DeviceDecision { wanted, retired: false, directed: Vec::new(), statuses: Vec::new(), wake_at: None }
}

/// No object names it: it follows its plans again, and once it has said so nothing lies at the broker for it.
fn released(snapshot: &DeviceSnapshot<'_>) -> DeviceDecision {
    quiet(if follows_plans(snapshot) { nothing(snapshot) } else { Wanted::Send(Vec::new()) })
}

/// Whether the device goes by no order, as far as it and the broker say.
fn follows_plans(snapshot: &DeviceSnapshot<'_>) -> bool {
    let told = snapshot.told;
    if told.is_some_and(|told| !told.models.is_empty()) {
        return false;
    }
    snapshot.newest.is_none_or(|newest| newest.models.is_empty() && is_taken(newest, told))
}

fn nothing(snapshot: &DeviceSnapshot<'_>) -> Wanted {
    if snapshot.occupied { Wanted::Nothing } else { Wanted::Unchanged }
}

fn is_taken(order: &Override, told: Option<&Overridden>) -> bool {
    let of = (order.order.epoch, order.order.revision);
    told.is_some_and(|told| (told.epoch, told.revision) == of)
}

fn retire(snapshot: &DeviceSnapshot<'_>, owner: &DeviceOrder, now: Time) -> (DeviceDecision, Told) {
    let retired = snapshot.retired.unwrap_or_default();
    let cleared = cleared_at(owner).or(retired.cleared_at);
    let left = retired.left || snapshot.occupied;
    let again_at = retired.clears_again_at();
    let (wanted, wake_at) = match cleared {
        None => (Wanted::Cleared, None),
        Some(_) if left && again_at <= now => (Wanted::Cleared, None),
        Some(_) => (Wanted::Unchanged, left.then_some(again_at)),
    };
    let heard_at = retired.heard_at;
    let told = Told::Retired {
        cleared_at: cleared.unwrap_or(now),
        heard_at,
        ignored: !owner.spec.models.is_empty(),
    };
    (DeviceDecision { retired: true, wake_at, ..quiet(wanted) }, told)
}

fn direct(snapshot: &DeviceSnapshot<'_>, owner: &DeviceOrder, now: Time) -> (DeviceDecision, Told) {
    let Some(models) = &snapshot.models else {
        let held = snapshot.newest.map_or(&[][..], |newest| &newest.models);
        let directed = held.iter().map(|order| order.model.clone()).collect();
        let unknown = unknown_device(snapshot);
        let told = Told::Directed { wanted: Vec::new(), not_sent: vec![unknown] };
        return (DeviceDecision { directed, ..quiet(Wanted::Unchanged) }, told);
    };
    let ends = |model: &&OrderedModel| model.until.as_ref().map(from_k8s);
    let lasting = || owner.spec.models.iter().filter(|model| ends(model).is_none_or(|until| until > now));
    let (mut wanted, mut problems) = (Vec::new(), Vec::new());
    for ordered in lasting() {
        match override_of(snapshot, models, ordered) {
            Ok(action) => wanted.push(action),
            Err(problem) => problems.push(problem),
        }
    }
    wanted.sort_by(|a: &ModelOverride, b| a.model.cmp(&b.model));
    let directed = wanted.iter().map(|order| order.model.clone()).collect();
    let sends = match wanted.is_empty() && follows_plans(snapshot) {
        true => nothing(snapshot),
        false => Wanted::Send(wanted.clone()),
    };
    let wake_at = lasting().filter_map(|model| ends(&model)).min();
    (DeviceDecision { directed, wake_at, ..quiet(sends) }, Told::Directed { wanted, not_sent: problems })
}

fn unknown_device(snapshot: &DeviceSnapshot<'_>) -> NotSent {
    let device = snapshot.device;
    match snapshot.elsewhere {
        true => not_sent(
            "DeviceOfAnotherNamespace",
            format!(
                "device {device} is not known in this namespace but in another one; create the DeviceOrder in the namespace \
                 of the device"
            ),
        ),
        false => not_sent(
            "UnknownDevice",
            format!(
                "no device {device} is known in this namespace; the order is sent when the device is heard. Check the id"
            ),
        ),
    }
}

fn override_of(
    snapshot: &DeviceSnapshot<'_>,
    models: &[(ModelName, Option<Digest>)],
    ordered: &OrderedModel,
) -> Result<ModelOverride, NotSent> {
    let (device, name) = (snapshot.device, &ordered.model);
    let known = models.iter().find(|(model, _)| model.as_str() == name);
    let Some((model, _)) = known else {
        let line = format!(
            "device {device} has no model {name}; correct the name, or roll the model out to it first"
        );
        return Err(not_sent("ModelNotOnDevice", line));
    };
    let action = match &ordered.pin {
        None => OverrideAction::Hold,
        Some(version) => OverrideAction::Pin(Box::new(pinned(snapshot, name, version)?)),
    };
    Ok(ModelOverride { model: model.clone(), action })
}

fn pinned(
    snapshot: &DeviceSnapshot<'_>,
    model: &str,
    version: &str,
) -> Result<modelfleet_protocol::model::ModelBuild, NotSent> {
    let Some(object) = (snapshot.version)(model, version) else {
        let line = format!(
            "version {version} of {model} is not registered in this namespace; register it, or pin another one"
        );
        return Err(not_sent("UnknownVersion", line));
    };
    match stage(&object) {
        VersionStage::Rejected => {
            let why = object.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default();
            let why =
                if why.is_empty() { String::new() } else { format!(" ({})", why.trim_end_matches('.')) };
            Err(not_sent(
                "RejectedVersion",
                format!("version {version} of {model} was rejected{why}; pin another version"),
            ))
        }
        VersionStage::Registered => {
            let line = format!(
                "version {version} of {model} has not been checked yet; the order is sent when it has been"
            );
            Err(not_sent("UncheckedVersion", line))
        }
        VersionStage::Verified | VersionStage::Production | VersionStage::Archived => build(&object.spec)
            .map_err(|problem| {
                not_sent(
                    "InvalidVersion",
                    format!("version {version} of {model} cannot run on a device: {problem}"),
                )
            }),
    }
}

#[cfg(test)]
mod tests;
