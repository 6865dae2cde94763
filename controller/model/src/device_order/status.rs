//! What an object says about its order.

use std::sync::Arc;

use modelfleet_crds::conditions::{HEARD_AGAIN, SENT, TAKEN};
use modelfleet_crds::device_order::{GIVEN_BY, OrderRecord, SentOrder};
use modelfleet_crds::{DeviceOrder, DeviceOrderStatus, ResourceExt};
use modelfleet_protocol::overrides::{ModelOverride, OverrideAction};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::clip;

use super::{DeviceSnapshot, NotSent, is_taken};
use crate::status::conditions::{NewCondition, to_fields};
use crate::status::time::{cut, from_k8s, to_k8s};

/// Orders that are remembered.
const HISTORY_MAX: usize = 16;
const SUMMARY_MAX: usize = 128;
const TEXT_MAX: usize = 256;
const MESSAGE_MAX: usize = 512;
const NAME_MAX: usize = 128;
/// The reason of [`SENT`] when a retired device's messages were cleared.
pub(super) const CLEARED: &str = "Cleared";

/// What is told of an order.
pub(super) enum Told {
    /// The device goes by these orders; the others are not sent.
    Directed { wanted: Vec<ModelOverride>, not_sent: Vec<NotSent> },
    /// It is gone for good.
    Retired { cleared_at: Time, heard_at: Option<Time>, ignored: bool },
}

/// When the messages of a retired device were cleared, as its object says.
#[must_use]
pub fn cleared_at(object: &DeviceOrder) -> Option<Time> {
    let status = object.status.as_ref()?;
    let cleared =
        status.conditions.iter().any(|c| c.type_ == SENT && c.reason == CLEARED && c.status == "True");
    (object.spec.retired && cleared).then(|| status.sent.as_ref().map(|sent| from_k8s(&sent.at))).flatten()
}

/// The status of the object by which the device goes; `None`: it stays as it is.
pub(super) fn of_owner(
    snapshot: &DeviceSnapshot<'_>,
    owner: &Arc<DeviceOrder>,
    told: &Told,
    now: Time,
) -> Option<(Arc<DeviceOrder>, DeviceOrderStatus)> {
    let before = owner.status.clone().unwrap_or_default();
    let (words, sent, message) = match told {
        Told::Directed { wanted, not_sent } => directed(snapshot, &before, wanted, not_sent),
        Told::Retired { cleared_at, heard_at, ignored } => {
            retired(snapshot, (*cleared_at, *heard_at), *ignored)
        }
    };
    let text = order_text(owner);
    let after = DeviceOrderStatus {
        observed_generation: owner.metadata.generation,
        summary: Some(cut(&text, SUMMARY_MAX)),
        message: Some(clip(&message, MESSAGE_MAX)),
        sent,
        conditions: to_fields(words, &before.conditions, owner.metadata.generation, now),
        history: history(owner, &before, &text, now),
    };
    (after != before).then(|| (Arc::clone(owner), after))
}

/// The status of an object of a device that an older object names already.
pub(super) fn of_younger(
    object: &Arc<DeviceOrder>,
    owner: &DeviceOrder,
    now: Time,
) -> Option<(Arc<DeviceOrder>, DeviceOrderStatus)> {
    let before = object.status.clone().unwrap_or_default();
    let message = format!(
        "Nothing is sent: DeviceOrder {} names device {} already, and the older one counts. Edit that one, and delete this one.",
        owner.name_any(),
        object.spec.device
    );
    let words = vec![word(SENT, false, "OlderOrderCounts", &message)];
    let after = DeviceOrderStatus {
        observed_generation: object.metadata.generation,
        message: Some(message),
        conditions: to_fields(words, &before.conditions, object.metadata.generation, now),
        ..before.clone()
    };
    (after != before).then(|| (Arc::clone(object), after))
}

type Said = (Vec<NewCondition>, Option<SentOrder>, String);

fn directed(
    snapshot: &DeviceSnapshot<'_>,
    before: &DeviceOrderStatus,
    wanted: &[ModelOverride],
    not_sent: &[NotSent],
) -> Said {
    let held = snapshot.newest.filter(|newest| newest.models == wanted);
    let sent = held.map(|held| SentOrder {
        epoch: i64::try_from(held.order.epoch).unwrap_or(i64::MAX),
        revision: i64::try_from(held.order.revision).unwrap_or(i64::MAX),
        at: to_k8s(held.order.issued),
    });
    let problems: Vec<String> = not_sent.iter().map(|problem| sentence(&problem.line)).collect();
    let (reason, said) = match (not_sent.first(), held.is_some() || (wanted.is_empty() && !snapshot.occupied))
    {
        (Some(problem), _) => (problem.reason, problems.join(" ")),
        (None, true) if wanted.is_empty() => ("Released", "The device follows its plans.".to_owned()),
        (None, true) => ("AtBroker", "The order is at the broker.".to_owned()),
        (None, false) => ("Sending", "The order waits for the broker.".to_owned()),
    };
    let is_sent = not_sent.is_empty() && reason != "Sending";
    let (taken, why, what) = taken(snapshot, wanted, held.is_some_and(|held| is_taken(held, snapshot.told)));
    let message = if is_sent { what.clone() } else { said.clone() };
    let words = vec![word(SENT, is_sent, reason, &said), word(TAKEN, taken, why, &what)];
    // While nothing else is sent, what was sent last stays told.
    (words, sent.or_else(|| before.sent.clone()), message)
}

