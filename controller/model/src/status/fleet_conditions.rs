//! Conditions about the fleet of a rollout. They decide nothing; they name the devices that need a repair.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Field;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::plan::Order;
use modelfleet_protocol::time::Time;

use super::FleetNumbers;
use super::conditions::NewCondition;
use super::trust::TRUST_DOCUMENT;
use modelfleet_fleet::left_out::Omitted;
use modelfleet_fleet::other_plan::OtherPlan;
use modelfleet_fleet::wrong_clocks::{Offset, WrongClocks};

/// Some devices' states cannot be taken.
pub const DEVICES_LEFT_OUT: &str = "DevicesLeftOut";

/// Connected devices hold another plan than the newest one.
pub const PLAN_NOT_TAKEN: &str = "PlanNotTaken";

/// The clocks of some devices are wrong.
pub const CLOCKS_WRONG: &str = "ClocksWrong";

/// The broker's plan is older than the controller lets plans become.
pub const PLAN_NOT_RENEWED: &str = "PlanNotRenewed";

/// All of these conditions.
pub const KINDS: &[&str] =
    &[DEVICES_LEFT_OUT, PLAN_NOT_TAKEN, CLOCKS_WRONG, PLAN_NOT_RENEWED, TRUST_DOCUMENT];

/// The conditions about the fleet: those that hold, and those that are over. Until the next look they stay.
#[must_use]
pub fn new_conditions(fleet: Option<&FleetNumbers<'_>>, before: &[Field], now: Time) -> Vec<NewCondition> {
    let Some(fleet) = fleet else { return kept(before, KINDS) };
    let told = |kind: &str| before.iter().any(|field| field.type_ == kind);
    let over = |kind: &'static str| {
        told(kind).then(|| NewCondition {
            kind,
            holds: false,
            reason: "NoDevice".to_owned(),
            message: String::new(),
        })
    };
    let left_out = left_out(fleet.omitted).or_else(|| over(DEVICES_LEFT_OUT));
    let not_taken = not_taken(fleet.other_plan).or_else(|| over(PLAN_NOT_TAKEN));
    let clocks = clocks_wrong(fleet.wrong_clocks).or_else(|| over(CLOCKS_WRONG));
    let old = fleet.plan_order.and_then(|order| not_renewed(order, now)).or_else(|| over(PLAN_NOT_RENEWED));
    left_out
        .into_iter()
        .chain(not_taken)
        .chain(clocks)
        .chain(old)
        .chain([fleet.trust.condition(now)])
        .collect()
}

/// Conditions of these kinds as they are.
#[must_use]
pub fn kept(before: &[Field], kinds: &[&'static str]) -> Vec<NewCondition> {
    let word = |kind: &&'static str| {
        let field = before.iter().find(|field| field.type_ == *kind)?;
        let (holds, reason, message) = (field.status == "True", field.reason.clone(), field.message.clone());
        Some(NewCondition { kind, holds, reason, message })
    };
    kinds.iter().filter_map(word).collect()
}

fn left_out(omitted: &Omitted) -> Option<NewCondition> {
    let many = match omitted.count {
        0 => return None,
        1 => "1 device is".to_owned(),
        count => format!("{count} devices are"),
    };
    let named: Vec<String> = omitted.named.iter().map(|(device, why)| format!("{device}: {why}")).collect();
    let more = if omitted.count > omitted.named.len() as u64 { "; and more" } else { "" };
    let message = format!(
        "{many} left out of every rollout until the device sends a valid state: {}{more}",
        named.join("; ")
    );
    Some(NewCondition { kind: DEVICES_LEFT_OUT, holds: true, reason: "StateRefused".to_owned(), message })
}

fn clocks_wrong(wrong: &WrongClocks) -> Option<NewCondition> {
    let many = match wrong.count {
        0 => return None,
        1 => "The clock of 1 device is".to_owned(),
        count => format!("The clocks of {count} devices are"),
    };
    // In whole units: a sentence that changed with every state would be written with every state.
    let told = |offset: &Offset| match offset {
        Offset::Ahead(ms) => format!("{} ahead", whole(*ms)),
        Offset::Behind(ms) => format!("{} behind", whole(*ms)),
    };
    let named: Vec<String> =
        wrong.named.iter().map(|(device, offset)| format!("{device} is {}", told(offset))).collect();
    let more = if wrong.count > wrong.named.len() as u64 { ", and more" } else { "" };
    let message = format!(
        "{many} wrong: {}{more}. What runs there goes on, and nothing new starts by a plan that has ended by the device's clock; \
         set these clocks.",
        named.join(", ")
    );
    Some(NewCondition { kind: CLOCKS_WRONG, holds: true, reason: "ClockWrong".to_owned(), message })
}

/// A plan of which three quarters of the lifetime are over: it should have been renewed after half.
fn not_renewed(order: Order, now: Time) -> Option<NewCondition> {
    let (lifetime_ms, age_ms) = (order.expires.since_ms(order.issued), now.since_ms(order.issued));
    if age_ms < lifetime_ms / 4 * 3 {
        return None;
    }
    let plan = format!("Plan {}/{}", order.epoch, order.revision);
    let what = if now >= order.expires {
        format!("{plan} ended {} ago, so devices start nothing new", whole(now.since_ms(order.expires)))
    } else {
        let (ago, left) = (whole(age_ms), whole(order.expires.since_ms(now)));
        format!("{plan} was issued {ago} ago and ends in {left}")
    };
    let message = format!(
        "{what}. Plans are renewed after half of their lifetime: look in the controller's log why this one is not, and compare \
         the controller's clock with others."
    );
    Some(NewCondition { kind: PLAN_NOT_RENEWED, holds: true, reason: "PlanOld".to_owned(), message })
}

/// A time in its largest whole unit.
fn whole(ms: u64) -> String {
    const MINUTE_MS: u64 = 60_000;
    let units = [(365 * 1_440 * MINUTE_MS, "year"), (1_440 * MINUTE_MS, "day"), (60 * MINUTE_MS, "hour")];
    let (unit_ms, unit) =
        units.into_iter().find(|(unit_ms, _)| ms >= *unit_ms).unwrap_or((MINUTE_MS, "minute"));
    let count = ms / unit_ms;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn not_taken(other: &OtherPlan) -> Option<NewCondition> {
    if other.count == 0 {
        return None;
    }
    let held = match other.commonest() {
        Some((epoch, revision)) => format!("still hold plan {epoch}/{revision}"),
        None => "hold no plan".to_owned(),
    };
    let listed = |named: &[DeviceId]| named.iter().map(DeviceId::as_str).collect::<Vec<_>>().join(", ");
    if other.later > 0 {
        let (later, told, epoch) = (other.later, other.told, other.latest_epoch);
        let message = format!(
            "{later} of {told} connected devices have taken plans of a later controller (epoch {epoch} at most) and ignore \
             this one, for example {}. If another controller with the same key serves these devices, stop it. Then start \
             this controller again with --epoch-above={epoch}.",
            listed(&other.named_later)
        );
        let reason = "LaterEpochTaken".to_owned();
        return Some(NewCondition { kind: PLAN_NOT_TAKEN, holds: true, reason, message });
    }
    let message = format!(
        "{} of {} connected devices {held} ten minutes after the newest plan was sent, for example {}. Look for 'plan \
         refused' in their logs, and compare their --plan-key with the controller's key.",
        other.count,
        other.told,
        listed(&other.named)
    );
    Some(NewCondition { kind: PLAN_NOT_TAKEN, holds: true, reason: "OtherPlanHeld".to_owned(), message })
}
