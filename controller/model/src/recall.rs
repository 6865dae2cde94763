//! A plan that only devices still hold: the objects came back without their statuses, and the broker without its retained
//! messages or with those of some time ago. Devices send the signed plan that they took last. Until it is here nothing is decided about the model, because a
//! new plan without a stable version would take the last record of what is in production from the devices as well.
//!
//! The evidence is our own signature, never what a device says. What devices say is used for one thing: a plan older than
//! the one that most of them took does not count before the wait is over, so that a device that kept an old plan cannot
//! bring back what was in production then. The wait has a fixed end, so that no device can make it longer.

use std::sync::Arc;

use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::time::Time;

use crate::decide_model::Snapshot;
use crate::production::production;

/// How long devices have to send the plan that they hold, after all that they retained was read, milliseconds. A device sends
/// it within ten minutes of its connection.
pub const WAIT_MS: u64 = 15 * 60_000;

/// What becomes of a plan that may have to come back from devices.
#[derive(Clone, Debug, PartialEq)]
pub enum Recall {
    /// The broker or the statuses know what is in production, or no device has taken another plan.
    NotNeeded,
    /// Nothing is decided until a device has sent it, or until then.
    Waits(Time),
    /// It was sent: what it says is in production, and rejected, counts as if the broker held it.
    Found(Arc<Plan>),
}

/// Whether the plan of a model has to come back from devices, and whether it has.
#[must_use]
pub fn recall(snapshot: &Snapshot, now: Time) -> Recall {
    let known = !production(&snapshot.objects, None).entries().is_empty();
    let Some(fleet) = snapshot.fleet.as_ref().filter(|_| !known) else { return Recall::NotNeeded };
    let order = |plan: &Plan| (plan.order.epoch, plan.order.revision);
    let at_broker = snapshot.plan.as_deref().map(order);
    let is_newer = |told: &(u64, u64)| at_broker.is_none_or(|held| *told > held);
    let told = fleet.plan_told(&snapshot.key.1).filter(is_newer);
    let sent = snapshot.recalled.as_ref().filter(|plan| is_newer(&order(plan)));
    if told.is_none() && sent.is_none() {
        return Recall::NotNeeded;
    }
    // Not all that devices retained was read: nothing is decided anyway.
    let Some(since) = fleet.complete_since() else { return Recall::Waits(now.after_ms(WAIT_MS)) };
    // A clock that was set back by more than the wait does not make it longer.
    let over = now.since_ms(since) >= WAIT_MS || since.since_ms(now) >= WAIT_MS;
    match sent {
        Some(plan) if over || told.is_none_or(|told| order(plan) >= told) => Recall::Found(Arc::clone(plan)),
        _ if over => Recall::NotNeeded,
        _ => Recall::Waits(since.after_ms(WAIT_MS)),
    }
}
