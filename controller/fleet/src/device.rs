//! What the index keeps of one device: numbers instead of texts, and one block of memory beside its name and its windows.

use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::state::{Capabilities, DeviceState, FailureCode, ModelState, Phase};
use modelfleet_protocol::time::Time;
use smallvec::SmallVec;

use crate::intern::{Interner, NONE, Number, Table};
use crate::windows::{Counting, WindowTallies};

/// A device with so many models has no report about a further one taken. Its state may name
/// [`modelfleet_protocol::state::MODELS_MAX`] beside them.
pub const MODELS_MAX: usize = 2 * modelfleet_protocol::state::MODELS_MAX;

/// Texts that devices of a namespace share, as they are written.
#[derive(Debug, Default)]
pub struct Texts {
    /// Label sets.
    pub labels: Interner<Labels>,
    /// What devices can run.
    pub capabilities: Interner<Capabilities>,
    /// Models; a device holds those of its entries.
    pub models: Interner<ModelName>,
    /// Digests.
    pub digests: Interner<Digest>,
    /// Rollout attempts.
    pub rollouts: Interner<String>,
    /// Plans that devices hold: epoch and revision.
    pub plans: Interner<(u64, u64)>,
    /// Versions of trust documents that devices hold.
    pub trust: Interner<u64>,
}

/// The same at one moment: cheap to copy, and it does not change.
#[derive(Clone, Debug, Default)]
pub struct TextTables {
    /// Label sets.
    pub labels: Table<Labels>,
    /// What devices can run.
    pub capabilities: Table<Capabilities>,
    /// Models.
    pub models: Table<ModelName>,
    /// Digests.
    pub digests: Table<Digest>,
    /// Rollout attempts.
    pub rollouts: Table<String>,
    /// Plans that devices hold: epoch and revision.
    pub plans: Table<(u64, u64)>,
    /// Versions of trust documents that devices hold.
    pub trust: Table<u64>,
}

impl Texts {
    /// The texts as they are now.
    #[must_use]
    pub fn tables(&self) -> TextTables {
        TextTables {
            labels: self.labels.table().clone(),
            capabilities: self.capabilities.table().clone(),
            models: self.models.table().clone(),
            digests: self.digests.table().clone(),
            rollouts: self.rollouts.table().clone(),
            plans: self.plans.table().clone(),
            trust: self.trust.table().clone(),
        }
    }
}

/// One device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its name.
    pub id: DeviceId,
    /// Its label set; [`NONE`]: no state has come yet.
    pub labels: Number,
    /// What it can run.
    pub capabilities: Number,
    /// The trust document that it holds; [`NONE`]: it was set up without root keys.
    pub trust: Number,
    /// Connected or not, as last heard.
    pub presence: Option<Presence>,
    /// Order of the state kept here: sequence and device clock; while `labels` is [`NONE`] there is none.
    pub state: (u64, Time),
    /// One entry for each model it runs, tries or reports; most devices have one.
    pub models: SmallVec<[DeviceModel; 1]>,
}

/// One model on one device.
#[derive(Clone, Debug)]
pub struct DeviceModel {
    /// Which model.
    pub model: Number,
    /// The digest that answers; [`NONE`]: nothing does.
    pub running: Number,
    /// Since when.
    pub activated: Time,
    /// Whether it came through probation.
    pub confirmed: bool,
    /// The digest in the other slot; [`NONE`]: nothing is there to go back to.
    pub spare: Number,
    /// Where it stands with a rollout attempt.
    pub attempt: Option<DeviceAttempt>,
    /// The plan that its state tells of; [`NONE`]: none.
    pub plan: Number,
    /// Its newest report.
    pub report: Option<DeviceReport>,
}

/// Where a device stands with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAttempt {
    /// The attempt's name.
    pub rollout: Number,
    /// Its build.
    pub digest: Number,
    /// How far it got.
    pub phase: Phase,
    /// Why it ended, if it did.
    pub code: Option<FailureCode>,
    /// Since when, by the device's clock.
    pub since: Time,
}

/// The newest report of a device about a model.
#[derive(Clone, Debug)]
pub struct DeviceReport {
    /// Order: sequence and device clock.
    pub order: (u64, Time),
    /// What ran.
    pub digest: Number,
    /// The plan that the device held; [`NONE`]: it does not tell.
    pub plan: Number,
    /// When it was heard, by our clock; for a retained one by the device's clock.
    pub heard: Time,
    /// What its tallies count.
    observe_id: u64,
    /// Length of its windows, milliseconds, as [`short`] has it.
    window_ms: u32,
    /// Its windows, and the device's own past.
    pub windows: WindowTallies,
}

/// The length of a window in few bytes; all above seven weeks are alike.
fn short(window_ms: u64) -> u32 {
    u32::try_from(window_ms).unwrap_or(u32::MAX)
}

