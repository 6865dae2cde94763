//! What must hold of every device at every moment, whatever happens to it.

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_agent_core::interface::Identity;
use modelfleet_agent_core::saved::{Saved, SavedModel};
use modelfleet_number::chance::Chance;
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::membership::{Clause, Membership, rank};
use modelfleet_protocol::plan::{Order, Plan};
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;

use crate::device::{Deed, Device};
use crate::network::drawn;
use crate::record_laws::{self, Records};

/// A device that has the stable build of its plan answers within this time, milliseconds: loading takes seconds, and a
/// damaged build is found only by trying it.
const ANSWERS_WITHIN_MS: u64 = 10 * 60_000;
/// A device sends no more messages than this in an hour, whatever happens to it: links are paid by the byte.
const PUBLISHED_MAX: usize = 400;
/// A device begins no more downloads of one build in an hour, whatever the store gives.
const FETCHES_MAX: usize = 60;
/// Bytes that nothing speaks of are gone within this time, milliseconds: a loss of power may bring them back, and the next
/// start finds them.
const TIDIED_WITHIN_MS: u64 = 24 * 3_600_000;
/// A device that is on, in contact and well has done what a plan says within this time, milliseconds. Going back needs no
/// download.
const FOLLOWS_WITHIN_MS: u64 = 2 * 3_600_000;
/// What a device has still to do about its record is done within this time, milliseconds: a lost answer of the shell costs ten
/// minutes each.
const SETTLES_WITHIN_MS: u64 = 45 * 60_000;
/// Complete builds that a device keeps for one model: two slots, and one that is being put into one of them.
const BUILDS_MAX: usize = 3;

/// These laws are held so often, milliseconds.
pub const LOOK_MS: u64 = 600_000;

/// What is remembered of a device to hold laws over time.
#[derive(Debug, Default)]
pub struct Watched {
    /// Since when a model has its stable build and does not answer.
    mute_since: BTreeMap<ModelName, Time>,
    /// Since when bytes lie there that nothing speaks of.
    orphan_since: BTreeMap<Digest, Time>,
    /// The order of the newest plan of each model that this run of its process has shown.
    seen: BTreeMap<ModelName, (u64, u64)>,
    /// Candidates that have answered here.
    answered: BTreeSet<(ModelName, Digest)>,
    run: u64,
    on_since: Option<Time>,
    /// What its records have shown.
    pub records: Records,
    /// What a record says that it must not keep saying, and since when.
    unsettled: BTreeMap<(ModelName, String), Time>,
    /// Messages that it sent in this hour.
    published: (u64, usize),
    /// Downloads that it began in this hour, of each build.
    fetches: BTreeMap<Digest, usize>,
}

impl Watched {
    /// Whether its process has run for two hours.
    #[must_use]
    pub fn has_been_on(&self, now: Time) -> bool {
        self.on_since.is_some_and(|since| now.since_ms(since) >= FOLLOWS_WITHIN_MS)
    }

    /// What is remembered of a device that begins with a copy of this one's disk.
    #[must_use]
    pub fn copied(&self) -> Watched {
        Watched { answered: self.answered.clone(), ..Watched::default() }
    }

    /// The device was made to forget what it knew.
    pub fn forgot(&mut self) {
        self.mute_since.clear();
    }

    /// What belongs to one run of its process begins anew with the next.
    fn follow_run(&mut self, device: &Device) {
        if self.run != device.run {
            self.run = device.run;
            self.mute_since.clear();
            self.seen.clear();
            self.on_since = None;
            self.unsettled.clear();
            self.records.restarted();
        }
    }

    /// A device never goes back to an older plan.
    fn goes_on(&mut self, model: &ModelName, seen: &Order) -> Option<String> {
        let (order, before) = ((seen.epoch, seen.revision), self.seen.entry(model.clone()).or_default());
        if order < *before {
            return Some(format!("{model}: went from plan {before:?} back to plan {order:?}"));
        }
        *before = order;
        None
    }

    /// Damages one build on disk.
    pub fn rot_one(&mut self, device: &mut Device, chance: &mut Chance) {
        let (saved, _) = device.disk.read();
        let slots: Vec<Digest> =
            saved.models.values().flat_map(|kept| kept.slots.iter().map(|slot| slot.build.digest)).collect();
        if !slots.is_empty() {
            let at = drawn(chance, slots.len() as u64 - 1) as usize;
            device.disk.rot_build(&slots[at]);
        }
        self.forgot();
    }
}

