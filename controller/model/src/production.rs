//! What is in production for whom: read from the statuses of versions and from the plan that devices hold, and given back
//! to the statuses. No client.
//!
//! A status says it by numbered entries, of which the highest that selects a device counts. A promotion adds one number
//! above all others, so a crash between the writes to several versions leaves no device with a version that no stage
//! brought to it.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use modelfleet_crds::ModelVersion;
use modelfleet_crds::model_version::{ModelVersionStatus, ProductionScope, VersionStage};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::selector::Selector;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Production, Proven};

use crate::objects::ModelObjects;
use crate::status::time::{cut, from_k8s};
use crate::version_facts::stage;

/// Longest text of a version's devices, in bytes.
const DEVICES_MAX: usize = 256;

/// An entry as a status has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Recorded {
    order: i64,
    promoted: Option<Time>,
    proven: Proven,
}

/// The devices of an entry; `None`: it is no selector, and selects no device.
fn selector(scope: &ProductionScope) -> Option<Selector> {
    serde_json::from_str(&scope.selector).ok()
}

/// The entries of a version's status. One that was written before there were entries is in production for all.
fn entries(object: &ModelVersion) -> Vec<Recorded> {
    let Some(status) = &object.status else { return Vec::new() };
    let promoted = status.promoted_at.as_ref().map(from_k8s);
    let version = &object.spec.version;
    let recorded = |selector: Selector, order| Recorded {
        order,
        promoted,
        proven: Proven { selector, version: version.clone() },
    };
    let for_all = status.production_for.is_empty() && stage(object) == VersionStage::Production;
    let listed =
        status.production_for.iter().filter_map(|scope| Some(recorded(selector(scope)?, scope.order)));
    listed.chain(for_all.then(|| recorded(Selector::default(), 0))).collect()
}

/// All entries, the first that counts first.
fn recorded(objects: &ModelObjects) -> Vec<Recorded> {
    let mut all: Vec<Recorded> = objects.versions.values().flat_map(|object| entries(object)).collect();
    all.sort_by_key(|entry| Reverse((entry.order, entry.promoted)));
    all
}

/// What the plan that devices hold calls stable, in its order.
fn proven_by(plan: &Plan) -> impl Iterator<Item = (Proven, Digest)> {
    let own = plan.stable_for.iter().map(|own| (own.selector.clone(), &own.build));
    let all = own.chain(plan.stable.iter().map(|build| (Selector::default(), build)));
    all.map(|(selector, build)| (Proven { selector, version: build.version.to_string() }, build.digest))
}

/// Whether a version's own status says whether it is in production. One that is new, or came back from a backup without
/// its status, says nothing.
#[must_use]
pub fn says(object: &ModelVersion) -> bool {
    let promoted = object.status.as_ref().is_some_and(|s| s.promoted_at.is_some());
    promoted || !matches!(stage(object), VersionStage::Registered | VersionStage::Verified)
}

/// Whether the plan's word counts for a version: its object is gone, or is the one that the plan means and says nothing.
fn unsaid(objects: &ModelObjects, version: &str, digest: Digest) -> bool {
    objects.versions.get(version).is_none_or(|object| {
        !says(object) && object.spec.artifact.digest.parse::<Digest>().is_ok_and(|own| own == digest)
    })
}

/// What a model has in production. Where a version's object is gone or says nothing, the plan that devices hold does, in
/// the plan's order.
#[must_use]
pub fn production(objects: &ModelObjects, held: Option<&Plan>) -> Production {
    let mut list: Vec<Proven> = recorded(objects).into_iter().map(|entry| entry.proven).collect();
    let told: Vec<(Proven, Digest)> = held.into_iter().flat_map(proven_by).collect();
    // From the back: each goes before the first of those that stand behind it in the plan.
    for (at, (proven, digest)) in told.iter().enumerate().rev() {
        if list.contains(proven) || !unsaid(objects, &proven.version, *digest) {
            continue;
        }
        let behind = told[at + 1..].iter().find_map(|(next, _)| list.iter().position(|one| one == next));
        list.insert(behind.unwrap_or(list.len()), proven.clone());
    }
    Production::new(list)
}

/// Versions that the plan calls stable while their own objects say nothing: what a backup has lost of them.
#[must_use]
pub fn lost(objects: &ModelObjects, held: Option<&Plan>) -> BTreeSet<String> {
    let production = production(objects, held);
    let silent = |version: &str| objects.versions.get(version).is_some_and(|object| !says(object));
    production.entries().iter().map(|entry| entry.version.clone()).filter(|version| silent(version)).collect()
}

/// The entries that each version's status shall have so that `production` holds, in the order in which to write them:
/// the narrow ones before those behind them. Entries that are there keep their numbers where these are in order.
#[must_use]
pub fn scopes(objects: &ModelObjects, production: &Production) -> Vec<(String, Vec<ProductionScope>)> {
    let recorded = recorded(objects);
    let top = recorded.iter().map(|entry| entry.order).max().unwrap_or(0);
    let (mut below, mut next) = (i64::MIN, top.saturating_add(1));
    let mut numbered: Vec<(&Proven, i64)> = Vec::new();
    for proven in production.entries().iter().rev() {
        let known = recorded.iter().find(|entry| entry.proven == *proven).map(|entry| entry.order);
        let order = known.filter(|order| *order > below).unwrap_or_else(|| {
            let fresh = next;
            next = next.saturating_add(1);
            fresh
        });
        below = order;
        numbered.push((proven, order));
    }
    let mut scopes: Vec<(String, Vec<ProductionScope>)> = Vec::new();
    for (proven, order) in numbered.into_iter().rev() {
        let scope = ProductionScope { selector: proven.selector.to_json(), order };
        match scopes.iter_mut().find(|(version, _)| *version == proven.version) {
            Some((_, listed)) => listed.push(scope),
            None => scopes.push((proven.version.clone(), vec![scope])),
        }
    }
    scopes
}

/// Entries that are new, and those of before that select others: what is taken away goes once all that is new is written.
#[must_use]
pub fn joined(new: &[ProductionScope], before: &[ProductionScope]) -> Vec<ProductionScope> {
    let stays = |old: &&ProductionScope| new.iter().all(|scope| scope.selector != old.selector);
    new.iter().chain(before.iter().filter(stays)).cloned().collect()
}

/// Writes the entries into a status, with the text for people.
pub fn put(status: &mut ModelVersionStatus, scopes: Vec<ProductionScope>) {
    let texts: Vec<String> = scopes.iter().filter_map(selector).map(|one| one.to_string()).collect();
    status.devices = (!texts.is_empty()).then(|| cut(&texts.join("; "), DEVICES_MAX));
    status.production_for = scopes;
}

#[cfg(test)]
mod tests;
