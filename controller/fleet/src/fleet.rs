//! The devices of one namespace.

use std::collections::BTreeMap;

use modelfleet_evidence::SAMPLE_MAX;
use modelfleet_protocol::admission;
use modelfleet_protocol::draw::Candidate;
use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::plan::Mode;
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::selector::{Labels, Selector};
use modelfleet_protocol::state::DeviceState;
use modelfleet_protocol::time::Time;

use crate::device::{Device, Texts, is_newer};
use crate::intern::{NONE, Number};
use crate::left_out::{LeftOut, Omitted};
use crate::merged::{ENDED_SAMPLE_MAX, Samples};
use crate::windows::Counting;

/// The devices of one namespace, and the report samples of models that are being rolled out.
#[derive(Debug, Default)]
pub struct Fleet {
    /// Boxed, because a tree's nodes are a third empty.
    pub(super) devices: BTreeMap<DeviceId, Box<Device>>,
    pub(super) texts: Texts,
    pub(super) samples: BTreeMap<Number, Samples>,
    left_out: LeftOut,
    heard_at: Option<Time>,
    /// Since when all that its devices had retained when we subscribed has arrived.
    pub(super) complete_since: Option<Time>,
}

impl Fleet {
    /// Whether anything of a device is known.
    #[must_use]
    pub fn knows(&self, device: &DeviceId) -> bool {
        self.devices.contains_key(device)
    }

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

    pub(super) fn add(&mut self, device: DeviceId) {
        self.devices.insert(device, Box::new(Device::unknown()));
    }

    pub(super) fn remove(&mut self, device: &DeviceId) -> bool {
        let Some(mut gone) = self.devices.remove(device) else { return false };
        gone.release(&mut self.texts);
        self.left_out.forget(device);
        self.samples.values_mut().for_each(|samples| samples.remove(device));
        true
    }

    pub(super) fn take_state(&mut self, device: &DeviceId, state: DeviceState) -> bool {
        let Some(entry) = self.devices.get_mut(device) else { return false };
        let kept = (entry.labels != NONE).then_some(entry.state);
        if !is_newer((state.sequence, state.at), kept) {
            return false;
        }
        entry.take_state(state, &mut self.texts);
        self.left_out.forget(device);
        true
    }

    /// Whether a device has told its labels.
    pub(super) fn has_told(&self, device: &DeviceId) -> bool {
        self.devices.get(device).is_some_and(|entry| entry.labels != NONE)
    }

    /// Leaves a device out until it tells a state that can be taken.
    pub(super) fn leave_out(&mut self, device: &DeviceId, reason: &str) -> bool {
        let Some(entry) = self.devices.get_mut(device) else { return false };
        let told = entry.forget_labels(&mut self.texts);
        self.left_out.note(device, reason) || told
    }

    /// The devices that are left out.
    #[must_use]
    pub fn omitted(&self) -> Omitted {
        self.left_out.omitted()
    }

    pub(super) fn take_presence(&mut self, device: &DeviceId, presence: Presence) -> bool {
        let Some(entry) = self.devices.get_mut(device) else { return false };
        // As with states: a wiped device counts its connects from one again, but its clock has gone on.
        let wiped = |seen: &Presence| presence.connection < seen.connection && presence.since > seen.since;
        if entry.presence.as_ref().is_some_and(|seen| !presence.replaces(seen) && !wiped(seen)) {
            return false;
        }
        entry.presence = Some(presence);
        true
    }

    pub(super) fn take_report(
        &mut self,
        device: &DeviceId,
        model: &ModelName,
        report: &Report,
        heard: Time,
    ) -> Result<bool, String> {
        let Some(entry) = self.devices.get_mut(device) else { return Ok(false) };
        let entry = entry.reported_mut(model, &mut self.texts).ok_or("the device reports too many models")?;
        let number = entry.model;
        let order = (report.sequence, Time(report.sent_at_ms));
        if !is_newer(order, entry.report.as_ref().map(|kept| kept.order)) {
            return Ok(false);
        }
        entry.take_report(report, heard, &mut self.texts);
        if let Some(samples) = self.samples.get_mut(&number) {
            samples.take(device, report);
        }
        Ok(true)
    }