/// Whether the device does what is wanted, as its state says.
fn taken(
    snapshot: &DeviceSnapshot<'_>,
    wanted: &[ModelOverride],
    acknowledged: bool,
) -> (bool, &'static str, String) {
    let device = snapshot.device;
    let runs = |order: &&ModelOverride| {
        let OverrideAction::Pin(build) = &order.action else { return true };
        let models = snapshot.models.iter().flatten();
        models.clone().any(|(model, digest)| model == &order.model && *digest == Some(build.digest))
    };
    if wanted.is_empty() {
        let follows = snapshot.told.is_none_or(|told| told.models.is_empty());
        return match follows {
            true => (true, "FollowsPlans", format!("Device {device} follows its plans.")),
            false => (
                false,
                "WaitsForDevice",
                format!("Device {device} has not said yet that it follows its plans again."),
            ),
        };
    }
    if !acknowledged {
        let text = format!("Device {device} has not said yet that it has taken the order.");
        return (false, "WaitsForDevice", text);
    }
    match wanted.iter().find(|order| !runs(order)) {
        None => (true, "Taken", format!("Device {device} has taken the order.")),
        Some(order) => {
            let version = match &order.action {
                OverrideAction::Pin(build) => build.version.to_string(),
                OverrideAction::Hold | OverrideAction::Release => String::new(),
            };
            let text = format!(
                "Device {device} has taken the order, and does not run {version} of {} yet. See the log of its agent when this \
                 stays.",
                order.model
            );
            (false, "RunsAnother", text)
        }
    }
}

fn retired(
    snapshot: &DeviceSnapshot<'_>,
    (cleared_at, heard_at): (Time, Option<Time>),
    ignored: bool,
) -> Said {
    let device = snapshot.device;
    let cleared = format!(
        "Device {device} is retired: its messages were cleared from the broker, and it counts nowhere."
    );
    let (heard, reason, text) = match heard_at {
        None => (false, "Silent", format!("Device {device} was not heard since it was retired.")),
        Some(_) => (
            true,
            "DeviceSpeaks",
            format!(
                "Device {device} was heard again after it was retired. It still counts nowhere. Switch it off, or take it back \
                 with: kubectl modelfleet retire {device} --undo"
            ),
        ),
    };
    let mut message = if heard { text.clone() } else { cleared.clone() };
    if ignored {
        message.push_str(" Its orders about models are not sent, because a retired device has none.");
    }
    let sent = SentOrder { epoch: 0, revision: 0, at: to_k8s(cleared_at) };
    (vec![word(SENT, true, CLEARED, &cleared), word(HEARD_AGAIN, heard, reason, &text)], Some(sent), message)
}

fn word(kind: &'static str, holds: bool, reason: &str, message: &str) -> NewCondition {
    NewCondition { kind, holds, reason: reason.to_owned(), message: message.to_owned() }
}

/// With a capital letter and a full stop.
fn sentence(line: &str) -> String {
    let mut rest = line.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", rest.as_str().trim_end_matches('.'))
}

/// The order in a few words: `pin pump-anomaly 1.3.0 until 2026-09-01T06:00:00Z, hold valve-wear`.
fn order_text(object: &DeviceOrder) -> String {
    if object.spec.retired {
        return "retire".to_owned();
    }
    let of = |model: &modelfleet_crds::device_order::OrderedModel| {
        let until = model.until.as_ref().map_or_else(String::new, |until| format!(" until {}", until.0));
        match &model.pin {
            Some(version) => format!("pin {} {version}{until}", model.model),
            None => format!("hold {}{until}", model.model),
        }
    };
    let all: Vec<String> = object.spec.models.iter().map(of).collect();
    if all.is_empty() { "release".to_owned() } else { all.join(", ") }
}

/// The orders so far, with this one as the last.
fn history(object: &DeviceOrder, before: &DeviceOrderStatus, text: &str, now: Time) -> Vec<OrderRecord> {
    let mut history = before.history.clone();
    let order = cut(text, TEXT_MAX);
    if history.last().is_some_and(|last| last.order == order) {
        return history;
    }
    let own = object.spec.models.iter().filter_map(|model| model.reason.as_deref());
    let reasons: Vec<&str> = object.spec.reason.as_deref().into_iter().chain(own).collect();
    let reason = cut(&reasons.join("; "), TEXT_MAX);
    history.push(OrderRecord { at: to_k8s(now), by: cut(&given_by(object), NAME_MAX), order, reason });
    let surplus = history.len().saturating_sub(HISTORY_MAX);
    history.drain(..surplus);
    history
}

/// Who gave the order: as the plugin says, else the program that wrote the spec last.
fn given_by(object: &DeviceOrder) -> String {
    if let Some(by) = object.annotations().get(GIVEN_BY) {
        return by.clone();
    }
    let writers = object.managed_fields().iter().filter(|entry| entry.subresource.is_none());
    let last = writers.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    last.and_then(|entry| entry.manager.clone()).unwrap_or_default()
}
