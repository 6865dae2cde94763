//! How many devices a rollout selects, as far as statuses know from before: the count of its own status, or of another rollout
//! of the model for the same devices. It tells a fleet that has become smaller from a broker that has lost a part of it.

use modelfleet_crds::{ResourceExt as _, Rollout};
use modelfleet_fleet::Fleet;
use modelfleet_fleet::census::{Census, Missing};
use modelfleet_protocol::selector::Selector;
use modelfleet_protocol::time::Time;

use crate::objects::ModelObjects;
use crate::status::time::from_k8s;

/// The annotation of a Rollout by which a person says that so many devices are all of its devices.
pub const FEWER_DEVICES: &str = "modelfleet.io/fewer-devices";

/// The devices that are missing of those that a rollout selects; `None`: none, or too few to wait for.
#[must_use]
pub fn missing(
    objects: &ModelObjects,
    rollout: &Rollout,
    scope: &Selector,
    fleet: &Fleet,
    now: Time,
) -> Option<Missing> {
    let own = counted(rollout);
    let accepted = rollout.annotations().get(FEWER_DEVICES).and_then(|text| text.trim().parse().ok());
    let census = Census {
        known: own.or_else(|| of_others(objects, rollout)),
        removed: fleet.removed(),
        accepted,
        seen: fleet.selected(scope),
        complete_since: fleet.complete_since(),
    };
    census.missing(now)
}

/// The count of a rollout's status. One that was made by another spec may be of other devices.
fn counted(rollout: &Rollout) -> Option<u64> {
    let status = rollout.status.as_ref()?;
    let current = status.observed_generation == rollout.metadata.generation;
    let counts = status.counts.as_ref().filter(|_| current)?;
    u64::try_from(counts.eligible).ok()
}

/// The count of the rollout for the same devices that is under way, or that ended last.
fn of_others(objects: &ModelObjects, rollout: &Rollout) -> Option<u64> {
    let same = objects.rollouts.iter().filter(|other| {
        other.name_any() != rollout.name_any() && other.spec.selector == rollout.spec.selector
    });
    let ended = |other: &Rollout| {
        let at = other.status.as_ref().and_then(|status| status.finished_at.as_ref()).map(from_k8s);
        at.unwrap_or(Time(u64::MAX))
    };
    let known = same.filter_map(|other| Some((ended(other), counted(other)?)));
    known.max().map(|(_, count)| count)
}
