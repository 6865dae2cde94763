//! What the devices of one namespace say, folded. No IO and no clock.
//!
//! A message changes what is known of its own device only. The newest wins, so that lost, repeated, re-ordered and late
//! messages change nothing; what cannot be read is told and harms no other device.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_evidence::SAMPLE_MAX;
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName, Namespace};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::report;
use modelfleet_protocol::state::{DeviceState, StateError};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::Channel;

use crate::arrivals::Arrived;
use crate::clones::{self, Start};
use crate::device::{Device, Texts, is_newer};
use crate::device_changes::{Before, DeviceChange, DeviceChanges};
use crate::enrolment::{Enrolment, Standing};
use crate::fleet::Fleet;
use crate::future_windows;
use crate::heard_live::{HeardLive, Said};
use crate::intern::{NONE, Number};
use crate::managed::{Gone, Managed, Source};
use crate::merged::{ENDED_SAMPLE_MAX, Samples};
use crate::room::Room;
use crate::shards::{Hashed, Shards};
use crate::single_devices::SingleDevices;
use crate::windows::Counting;
use crate::wrong_clocks::Offset;

/// Most bytes of a presence message.
const PRESENCE_BYTES_MAX: usize = 1024;

/// The devices of one namespace as they are heard, and the models of theirs that are managed. What is decided is decided by
/// a copy: [`FleetIndex::fleet`].
#[derive(Debug)]
pub struct FleetIndex {
    namespace: Namespace,
    managed: Managed,
    devices: Shards,
    texts: Texts,
    samples: BTreeMap<Number, Arc<Samples>>,
    heard_at: Option<Time>,
    /// Since when all that its devices had retained when we subscribed has arrived.
    complete_since: Option<Time>,
    /// Devices whose state was cleared since we connected.
    removed: u64,
    live: HeardLive,
    room: Arc<Room>,
    fleet_max: usize,
    enrolment: Enrolment,
    single: SingleDevices,
    changes: DeviceChanges,
}

/// What a message changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: older than what is known, unreadable, or about what is not managed.
    Nothing,
    /// What is known of one model.
    Model(ModelName),
    /// What is known of a whole device.
    Device,
    /// The same, and it tells of a failure that speaks against a build of these models, which it did not tell before.
    Failure(Vec<ModelName>),
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// What it changed.
    pub change: Change,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
    /// The windows of a report that were not known before.
    pub arrived: Option<Box<Arrived>>,
}

impl Folded {
    fn good(change: Change) -> Folded {
        Folded { change, problem: None, arrived: None }
    }
}

impl Drop for FleetIndex {
    fn drop(&mut self) {
        self.room.give_back(self.devices.len());
    }
}

impl FleetIndex {
    /// A fleet without models. Its devices take places of `room`, at most `fleet_max` of them.
    #[must_use]
    pub fn new(namespace: Namespace, room: Arc<Room>, fleet_max: usize) -> FleetIndex {
        FleetIndex {
            namespace,
            managed: Managed::default(),
            devices: Shards::default(),
            texts: Texts::default(),
            samples: BTreeMap::new(),
            heard_at: None,
            complete_since: None,
            removed: 0,
            live: HeardLive::default(),
            room,
            fleet_max,
            enrolment: Enrolment::default(),
            single: SingleDevices::default(),
            changes: DeviceChanges::default(),
        }
    }

    /// The devices that have an order of their own.
    #[must_use]
    pub fn single(&self) -> &SingleDevices {
        &self.single
    }

    /// The same, to change.
    pub fn single_mut(&mut self) -> &mut SingleDevices {
        &mut self.single
    }

    /// A device is gone for good: nothing of it counts any more, whatever it says. Returns whether it was known.
    pub fn retire(&mut self, device: &DeviceId, cleared_at: Option<Time>) -> bool {
        self.single.retire(device, cleared_at);
        self.single.note_told(device, None);
        self.remove(Hashed::of(device)) != Change::Nothing
    }

    /// The same, with labels that an enrolment key vouches for.
    #[must_use]
    pub fn enrolling(mut self, enrolment: Enrolment) -> FleetIndex {
        self.enrolment = enrolment;
        self
    }