/// Holds the laws of what a device has just done.
pub fn of_deeds(device: &Device, watched: &mut Watched, deeds: Vec<Deed>, now: Time) -> Option<String> {
    let hour = now.0 / 3_600_000;
    if watched.published.0 != hour {
        watched.published = (hour, 0);
        watched.fetches.clear();
    }
    watched.published.1 += deeds.iter().filter(|deed| **deed == Deed::Publishes).count();
    if watched.published.1 > PUBLISHED_MAX {
        return Some(format!("sent more than {PUBLISHED_MAX} messages in one hour"));
    }
    for deed in &deeds {
        if let Deed::Fetches(digest) = deed {
            let count = watched.fetches.entry(*digest).or_default();
            *count += 1;
            if *count > FETCHES_MAX {
                return Some(format!("began {count} downloads of {digest} in one hour"));
            }
        }
    }
    let restless = deeds.iter().find_map(|deed| match deed {
        Deed::NeverRests(input) => Some(format!("one input leads to another without an end: {input}")),
        _ => None,
    });
    if restless.is_some() {
        return restless;
    }
    watched.follow_run(device);
    let told = |deed: &Deed| matches!(deed, Deed::Serves(_, Some(_)) | Deed::HeardPlan(..));
    let saved = deeds.iter().any(told).then(|| device.saved()).flatten();
    let (deeds, others): (Vec<Deed>, Vec<Deed>) =
        deeds.into_iter().partition(|deed| matches!(deed, Deed::Serves(_, Some(_))));
    let broken = of_records(device, watched, others, saved.as_ref(), now);
    if broken.is_some() {
        return broken;
    }
    let saved = saved?;
    deeds.into_iter().find_map(|deed| {
        let Deed::Serves(model, Some(digest)) = deed else { return None };
        let kept = saved.models.get(&model)?;
        let plan = kept.plan.as_ref()?;
        if digest == forged() {
            return Some(format!("{model}: activated a build that only a forged plan names"));
        }
        if plan.rejected.contains(&digest) {
            return Some(format!("{model}: activated {digest}, which its plan rejects"));
        }
        let good = kept.slots.iter().any(|slot| (slot.proven || slot.stable) && slot.build.digest == digest);
        if good || stable_builds(plan).any(|stable| stable == digest) {
            return None;
        }
        let candidate = plan.candidate.as_ref().filter(|candidate| candidate.build.digest == digest);
        let Identity { device: id, labels, .. } = &device.identity;
        let Some(candidate) = candidate.filter(|candidate| included(&candidate.membership, id, labels))
        else {
            return Some(format!("{model}: activated {digest}, which its plan does not give it"));
        };
        let new = watched.answered.insert((model.clone(), digest));
        (new && !candidate.admit).then(|| format!("{model}: activated {digest}, which its plan holds back"))
    })
}

/// Holds the laws of what a device has written, deleted and heard.
fn of_records(
    device: &Device,
    watched: &mut Watched,
    deeds: Vec<Deed>,
    saved: Option<&Saved>,
    now: Time,
) -> Option<String> {
    let clock = device.clock(now);
    let broken = deeds.into_iter().find_map(|deed| match deed {
        Deed::Writes(record, shown) => watched.records.written(device, &shown, *record, clock),
        Deed::Deletes(digest, sound) => watched.records.deleted(&digest, sound),
        Deed::LoadsBeside(model, digest) => {
            Some(format!("{model}: loads {digest} while the active build is on probation"))
        }
        Deed::HeardPlan(model, ..) => watched.goes_on(&model, &saved?.models.get(&model)?.seen.newest),
        _ => None,
    });
    watched.records.event_ended();
    broken
}

/// The digest that forged plans name.
#[must_use]
pub fn forged() -> Digest {
    Digest::of(b"forged")
}

fn stable_builds(plan: &Plan) -> impl Iterator<Item = Digest> {
    plan.stable_for.iter().map(|own| &own.build).chain(&plan.stable).map(|build| build.digest)
}

/// Whether a device is in, worked out apart from the shipped rule.
#[must_use]
pub fn included(membership: &Membership, id: &DeviceId, labels: &Labels) -> bool {
    let rank = rank(&membership.salt, id);
    let by = |clause: &Clause| {
        let key: Vec<&str> =
            clause.spread_by.iter().map(|label| labels.get(label).map_or("", String::as_str)).collect();
        let own = clause.strata.iter().find(|stratum| stratum.key == key);
        let below = own.map_or(clause.other_below, |stratum| stratum.below);
        let listed = clause.devices.contains(id) || clause.ranks.contains(rank);
        clause.selector.matches(labels) && (rank < below.0 || listed)
    };
    !membership.exclude.contains(id) && membership.clauses.iter().any(by)
}