impl DeviceReport {
    /// Gives back what it holds.
    fn release(&self, texts: &mut Texts) {
        texts.digests.release(self.digest);
        texts.plans.release(self.plan);
    }

    /// Whether the device, which is away now, was away at this time of day before.
    #[must_use]
    pub fn away_by_rhythm(&self, now: Time) -> Option<bool> {
        let known = |first, end| self.windows.known(first, end);
        modelfleet_evidence::away_by_rhythm(now, u64::from(self.window_ms), known)
    }

    /// Whether its windows are of this length.
    #[must_use]
    pub fn has_windows_of(&self, window_ms: u64) -> bool {
        self.window_ms == short(window_ms)
    }

    /// Length of its windows, milliseconds; all above seven weeks are alike.
    #[must_use]
    pub fn window_ms(&self) -> u64 {
        u64::from(self.window_ms)
    }

    /// Identity of what its windows count, [`modelfleet_protocol::observe::Observe::id`].
    #[must_use]
    pub fn observe_id(&self) -> u64 {
        self.observe_id
    }

    /// Whether it counts so.
    #[must_use]
    pub fn counts(&self, counting: Counting) -> bool {
        (self.observe_id, self.window_ms) == (counting.observe_id, short(counting.window_ms))
    }
}

/// Whether a message of `order` (sequence, device clock) is newer than the one kept.
///
/// Normally the sequence decides. A device whose memory was wiped starts again at one: it is told from a late
/// message by its clock, which is ahead of what is kept.
#[must_use]
pub fn is_newer(order: (u64, Time), kept: Option<(u64, Time)>) -> bool {
    kept.is_none_or(|kept| order.0 > kept.0 || (order.0 < kept.0 && order.1 > kept.1))
}

impl Device {
    /// A device of which nothing is known yet.
    #[must_use]
    pub fn unknown(id: DeviceId) -> Device {
        Device {
            id,
            labels: NONE,
            capabilities: NONE,
            trust: NONE,
            presence: None,
            state: (0, Time::ZERO),
            models: SmallVec::new(),
        }
    }

    /// The entry of a model.
    #[must_use]
    pub fn model(&self, model: Number) -> Option<&DeviceModel> {
        self.models.iter().find(|m| m.model == model)
    }

    /// The entry of a model, made if it is not there.
    pub fn model_mut(&mut self, model: &ModelName, texts: &mut Texts) -> &mut DeviceModel {
        let number = texts.models.find(model);
        let known = number.and_then(|number| self.models.iter().position(|entry| entry.model == number));
        let at = known.unwrap_or_else(|| {
            self.models.reserve_exact(1);
            self.models.push(DeviceModel::unknown(texts.models.hold(model.clone())));
            self.models.len() - 1
        });
        &mut self.models[at]
    }

    /// Whether a report about a model has a place; `None`: no device has said anything of that model.
    #[must_use]
    pub fn has_room(&self, model: Option<Number>) -> bool {
        self.models.len() < MODELS_MAX || model.is_some_and(|model| self.model(model).is_some())
    }

    /// When it was last heard: its newest state or report, the state by the device's own clock; `None`: it has sent neither.
    #[must_use]
    pub fn heard(&self) -> Option<Time> {
        let reports = self.models.iter().filter_map(|entry| Some(entry.report.as_ref()?.heard)).max();
        reports.max((self.labels != NONE).then_some(self.state.1))
    }

    /// Attempts that failed in a way that speaks against their builds, each with its model.
    #[must_use]
    pub fn failures(&self) -> SmallVec<[(Number, DeviceAttempt); 1]> {
        let failed = |attempt: &DeviceAttempt| {
            let ended = matches!(attempt.phase, Phase::Failed | Phase::Reverted);
            ended && attempt.code.is_some_and(FailureCode::is_hard_stop)
        };
        let each = self.models.iter().filter_map(|entry| Some((entry.model, entry.attempt?)));
        each.filter(|(_, attempt)| failed(attempt)).collect()
    }

    /// Drops the report about a model.
    pub fn forget_report(&mut self, model: Number, texts: &mut Texts) {
        let entry = self.models.iter_mut().find(|entry| entry.model == model);
        if let Some(report) = entry.and_then(|entry| entry.report.take()) {
            report.release(texts);
            self.sweep(texts);
        }
    }

    /// Drops the entries that say nothing any more.
    fn sweep(&mut self, texts: &mut Texts) {
        self.models.retain(|entry| {
            let kept = entry.says_anything() || entry.plan != NONE;
            if !kept {
                texts.models.release(entry.model);
            }
            kept
        });
    }

    /// Its labels are not known any more; returns whether they were.
    pub fn forget_labels(&mut self, texts: &mut Texts) -> bool {
        let before = std::mem::replace(&mut self.labels, NONE);
        texts.labels.release(before);
        before != NONE
    }

