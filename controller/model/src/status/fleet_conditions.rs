//! Conditions about the fleet of a rollout. They decide nothing; they name the devices that need a repair.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Field;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::time::Time;

use super::FleetNumbers;
use super::conditions::NewCondition;
use super::trust::TRUST_DOCUMENT;
use modelfleet_fleet::left_out::Omitted;
use modelfleet_fleet::other_plan::OtherPlan;

/// Some devices' states cannot be taken.
pub const DEVICES_LEFT_OUT: &str = "DevicesLeftOut";

/// Connected devices hold another plan than the newest one.
pub const PLAN_NOT_TAKEN: &str = "PlanNotTaken";

/// All of these conditions.
pub const KINDS: &[&str] = &[DEVICES_LEFT_OUT, PLAN_NOT_TAKEN, TRUST_DOCUMENT];

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
    left_out.into_iter().chain(not_taken).chain([fleet.trust.condition(now)]).collect()
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
