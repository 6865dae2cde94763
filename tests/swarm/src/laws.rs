//! What must hold of every device at every moment, whatever happens to it.

use std::collections::BTreeMap;

use modelfleet_agent_core::saved::SavedModel;
use modelfleet_number::chance::Chance;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::time::Time;

use crate::device::{Deed, Device};
use crate::network::drawn;

/// A device that has the stable build of its plan answers within this time, milliseconds: loading takes seconds, and a
/// damaged build is found only by trying it.
const ANSWERS_WITHIN_MS: u64 = 10 * 60_000;
/// A device sends no more messages than this in an hour, whatever happens to it: links are paid by the byte.
const PUBLISHED_MAX: usize = 400;
/// Bytes that nothing speaks of are gone within this time, milliseconds: a loss of power may bring them back, and the next
/// start finds them.
const TIDIED_WITHIN_MS: u64 = 24 * 3_600_000;
/// Complete builds that a device keeps for one model: two slots, and one that is being put into one of them.
const BUILDS_MAX: usize = 3;

/// What is remembered of a device to hold laws over time.
#[derive(Debug, Default)]
pub struct Watched {
    /// Since when a model has its stable build and does not answer.
    mute_since: BTreeMap<ModelName, Time>,
    /// Since when bytes lie there that nothing speaks of.
    orphan_since: BTreeMap<Digest, Time>,
    run: u64,
    /// Messages that it sent in this hour.
    published: (u64, usize),
}

impl Watched {
    /// The device was made to forget what it knew.
    pub fn forgot(&mut self) {
        self.mute_since.clear();
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
    }
    watched.published.1 += deeds.iter().filter(|deed| **deed == Deed::Publishes).count();
    if watched.published.1 > PUBLISHED_MAX {
        return Some(format!("sent more than {PUBLISHED_MAX} messages in one hour"));
    }
    let restless = deeds.iter().find_map(|deed| match deed {
        Deed::NeverRests(input) => Some(format!("one input leads to another without an end: {input}")),
        _ => None,
    });
    if restless.is_some() {
        return restless;
    }
    let activated = |deed: &Deed| matches!(deed, Deed::Serves(_, Some(_)));
    let saved = deeds.iter().any(activated).then(|| device.saved()).flatten()?;
    deeds.into_iter().find_map(|deed| {
        let Deed::Serves(model, Some(digest)) = deed else { return None };
        let kept = saved.models.get(&model)?;
        let plan = kept.plan.as_ref()?;
        plan.rejected
            .contains(&digest)
            .then(|| format!("{model}: activated {digest}, which its plan rejects"))
    })
}

/// Holds the laws of how a device is.
pub fn at_rest(device: &Device, watched: &mut Watched, now: Time) -> Option<String> {
    if watched.run != device.run {
        watched.run = device.run;
        watched.mute_since.clear();
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
    for (model, kept) in &saved.models {
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
    None
}

/// Whether the stable build of its plan is here and proven. One that was a candidate and was taken back does not count, also
/// where nothing rejects it: whoever took it back had a reason.
fn may_answer(device: &Device, kept: &SavedModel) -> bool {
    let Some(stable) = kept.plan.as_ref().and_then(|plan| plan.stable.as_ref()) else { return false };
    let proven = kept.slots.iter().any(|slot| slot.proven && slot.build.digest == stable.digest);
    proven && device.disk.has(&stable.digest)
}