    /// Takes over a newer state.
    pub fn take_state(&mut self, state: DeviceState, texts: &mut Texts) {
        let DeviceState {
            device: _,
            sequence,
            at,
            agent: _,
            labels,
            card: _,
            trust_version,
            capabilities,
            models,
            overridden: _,
        } = state;
        texts.labels.replace(&mut self.labels, labels);
        texts.capabilities.replace(&mut self.capabilities, capabilities);
        match trust_version {
            Some(version) => texts.trust.replace(&mut self.trust, version),
            None => texts.trust.release(std::mem::replace(&mut self.trust, NONE)),
        }
        self.state = (sequence, at);
        let named: SmallVec<[Number; 4]> = models.into_iter().map(|m| self.take_model(m, texts)).collect();
        for entry in self.models.iter_mut().filter(|entry| !named.contains(&entry.model)) {
            entry.forget_state(texts);
        }
        self.sweep(texts);
    }

    fn take_model(&mut self, state: ModelState, texts: &mut Texts) -> Number {
        let entry = self.model_mut(&state.model, texts);
        entry.forget_state(texts);
        let told = (state.plan.epoch, state.plan.revision);
        if told != (0, 0) {
            entry.plan = texts.plans.hold(told);
        }
        if let Some(running) = state.running {
            entry.running = texts.digests.hold(running.digest);
            (entry.activated, entry.confirmed) = (running.activated, running.confirmed);
        }
        if let Some(spare) = state.spare {
            entry.spare = texts.digests.hold(spare);
        }
        entry.attempt = state.candidate.map(|attempt| DeviceAttempt {
            rollout: texts.rollouts.hold(attempt.rollout),
            digest: texts.digests.hold(attempt.digest),
            phase: attempt.phase,
            code: attempt.failure.map(|failure| failure.code),
            since: attempt.since,
        });
        entry.model
    }

    /// Gives back everything it holds.
    pub fn release(&self, texts: &mut Texts) {
        texts.labels.release(self.labels);
        texts.capabilities.release(self.capabilities);
        texts.trust.release(self.trust);
        for entry in &self.models {
            entry.release_state(texts);
            if let Some(report) = &entry.report {
                report.release(texts);
            }
            texts.models.release(entry.model);
        }
    }
}

impl DeviceModel {
    fn unknown(model: Number) -> DeviceModel {
        DeviceModel {
            model,
            running: NONE,
            activated: Time::ZERO,
            confirmed: false,
            spare: NONE,
            attempt: None,
            plan: NONE,
            report: None,
        }
    }

    /// Whether the device's state says anything of it.
    #[must_use]
    pub fn is_stated(&self) -> bool {
        self.running != NONE || self.attempt.is_some()
    }

    /// Whether anything is known of it but that the device holds a plan.
    #[must_use]
    pub fn says_anything(&self) -> bool {
        self.is_stated() || self.report.is_some()
    }

    /// Since when it has `build`, by the device's clock: one that runs in shadow beside what answers, as long as its
    /// attempt has stood where it stands.
    #[must_use]
    pub fn began(&self, build: Option<Number>) -> Time {
        let beside = self.attempt.filter(|attempt| {
            let runs = matches!(attempt.phase, Phase::Activated | Phase::Confirmed);
            runs && Some(attempt.digest) == build && attempt.digest != self.running
        });
        beside.map_or(self.activated, |attempt| attempt.since)
    }

    fn forget_state(&mut self, texts: &mut Texts) {
        self.release_state(texts);
        (self.plan, self.running, self.spare) = (NONE, NONE, NONE);
        self.confirmed = false;
        self.attempt = None;
    }

    /// Gives back what its state holds.
    fn release_state(&self, texts: &mut Texts) {
        texts.plans.release(self.plan);
        texts.digests.release(self.running);
        texts.digests.release(self.spare);
        if let Some(attempt) = &self.attempt {
            texts.rollouts.release(attempt.rollout);
            texts.digests.release(attempt.digest);
        }
    }

    /// Takes over a newer report; `heard` as in [`DeviceReport::heard`].
    pub fn take_report(&mut self, report: &Report, heard: Time, texts: &mut Texts) {
        let Some(digest) = Digest::from_slice(&report.digest) else { return };
        let digest = texts.digests.hold(digest);
        let told = (report.plan_epoch, report.plan_revision);
        let plan = if told == (0, 0) { NONE } else { texts.plans.hold(told) };
        let history = report.history.as_ref().and_then(|h| h.tally.as_ref());
        let kept = DeviceReport {
            order: (report.sequence, Time(report.sent_at_ms)),
            digest,
            plan,
            heard,
            observe_id: report.observe_id,
            window_ms: short(report.window_ms),
            windows: WindowTallies::new(&report.windows, history),
        };
        if let Some(before) = self.report.replace(kept) {
            before.release(texts);
        }
    }
}