    /// Keeps report samples for a rollout of `model`; those of another candidate or way of counting go.
    pub fn watch(&mut self, model: &ModelName, candidate: Digest, counting: Counting) {
        let watched = self.texts.models.find(model).filter(|number| self.samples.contains_key(number));
        let number = watched.unwrap_or_else(|| self.texts.models.hold(model.clone()));
        if !self.samples.get(&number).is_some_and(|samples| samples.are_of(&candidate, counting)) {
            self.samples.insert(number, Samples::new(candidate, counting));
        }
        if let Some(samples) = self.samples.get_mut(&number) {
            samples.bound(SAMPLE_MAX);
        }
    }

    /// The same with fewer devices, for a rollout that has succeeded.
    pub fn watch_on(&mut self, model: &ModelName, candidate: Digest, counting: Counting) {
        self.watch(model, candidate, counting);
        let number = self.texts.models.find(model);
        if let Some(samples) = number.and_then(|number| self.samples.get_mut(&number)) {
            samples.bound(ENDED_SAMPLE_MAX);
        }
    }

    /// Keeps no report samples for `model` any more.
    pub fn unwatch(&mut self, model: &ModelName) {
        if let Some(number) = self.texts.models.find(model)
            && self.samples.remove(&number).is_some()
        {
            self.texts.models.release(number);
        }
    }

    /// Nobody manages a model any more: what devices reported about it goes. What their states say of it stays theirs.
    pub(super) fn forget_model(&mut self, model: &ModelName) {
        self.unwatch(model);
        let Some(number) = self.texts.models.find(model) else { return };
        self.devices.values_mut().for_each(|device| device.forget_report(number, &mut self.texts));
    }

    /// Whether a device's own state names a model.
    #[must_use]
    pub fn names(&self, device: &DeviceId, model: &ModelName) -> bool {
        let Some(number) = self.texts.models.find(model) else { return false };
        self.devices.get(device).and_then(|d| d.model(number)).is_some_and(|entry| entry.is_stated())
    }

    /// The report samples of a model that is being rolled out.
    #[must_use]
    pub fn samples(&self, model: &ModelName) -> Option<&Samples> {
        self.samples.get(&self.texts.models.find(model)?)
    }

    /// Whether any device runs some build of a model.
    #[must_use]
    pub fn uses(&self, model: &ModelName) -> bool {
        let Some(number) = self.texts.models.find(model) else { return false };
        self.devices.values().any(|d| d.model(number).is_some_and(|m| m.running != NONE))
    }

    /// Since when all that its devices had retained when we connected is there; `None`: not yet.
    #[must_use]
    pub fn complete_since(&self) -> Option<Time> {
        self.complete_since
    }

    /// When any device was last heard; `None` before the first.
    #[must_use]
    pub fn heard_at(&self) -> Option<Time> {
        self.heard_at
    }

    pub(super) fn note_heard(&mut self, at: Time) {
        self.heard_at = self.heard_at.max(Some(at));
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
        let matching = self.devices.iter().filter_map(|(id, device)| {
            let labels = self.texts.labels.get(device.labels).filter(|labels| selector.matches(labels))?;
            let reachable = device.presence.is_some_and(|p| p.online);
            Some((Candidate { id, labels, reachable }, able(device)))
        });
        let matching: Vec<_> = matching.collect();
        let any = matching.iter().any(|(_, able)| *able);
        matching.into_iter().filter(|(_, able)| *able || !any).map(|(candidate, _)| candidate).collect()
    }

    /// The labels of every known device that has told them, with its id.
    pub fn labelled(&self) -> impl Iterator<Item = (&DeviceId, &Labels, bool)> {
        self.devices.iter().filter_map(|(id, device)| {
            let labels = self.texts.labels.get(device.labels)?;
            Some((id, labels, device.presence.is_some_and(|p| p.online)))
        })
    }
}