/// A device that has had a plan for long, and to which nothing happens, runs what the plan gives it. `since`: the broker has
/// held this plan and everything has been well since then.
pub fn follows(device: &Device, watched: &Watched, plan: &Plan, since: Time, now: Time) -> Option<String> {
    let since = since.max(watched.on_since?);
    let build = device.serving.get(&plan.model)?;
    if now.since_ms(since) < FOLLOWS_WITHIN_MS || stable_builds(plan).any(|stable| stable == build.digest) {
        return None;
    }
    // A plan without a stable build takes only what it rejects: a device keeps what it has proven.
    if plan.stable.is_none() && !plan.rejected.contains(&build.digest) {
        return None;
    }
    // After many downloads that failed it tries again after a long pause, and then needs some time anew.
    let pauses = |kept: &SavedModel| {
        kept.attempts.iter().filter(|record| record.attempt.rollout.is_empty()).any(|record| {
            let failure = record.attempt.failure.as_ref().map(|failure| failure.code);
            let under_way = record.attempt.phase < Phase::Activated && record.fetches == 0;
            let again = under_way && device.clock(now).since_ms(record.attempt.since) < FOLLOWS_WITHIN_MS;
            // The store gave nothing, or other bytes.
            let none = [FailureCode::DownloadExhausted, FailureCode::DigestMismatch];
            again || (record.retry_at.is_some() && failure.is_some_and(|code| none.contains(&code)))
        })
    };
    if device.saved()?.models.get(&plan.model).is_some_and(pauses) {
        return None;
    }
    let Identity { device: id, labels, .. } = &device.identity;
    let candidate = plan.candidate.as_ref().filter(|candidate| candidate.build.digest == build.digest);
    let candidate = candidate.filter(|candidate| !plan.rejected.contains(&candidate.build.digest));
    let given = candidate.is_some_and(|candidate| included(&candidate.membership, id, labels));
    (!given).then(|| {
        format!("{} {} answers, hours after a plan that does not give it", plan.model, build.version)
    })
}

/// Holds the laws of how a device is.
pub fn at_rest(device: &Device, watched: &mut Watched, now: Time) -> Option<String> {
    watched.follow_run(device);
    match device.is_on() {
        true => watched.on_since = watched.on_since.or(Some(now)),
        false => watched.on_since = None,
    }
    let orphans = device.orphans();
    watched.orphan_since.retain(|digest, _| orphans.contains(digest));
    for digest in orphans {
        let since = *watched.orphan_since.entry(digest).or_insert(now);
        if now.since_ms(since) > TIDIED_WITHIN_MS {
            return Some(format!("{digest} has been on disk for a day and nothing speaks of it"));
        }
    }
    let saved = device.saved()?;
    let mut unsettled = BTreeMap::new();
    for (model, kept) in &saved.models {
        if let Some(broken) = watched.goes_on(model, &kept.seen.newest) {
            return Some(broken);
        }
        if let Some(said) = record_laws::at_rest(device, kept) {
            let said = (model.clone(), said);
            let since = watched.unsettled.get(&said).copied().unwrap_or(now);
            if now.since_ms(since) > SETTLES_WITHIN_MS {
                return Some(format!("{model}: {}", said.1));
            }
            unsettled.insert(said, since);
        }
        if kept.slots.len() > BUILDS_MAX {
            return Some(format!("{model}: keeps {} builds", kept.slots.len()));
        }
        if device.serving.contains_key(model) || !may_answer(device, kept) {
            watched.mute_since.remove(model);
            continue;
        }
        let since = *watched.mute_since.entry(model.clone()).or_insert(now);
        if now.since_ms(since) > ANSWERS_WITHIN_MS {
            return Some(format!(
                "{model}: has the proven stable build and has not answered for ten minutes"
            ));
        }
    }
    watched.unsettled = unsettled;
    None
}

/// Whether the stable build of its plan is here and proven. One that was a candidate and was taken back does not count, also
/// where nothing rejects it: whoever took it back had a reason.
fn may_answer(device: &Device, kept: &SavedModel) -> bool {
    let Some(stable) = kept.plan.as_ref().and_then(|plan| plan.stable.as_ref()) else { return false };
    let proven = kept.slots.iter().any(|slot| slot.proven && slot.build.digest == stable.digest);
    proven && device.disk.has(&stable.digest)
}