    /// The fleet as it is now. It costs a few hundred pointers.
    #[must_use]
    pub fn fleet(&self) -> Fleet {
        Fleet {
            devices: self.devices.clone(),
            texts: self.texts.tables(),
            samples: self.samples.clone(),
            heard_at: self.heard_at,
            complete_since: self.complete_since,
            removed: self.removed,
            directed: Arc::clone(self.single.directed()),
        }
    }

    /// What was news of a device since we connected, the newest first, as far as it is kept.
    #[must_use]
    pub fn changes_of(&self, device: &DeviceId) -> Vec<DeviceChange> {
        self.changes.of(device)
    }

    /// The models that are managed.
    #[must_use]
    pub fn managed(&self) -> &Managed {
        &self.managed
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

    /// `source` names a model. Returns whether the fleet is new: then what its devices have retained is still to be heard.
    pub fn note(&mut self, model: &ModelName, source: Source) -> bool {
        let fresh = self.managed.is_empty();
        self.managed.note(model, source);
        fresh
    }

    /// `source` names a model no more. What nothing names is let go; returns whether that is the whole fleet.
    pub fn forget(&mut self, model: &ModelName, source: &Source) -> bool {
        match self.managed.forget(model, source) {
            Gone::Nothing => false,
            Gone::Model => {
                self.forget_model(model);
                false
            }
            Gone::Fleet => {
                let fresh = FleetIndex::new(self.namespace.clone(), Arc::clone(&self.room), self.fleet_max);
                let single = std::mem::take(&mut self.single);
                *self = fresh.enrolling(self.enrolment.clone());
                self.single = single;
                true
            }
        }
    }

    /// All that its devices had retained has arrived.
    pub fn complete(&mut self, now: Time) {
        self.complete_since = Some(now);
    }

    /// Since when all that its devices had retained is there; `None`: not yet.
    #[must_use]
    pub fn complete_since(&self) -> Option<Time> {
        self.complete_since
    }

    /// More of what its devices had retained has arrived after it counted as complete, and more may follow.
    pub fn unsettle(&mut self) {
        self.complete_since = None;
    }

    /// The connection is new: nothing that devices have retained counts as heard.
    pub fn reconnect(&mut self) {
        self.single.reconnect();
        self.live.reconnect();
        (self.complete_since, self.removed) = (None, 0);
    }

    /// Folds a device's message. `retained`: it lay at the broker before we connected. Plans and overrides are not for the
    /// index and change nothing, and neither does a message about a model that is not managed.
    pub fn fold(&mut self, channel: &Channel, payload: &[u8], retained: bool, now: Time) -> Folded {
        match self.try_fold(channel, payload, retained, now) {
            Ok(folded) => folded,
            Err(problem) => Folded { change: Change::Nothing, problem: Some(problem), arrived: None },
        }
    }

    fn try_fold(
        &mut self,
        channel: &Channel,
        payload: &[u8],
        retained: bool,
        now: Time,
    ) -> Result<Folded, String> {
        if self.managed.is_empty() {
            return Ok(Folded::good(Change::Nothing));
        }
        if !payload.is_empty() && self.is_of_retired(channel, payload, retained, now) {
            return Ok(Folded::good(Change::Nothing));
        }
        match channel {
            Channel::Plan(_) | Channel::Override(_) | Channel::HeldPlan(..) | Channel::Trust => {
                Ok(Folded::good(Change::Nothing))
            }
            Channel::State(device) if payload.is_empty() => Ok(Folded::good(self.remove(Hashed::of(device)))),
            Channel::State(device) => match DeviceState::from_json(device, payload) {
                Ok(state) => self.fold_state(Hashed::of(device), state, retained, now),
                Err(error) => {
                    let beyond = matches!(error, StateError::Content(_) | StateError::Label(_));
                    self.leave_out(Hashed::of(device), with_causes(&error), beyond)
                }
            },
            Channel::Presence(_) | Channel::Report(..) if payload.is_empty() => {
                Ok(Folded::good(Change::Nothing))
            }
            Channel::Presence(device) => {
                if payload.len() > PRESENCE_BYTES_MAX {
                    return Err(format!(
                        "presence has {} bytes, at most {PRESENCE_BYTES_MAX} are allowed",
                        payload.len()
                    ));
                }
                let presence: Presence =
                    serde_json::from_slice(payload).map_err(|e| format!("presence cannot be read: {e}"))?;
                self.fold_presence(Hashed::of(device), presence, retained, now)
            }
            Channel::Report(device, model) => {
                self.fold_report(Hashed::of(device), model, payload, retained, now)
            }
        }
    }

    /// Whether a message is of a device that is retired: then it counts nowhere, and only that it came is noted.
    fn is_of_retired(&mut self, channel: &Channel, payload: &[u8], retained: bool, now: Time) -> bool {
        let (Channel::Presence(device) | Channel::State(device) | Channel::Report(device, _)) = channel
        else {
            return false;
        };
        if self.single.retired(device).is_none() {
            return false;
        }
        let (at, speaks) = match channel {
            Channel::State(_) => {
                DeviceState::from_json(device, payload).map_or((Time::ZERO, false), |s| (s.at, true))
            }
            Channel::Presence(_) => serde_json::from_slice::<Presence>(payload)
                .map_or((Time::ZERO, false), |presence| (presence.since, presence.online)),
            // What lies at the broker is as old as it says.
            Channel::Report(_, model) if retained => report::read(&self.namespace, device, model, payload)
                .map_or((Time::ZERO, false), |report| (Time(report.sent_at_ms), true)),
            _ => (now, true),
        };
        // What comes now was said now, whatever the device's clock says.
        let at = if retained { at } else { at.max(now) };
        self.single.note_heard(device, at, speaks)
    }

    fn fold_presence(
        &mut self,
        device: Hashed<'_>,
        presence: Presence,
        retained: bool,
        now: Time,
    ) -> Result<Folded, String> {
        self.admit(device)?;
        let before = self.devices.get(device).and_then(|entry| entry.presence);
        let kept = before.map(|before| before.since);
        if retained && self.live.outdates(device, Said::Presence, kept, presence.since) {
            return Ok(Folded::good(Change::Nothing));
        }
        // As a rule a device connects with the start that is known, and no shard is copied for it.
        let known = self.devices.shard(device).clones.remembers(device.id);
        let another = before.is_none_or(|before| before.instance != presence.instance);
        let fresh = presence.online && (known || another);
        if fresh {
            self.devices.shard_mut(device).clones.note(
                device.id,
                before.map(Start::from),
                presence.into(),
                now,
            );
        }
        let changed = self.take_presence(device, presence);
        if changed && !retained {
            self.live.note(device, Said::Presence);
        }
        if fresh && self.devices.shard(device).clones.has(device.id, now) {
            return self.leave_out(device, clones::TOLD.to_owned(), true);
        }
        Ok(Folded::good(if changed { Change::Device } else { Change::Nothing }))
    }

    fn fold_report(
        &mut self,
        device: Hashed<'_>,
        model: &ModelName,
        payload: &[u8],
        retained: bool,
        now: Time,
    ) -> Result<Folded, String> {
        if !self.managed.has(model) && !self.names(device, model) {
            return Ok(Folded::good(Change::Nothing));
        }
        let mut report =
            report::read(&self.namespace, device.id, model, payload).map_err(|e| with_causes(&e))?;
        let ahead = future_windows::take_out(&mut report, now);
        let heard = if retained { now.min(Time(report.sent_at_ms)) } else { now };
        self.admit(device)?;
        self.note_heard(heard);
        // What lay at the broker before we connected was counted when it came, by this process or the one before.
        let arrived = Arrived::of(&report, self.reported_end(device, model)).map(Box::new);
        let changed = self.take_report(device, model, &report, heard)?;
        let most = modelfleet_evidence::AHEAD_MAX;
        let problem = (ahead > 0).then(|| {
            format!(
                "{ahead} windows are more than {most} windows ahead of the controller's clock and do not count yet; check \
                 the device's clock"
            )
        });
        let change = if changed { Change::Model(model.clone()) } else { Change::Nothing };
        Ok(Folded { change, problem, arrived: arrived.filter(|_| changed && !retained) })
    }

    fn fold_state(
        &mut self,
        device: Hashed<'_>,
        mut state: DeviceState,
        retained: bool,
        now: Time,
    ) -> Result<Folded, String> {
        if self.devices.shard(device).clones.has(device.id, now) {
            return self.leave_out(device, clones::TOLD.to_owned(), true);
        }
        let problem = match self.enrolment.vouch(&self.namespace, &mut state, now) {
            Standing::LeftOut(reason) => return self.leave_out(device, reason, true),
            Standing::Claimed(problem) => problem,
            Standing::Vouched => None,
        };
        self.admit(device)?;
        let kept = self.devices.get(device).filter(|entry| entry.labels != NONE).map(|entry| entry.state.1);
        if retained && self.live.outdates(device, Said::State, kept, state.at) {
            return Ok(Folded { change: Change::Nothing, problem, arrived: None });
        }
        self.note_heard(if retained { now.min(state.at) } else { now });
        self.single.note_told(device.id, state.overridden.take());
        // What lay at the broker says what the clock was like when it was sent.
        if !retained {
            self.note_clock(device, Offset::of(state.at, now));
        }
        // What lay at the broker may have changed long ago.
        let before = self.devices.get(device).filter(|_| !retained);
        let before = before.and_then(|entry| Before::of(entry, &self.texts));
        let change = self.take_state(device, state);
        if !retained && change != Change::Nothing {
            self.live.note(device, Said::State);
        }
        if let (Some(before), Some(after)) = (before, self.devices.get(device)) {
            self.changes.note(&before, after, &self.texts, now);
        }
        Ok(Folded { change, problem, arrived: None })
    }

    /// A state that cannot be taken. One that is `beyond` what may be makes the one before worthless: by which labels the
    /// device is drawn is not known any more. What cannot be read at all says nothing, and the one before stays.
    fn leave_out(&mut self, device: Hashed<'_>, reason: String, beyond: bool) -> Result<Folded, String> {
        let told = self.devices.get(device).is_some_and(|entry| entry.labels != NONE);
        if told && !beyond {
            return Err(reason);
        }
        // Where there is no room for it, what is wrong with its state is what is told.
        if self.admit(device).is_err() {
            return Err(reason);
        }
        let known = self.devices.get_mut(device).is_some_and(|entry| entry.forget_labels(&mut self.texts));
        let news = self.devices.shard_mut(device).left_out.note(device.id, &reason);
        let change = if known || news { Change::Device } else { Change::Nothing };
        Ok(Folded { change, problem: Some(reason), arrived: None })
    }

    fn admit(&mut self, device: Hashed<'_>) -> Result<(), String> {
        if self.devices.get(device).is_some() {
            return Ok(());
        }
        if self.devices.len() >= self.fleet_max {
            return Err(format!(
                "the limit of {} devices of a namespace is reached; raise --fleet-devices-max",
                self.fleet_max
            ));
        }
        if !self.room.take() {
            return Err(format!("the limit of {} devices is reached; raise --devices-max", self.room.max));
        }
        self.devices.add(device);
        Ok(())
    }

    fn remove(&mut self, device: Hashed<'_>) -> Change {
        let Some(gone) = self.devices.remove(device) else { return Change::Nothing };
        self.removed = self.removed.saturating_add(u64::from(gone.labels != NONE));
        gone.release(&mut self.texts);
        self.room.give_back(1);
        self.samples.values_mut().for_each(|samples| Samples::remove(samples, device.id));
        Change::Device
    }

    fn take_state(&mut self, device: Hashed<'_>, state: DeviceState) -> Change {
        let Some(entry) = self.devices.get(device) else { return Change::Nothing };
        let kept = (entry.labels != NONE).then_some(entry.state);
        if !is_newer((state.sequence, state.at), kept) {
            return Change::Nothing;
        }
        let failed_before = entry.failures();
        let Some(entry) = self.devices.get_mut(device) else { return Change::Nothing };
        entry.take_state(state, &mut self.texts);
        let mut failed = entry.failures();
        failed.retain(|failure| !failed_before.contains(failure));
        if self.devices.shard(device).left_out.has(device.id) {
            self.devices.shard_mut(device).left_out.forget(device.id);
        }
        if failed.is_empty() {
            return Change::Device;
        }
        Change::Failure(
            failed.iter().filter_map(|(model, _)| self.texts.models.get(*model).cloned()).collect(),
        )
    }

    fn take_presence(&mut self, device: Hashed<'_>, presence: Presence) -> bool {
        let Some(entry) = self.devices.get(device) else { return false };
        // As with states: a wiped device counts its connects from one again, but its clock has gone on.
        let wiped = |seen: &Presence| presence.connection < seen.connection && presence.since > seen.since;
        if entry.presence.as_ref().is_some_and(|seen| !presence.replaces(seen) && !wiped(seen)) {
            return false;
        }
        if let Some(entry) = self.devices.get_mut(device) {
            entry.presence = Some(presence);
        }
        true
    }

    /// One past the last window that a device has reported of a model.
    fn reported_end(&self, device: Hashed<'_>, model: &ModelName) -> u64 {
        let number = self.texts.models.find(model);
        let kept = number.zip(self.devices.get(device)).and_then(|(number, entry)| entry.model(number));
        kept.and_then(|kept| kept.report.as_ref()).map_or(0, |report| report.windows.end())
    }

    fn take_report(
        &mut self,
        device: Hashed<'_>,
        model: &ModelName,
        report: &Report,
        heard: Time,
    ) -> Result<bool, String> {
        let order = (report.sequence, Time(report.sent_at_ms));
        let number = self.texts.models.find(model);
        let Some(entry) = self.devices.get(device) else { return Ok(false) };
        let kept = number.and_then(|number| entry.model(number)?.report.as_ref());
        if !is_newer(order, kept.map(|kept| kept.order)) {
            return Ok(false);
        }
        if !entry.has_room(number) {
            return Err("the device reports too many models".to_owned());
        }
        let Some(entry) = self.devices.get_mut(device) else { return Ok(false) };
        let entry = entry.model_mut(model, &mut self.texts);
        entry.take_report(report, heard, &mut self.texts);
        let number = entry.model;
        if let Some(samples) = self.samples.get_mut(&number) {
            Samples::take(samples, device.id, report);
        }
        Ok(true)
    }

    fn note_clock(&mut self, device: Hashed<'_>, offset: Option<Offset>) {
        // As a rule a clock is right and was, and no shard is copied for it.
        if offset.is_some() || self.devices.shard(device).clocks.has(device.id) {
            self.devices.shard_mut(device).clocks.note(device.id, offset);
        }
    }

    fn note_heard(&mut self, at: Time) {
        self.heard_at = self.heard_at.max(Some(at));
    }

    /// Keeps report samples for a rollout of `model`; those of another candidate or way of counting go.
    pub fn watch(&mut self, model: &ModelName, candidate: Digest, counting: Counting) {
        self.keep_samples(model, candidate, counting, SAMPLE_MAX);
    }

    /// The same with fewer devices, for a rollout that has succeeded.
    pub fn watch_on(&mut self, model: &ModelName, candidate: Digest, counting: Counting) {
        self.keep_samples(model, candidate, counting, ENDED_SAMPLE_MAX);
    }

    fn keep_samples(&mut self, model: &ModelName, candidate: Digest, counting: Counting, most: usize) {
        let watched = self.texts.models.find(model).filter(|number| self.samples.contains_key(number));
        let number = watched.unwrap_or_else(|| self.texts.models.hold(model.clone()));
        if !self.samples.get(&number).is_some_and(|samples| samples.are_of(&candidate, counting)) {
            self.samples.insert(number, Arc::new(Samples::new(candidate, counting)));
        }
        if let Some(samples) = self.samples.get_mut(&number)
            && !samples.is_bound_to(most)
        {
            Arc::make_mut(samples).bound(most);
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

    /// A model is not managed any more: what devices reported about it goes. What their states say of it stays theirs.
    fn forget_model(&mut self, model: &ModelName) {
        self.unwatch(model);
        let Some(number) = self.texts.models.find(model) else { return };
        let texts = &mut self.texts;
        let reports = |device: &Device| device.model(number).is_some_and(|entry| entry.report.is_some());
        self.devices.change(reports, |device| device.forget_report(number, texts));
    }

    /// Whether a device's own state names a model.
    fn names(&self, device: Hashed<'_>, model: &ModelName) -> bool {
        let Some(number) = self.texts.models.find(model) else { return false };
        self.devices.get(device).and_then(|d| d.model(number)).is_some_and(|entry| entry.is_stated())
    }
}
