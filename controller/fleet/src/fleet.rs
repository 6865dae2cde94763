//! A fleet as it is at one moment: its devices, and the report samples of models that are being rolled out.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_protocol::admission;
use modelfleet_protocol::draw::Candidate;
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::plan::Mode;
use modelfleet_protocol::selector::{Labels, Selector};
use modelfleet_protocol::time::Time;

use crate::device::{Device, TextTables};
use crate::intern::{NONE, Number};
use crate::left_out::Omitted;
use crate::merged::Samples;
use crate::shards::{Hashed, IdHash, Shards};
use crate::single_devices::Directed;
use crate::wrong_clocks::WrongClocks;

/// The devices of one namespace as they are at one moment. It costs a few hundred pointers to take and to clone, however
/// many devices there are, and does not change: a decision by it needs no lock.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    pub(crate) devices: Shards,
    pub(crate) texts: TextTables,
    pub(crate) samples: BTreeMap<Number, Arc<Samples>>,
    pub(crate) heard_at: Option<Time>,
    pub(crate) complete_since: Option<Time>,
    pub(crate) removed: u64,
    pub(crate) directed: Directed,
}

impl Fleet {
    /// How many devices there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there is no device.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// The devices that are left out.
    #[must_use]
    pub fn omitted(&self) -> Omitted {
        Omitted::of(self.devices.shards().map(|shard| &shard.left_out))
    }

    /// The devices whose clocks are wrong.
    #[must_use]
    pub fn wrong_clocks(&self) -> WrongClocks {
        WrongClocks::of(self.devices.shards().map(|shard| &shard.clocks))
    }

    /// The report samples of a model that is being rolled out.
    #[must_use]
    pub fn samples(&self, model: &ModelName) -> Option<&Samples> {
        self.samples.get(&self.texts.models.find(model)?).map(AsRef::as_ref)
    }

    /// Whether any device runs some build of a model. Looks at all devices where none does.
    #[must_use]
    pub fn uses(&self, model: &ModelName) -> bool {
        let Some(number) = self.texts.models.find(model) else { return false };
        self.devices.devices().any(|(_, d)| d.model(number).is_some_and(|m| m.running != NONE))
    }

    /// Epoch and revision of the plan of a model that most devices say they took, of several the latest; `None`: no device
    /// says that it took one. Looks at all devices.
    #[must_use]
    pub fn plan_told(&self, model: &ModelName) -> Option<(u64, u64)> {
        let model = self.texts.models.find(model)?;
        let mut counts: BTreeMap<Number, u64> = BTreeMap::new();
        for told in self.devices.devices().filter_map(|(_, device)| device.model(model)) {
            *counts.entry(told.plan).or_default() += 1;
        }
        let numbers = |(plan, count)| self.texts.plans.get(plan).map(|numbers| (count, *numbers));
        let told = counts.into_iter().filter_map(numbers).filter(|(_, numbers)| *numbers != (0, 0));
        told.max().map(|(_, numbers)| numbers)
    }

    /// Since when all that its devices had retained when we connected is there; `None`: not yet.
    #[must_use]
    pub fn complete_since(&self) -> Option<Time> {
        self.complete_since
    }

    /// Devices that were removed since we connected, by clearing their state.
    #[must_use]
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// When any device was last heard; `None` before the first.
    #[must_use]
    pub fn heard_at(&self) -> Option<Time> {
        self.heard_at
    }

    /// The devices that run a model by an order of their own and not by its plan, ordered by the hashes of their ids: a walk
    /// over a million devices must not compare each id with thousands of others.
    pub(crate) fn directed(&self, model: &ModelName) -> Vec<(IdHash, &DeviceId)> {
        let of_model = self.directed.iter().filter(|(_, models)| models.contains(model));
        let mut all: Vec<(IdHash, &DeviceId)> =
            of_model.map(|(device, _)| (Hashed::of(device).number(), device)).collect();
        all.sort_unstable();
        all
    }

    /// What is known of one device: the models that its state names, each with the digest that answers; `None`: nothing.
    #[must_use]
    pub fn device_models(&self, device: &DeviceId) -> Option<Vec<(ModelName, Option<Digest>)>> {
        let device = self.devices.get(Hashed::of(device)).filter(|device| device.labels != NONE)?;
        let of = |entry: &crate::device::DeviceModel| {
            let running = self.texts.digests.get(entry.running).copied();
            Some((self.texts.models.get(entry.model)?.clone(), running))
        };
        Some(device.models.iter().filter_map(of).collect())
    }

    /// The devices of which `selector` and `build` leave a stage to draw: those that can run it, as far as they say. When
    /// none can, all of them, so that some try and tell why not. The mode changes nothing in this.
    #[must_use]
    pub fn drawable(&self, selector: &Selector, build: &ModelBuild) -> Vec<Candidate<'_>> {
        let mut known: BTreeMap<(Number, Number), bool> = BTreeMap::new();
        let mut able = |device: &Device| {
            *known.entry((device.labels, device.capabilities)).or_insert_with(|| {
                let (labels, can) =
                    (self.texts.labels.get(device.labels), self.texts.capabilities.get(device.capabilities));
                labels
                    .zip(can)
                    .is_some_and(|(labels, can)| admission::check(labels, can, build, Mode::Live).is_ok())
            })
        };
        let matches = self.matching(selector);
        let directed = self.directed(&build.model);
        let matching = self.devices.devices().filter_map(|(number, device)| {
            if directed.binary_search(&(number, &device.id)).is_ok() {
                return None;
            }
            matches.get(device.labels as usize).filter(|matches| **matches)?;
            let labels = self.texts.labels.get(device.labels)?;
            let reachable = device.presence.is_some_and(|p| p.online);
            Some((Candidate { id: &device.id, labels, reachable }, able(device)))
        });
        let matching: Vec<_> = matching.collect();
        let any = matching.iter().any(|(_, able)| *able);
        matching.into_iter().filter(|(_, able)| *able || !any).map(|(candidate, _)| candidate).collect()
    }

    /// How many devices have labels that a selector matches. Looks at label sets, not at devices.
    #[must_use]
    pub fn selected(&self, selector: &Selector) -> u64 {
        let matching = self.texts.labels.iter().filter(|(_, labels, _)| selector.matches(labels));
        matching.map(|(_, _, holders)| u64::from(holders)).sum()
    }

    /// By number of the label set: whether a selector matches it.
    pub(crate) fn matching(&self, selector: &Selector) -> Vec<bool> {
        let mut matching = vec![false; self.texts.labels.table_len()];
        for (number, labels, _) in self.texts.labels.iter() {
            matching[number as usize] = selector.matches(labels);
        }
        matching
    }

    /// The labels of every known device that has told them, with its id.
    pub fn labelled(&self) -> impl Iterator<Item = (&DeviceId, &Labels, bool)> {
        self.devices.devices().filter_map(|(_, device)| {
            let labels = self.texts.labels.get(device.labels)?;
            Some((&device.id, labels, device.presence.is_some_and(|p| p.online)))
        })
    }

    /// The labels of a number that a [`crate::view::Subject`] has.
    #[must_use]
    pub fn labels_numbered(&self, number: Number) -> Option<&Labels> {
        self.texts.labels.get(number)
    }
}
