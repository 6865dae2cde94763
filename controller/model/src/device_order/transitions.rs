//! Where an order stands, in one word for metrics, and what of it is announced as an Event.

use modelfleet_crds::conditions::{HEARD_AGAIN, SENT, TAKEN};
use modelfleet_crds::{DeviceOrder, DeviceOrderStatus};
use modelfleet_protocol::time::Time;

use super::status::CLEARED;
use crate::events::Event;

/// Every word of [`stand`].
pub const STANDS: [&str; 5] = ["waiting", "not_sent", "taken", "retired", "heard_again"];

/// Where an order stands, as its object says: it waits for controller, broker or device; it cannot be sent; the device has taken
/// it; the device is retired; it was heard all the same.
#[must_use]
pub fn stand(object: &DeviceOrder) -> &'static str {
    let status = object.status.as_ref();
    let said = |kind| status.and_then(|status| said(status, kind));
    let [waiting, not_sent, taken, retired, heard_again] = STANDS;
    match (said(SENT), said(TAKEN), said(HEARD_AGAIN)) {
        (_, _, Some((true, ..))) if object.spec.retired => heard_again,
        (Some((true, CLEARED, _)), ..) if object.spec.retired => retired,
        (Some((false, reason, _)), ..) if reason != SENDING => not_sent,
        (_, Some((true, ..)), _) if !object.spec.retired => taken,
        _ => waiting,
    }
}

/// The reason of [`SENT`] while an order is on its way to the broker.
const SENDING: &str = "Sending";
/// The reason of [`TAKEN`] of a device that goes by no order.
const FOLLOWS_PLANS: &str = "FollowsPlans";

/// Whether a condition holds, its reason and its message.
fn said<'a>(status: &'a DeviceOrderStatus, kind: &str) -> Option<(bool, &'a str, &'a str)> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((condition.status == "True", &condition.reason, &condition.message))
}

/// What is announced of an order whose status was `before` and is `after` from `now` on. Waiting is not announced.
#[must_use]
pub fn order_events(before: &DeviceOrderStatus, after: &DeviceOrderStatus, now: Time) -> Vec<Event> {
    let announced = |kind: &str| {
        let (holds, reason, message) = said(after, kind)?;
        let was = said(before, kind);
        if was.is_some_and(|(held, why, _)| (held, why) == (holds, reason)) {
            return None;
        }
        let (word, warning) = match (kind, holds, reason) {
            (SENT, true, CLEARED) => ("DeviceRetired", false),
            (SENT, false, SENDING) => return None,
            (SENT, false, _) => ("OrderNotSent", true),
            // A device that follows its plans from the start was given no order.
            (TAKEN, true, FOLLOWS_PLANS) if was.is_some() => ("OrderEnded", false),
            (TAKEN, true, FOLLOWS_PLANS) => return None,
            (TAKEN, true, _) => ("OrderTaken", false),
            (HEARD_AGAIN, true, _) => ("RetiredDeviceHeard", true),
            _ => return None,
        };
        Some(Event { reason: word, warning, message: message.to_owned(), at: now })
    };
    [SENT, TAKEN, HEARD_AGAIN].into_iter().filter_map(announced).collect()
}
