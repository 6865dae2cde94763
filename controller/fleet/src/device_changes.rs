//! What devices said last that was news, for people who ask what happened on a device. It is kept for the newest changes of a
//! fleet alone, in memory: nothing is decided by it.

use std::collections::VecDeque;

use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;

use crate::device::{Device, Texts};
use crate::intern::NONE;

/// Changes of a fleet that are kept; older ones are forgotten.
pub const CHANGES_MAX: usize = 16_384;
/// Most changes that are told of one device.
const OF_DEVICE_MAX: usize = 64;

/// A model on a device is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChange {
    /// The device.
    pub device: DeviceId,
    /// The model.
    pub model: ModelName,
    /// When the controller heard of it.
    pub heard: Time,
    /// The build that answers now; `None`: none does.
    pub running: Option<Digest>,
    /// The build that answered before.
    pub before: Option<Digest>,
    /// Where the device stands with a rollout: name of the attempt, phase, and why it failed, if it did.
    pub attempt: Option<(String, Phase, Option<FailureCode>)>,
}

/// The newest changes of a fleet.
#[derive(Clone, Debug, Default)]
pub struct DeviceChanges(VecDeque<DeviceChange>);

/// What a device said of its models before: in words, because a newer state may give their numbers to others.
pub(crate) struct Before(Vec<Told>);

/// What a device said of one model.
struct Told {
    model: ModelName,
    running: Option<Digest>,
    attempt: Option<(Option<Digest>, Phase, Option<FailureCode>, Time)>,
}

impl Before {
    /// What a device has told so far; `None`: nothing yet, and what it says first is no change.
    pub(crate) fn of(device: &Device, texts: &Texts) -> Option<Before> {
        (device.labels != NONE).then(|| Before(told(device, texts)))
    }
}

fn told(device: &Device, texts: &Texts) -> Vec<Told> {
    let digest = |number| texts.digests.table().get(number).copied();
    let of = |entry: &crate::device::DeviceModel| {
        Some(Told {
            model: texts.models.table().get(entry.model)?.clone(),
            running: digest(entry.running),
            attempt: entry.attempt.map(|of| (digest(of.digest), of.phase, of.code, of.since)),
        })
    };
    device.models.iter().filter_map(of).collect()
}

impl DeviceChanges {
    /// Notes what a newer state has changed on a device.
    pub(crate) fn note(&mut self, before: &Before, after: &Device, texts: &Texts, heard: Time) {
        for now in told(after, texts) {
            let old = before.0.iter().find(|old| old.model == now.model);
            if old.is_some_and(|old| (old.running, old.attempt) == (now.running, now.attempt)) {
                continue;
            }
            let number = texts.models.find(&now.model);
            let attempt = number.and_then(|number| after.model(number)?.attempt);
            self.push(DeviceChange {
                device: after.id.clone(),
                model: now.model,
                heard,
                running: now.running,
                before: old.and_then(|old| old.running),
                attempt: attempt.map(|attempt| {
                    let rollout = texts.rollouts.table().get(attempt.rollout).cloned().unwrap_or_default();
                    (rollout, attempt.phase, attempt.code)
                }),
            });
        }
    }

    fn push(&mut self, change: DeviceChange) {
        if self.0.len() >= CHANGES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    /// The changes of one device, the newest first, at most 64.
    #[must_use]
    pub fn of(&self, device: &DeviceId) -> Vec<DeviceChange> {
        let own = self.0.iter().rev().filter(|change| change.device == *device);
        own.take(OF_DEVICE_MAX).cloned().collect()
    }
}
