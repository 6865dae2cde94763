//! Why devices failed, in groups: one for each model, build and failure.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::state::FailureCode;
use modelfleet_protocol::time::Time;

use crate::first_by_id::keep_first;
use crate::fleet::Fleet;
use crate::intern::Number;

/// Most groups that are told; of more, those with the most devices.
pub const GROUPS_MAX: usize = 256;
/// Devices that are named in a group.
const NAMED_MAX: usize = 5;

/// Devices on which a build failed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    /// The model.
    pub model: ModelName,
    /// The build.
    pub digest: Digest,
    /// Why.
    pub failure: FailureCode,
    /// How many devices.
    pub devices: u64,
    /// When it happened last, by a device's clock.
    pub latest: Time,
    /// The first devices by id.
    pub named: Vec<DeviceId>,
}

impl Fleet {
    /// The failures that devices tell of now, those with the most devices first. Looks at all devices.
    #[must_use]
    pub fn failure_groups(&self, model: Option<&ModelName>) -> Vec<FailureGroup> {
        struct Counted {
            devices: u64,
            latest: Time,
            named: Vec<DeviceId>,
        }
        let mut groups: BTreeMap<(Number, Number, FailureCode), Counted> = BTreeMap::new();
        for (_, device) in self.devices.devices() {
            for entry in &device.models {
                let Some(attempt) = entry.attempt else { continue };
                let Some(code) = attempt.code else { continue };
                let group = groups.entry((entry.model, attempt.digest, code)).or_insert(Counted {
                    devices: 0,
                    latest: Time::ZERO,
                    named: Vec::new(),
                });
                group.devices += 1;
                group.latest = group.latest.max(attempt.since);
                keep_first(&mut group.named, NAMED_MAX, &device.id, |id| id, || device.id.clone());
            }
        }
        let told = groups.into_iter().filter_map(|((model, digest, failure), counted)| {
            let (model, digest) = (self.texts.models.get(model)?.clone(), *self.texts.digests.get(digest)?);
            let Counted { devices, latest, named } = counted;
            Some(FailureGroup { model, digest, failure, devices, latest, named })
        });
        let mut told: Vec<FailureGroup> =
            told.filter(|group| model.is_none_or(|model| *model == group.model)).collect();
        told.sort_by(|a, b| b.devices.cmp(&a.devices).then_with(|| a.named.cmp(&b.named)));
        told.truncate(GROUPS_MAX);
        told
    }
}
