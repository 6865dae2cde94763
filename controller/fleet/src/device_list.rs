//! Which devices there are and what they say of themselves, page by page: for people, never for a decision.
//!
//! Devices come in the order of the hashes of their ids. A page looks at a bounded number of devices, whatever is asked for, so
//! that a filter that few devices match costs no more than one that all of them do.

use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::selector::{Labels, Selector};
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;

use crate::device::{Device, DeviceModel, DeviceReport};
use crate::fleet::Fleet;
use crate::intern::NONE;
use crate::shards::{Hashed, IdHash, Shard};
use crate::wrong_clocks::Offset;

/// Most devices that are looked at for one page.
pub const VISITS_MAX: usize = 250_000;

/// Which devices are asked for: all of these hold. What is asked of a model holds for one and the same model.
#[derive(Clone, Debug, Default)]
pub struct DeviceFilter {
    /// By labels.
    pub selector: Selector,
    /// Devices that run, try or report this model.
    pub model: Option<ModelName>,
    /// One of these builds answers.
    pub builds: Option<Vec<Digest>>,
    /// The last attempt stands here.
    pub phase: Option<Phase>,
    /// The last attempt ended with this failure.
    pub failure: Option<FailureCode>,
    /// Connected or not, as last heard.
    pub connected: Option<bool>,
    /// Nothing was heard since then.
    pub silent_since: Option<Time>,
}

/// Some devices, and where to go on.
#[derive(Clone, Debug, Default)]
pub struct DevicePage {
    /// Devices that match.
    pub devices: Vec<SeenDevice>,
    /// The hash behind which the next page begins; `None`: this was the last one.
    pub next: Option<IdHash>,
}

/// What is known of one device.
#[derive(Clone, Debug)]
pub struct SeenDevice {
    /// Its name.
    pub id: DeviceId,
    /// Its labels; `None`: it has sent no state that counts.
    pub labels: Option<Labels>,
    /// Connected or not, as last heard.
    pub presence: Option<Presence>,
    /// When it was last heard.
    pub heard: Option<Time>,
    /// Version of the trust document that it holds.
    pub trust: Option<u64>,
    /// Why it is left out of every rollout.
    pub left_out: Option<String>,
    /// By how much its clock is wrong; `None`: less than [`crate::wrong_clocks::TOLERANCE_MS`].
    pub clock: Option<Offset>,
    /// The models that it runs, tries or reports.
    pub models: Vec<SeenModel>,
}

/// One model on a device.
#[derive(Clone, Debug)]
pub struct SeenModel {
    /// Which.
    pub model: ModelName,
    /// The build that answers, since when, and whether it came through probation.
    pub running: Option<(Digest, Time, bool)>,
    /// The build in the other slot.
    pub spare: Option<Digest>,
    /// The plan that the device took last: epoch and revision.
    pub plan: Option<(u64, u64)>,
    /// Where it stands with a rollout.
    pub attempt: Option<SeenAttempt>,
    /// Its newest report.
    pub report: Option<SeenReport>,
}

/// Where a device stands with a rollout.
#[derive(Clone, Debug)]
pub struct SeenAttempt {
    /// The attempt's name.
    pub rollout: String,
    /// Its build.
    pub digest: Option<Digest>,
    /// How far it got.
    pub phase: Phase,
    /// Why it ended, if it did.
    pub failure: Option<FailureCode>,
    /// Since when, by the device's clock.
    pub since: Time,
}

/// What a device reported last of a model.
#[derive(Clone, Debug)]
pub struct SeenReport {
    /// When it was heard.
    pub heard: Time,
    /// Identity of what its windows count.
    pub observe_id: u64,
    /// Length of its windows, milliseconds.
    pub window_ms: u64,
    /// One past the last window.
    pub end: u64,
    /// By indicator: which of the newest 64 windows are known, and which are bad; bit 0 is the newest.
    pub windows: Vec<(u64, u64)>,
}

impl DeviceFilter {
    fn wants_model(&self) -> bool {
        self.model.is_some() || self.builds.is_some() || self.phase.is_some() || self.failure.is_some()
    }
}

impl Fleet {
    /// Devices that match, at most `most` of them, unless hashes of ids are alike. `after`: where the page before ended.
    #[must_use]
    pub fn device_page(&self, filter: &DeviceFilter, after: Option<IdHash>, most: usize) -> DevicePage {
        let labels = self.matching(&filter.selector);
        let all_labels = filter.selector.is_everybody();
        let model = filter.model.as_ref().map(|model| self.texts.models.find(model).unwrap_or(NONE));
        let builds: Option<Vec<_>> = filter
            .builds
            .as_ref()
            .map(|builds| builds.iter().filter_map(|digest| self.texts.digests.find(digest)).collect());
        let of_model = |entry: &DeviceModel| {
            model.is_none_or(|model| entry.model == model)
                && builds.as_ref().is_none_or(|builds| builds.contains(&entry.running))
                && filter.phase.is_none_or(|phase| entry.attempt.is_some_and(|a| a.phase == phase))
                && filter.failure.is_none_or(|code| entry.attempt.is_some_and(|a| a.code == Some(code)))
        };
        let matches = |device: &Device| {
            (labels.get(device.labels as usize).copied().unwrap_or(all_labels))
                && filter.connected.is_none_or(|wanted| device.presence.is_some_and(|p| p.online) == wanted)
                && filter.silent_since.is_none_or(|since| device.heard().is_none_or(|heard| heard < since))
                && (!filter.wants_model() || device.models.iter().any(of_model))
        };
        let mut page = DevicePage::default();
        let mut last = after;
        for (visited, (hash, device, shard)) in self.devices.devices_after(after).enumerate() {
            if (visited >= VISITS_MAX || page.devices.len() >= most) && last != Some(hash) {
                page.next = last;
                return page;
            }
            last = Some(hash);
            if matches(device) {
                page.devices.push(self.seen(device, shard));
            }
        }
        page
    }

    /// One device; `None`: nothing was ever heard of it.
    #[must_use]
    pub fn device(&self, id: &DeviceId) -> Option<SeenDevice> {
        let hashed = Hashed::of(id);
        self.devices.get(hashed).map(|device| self.seen(device, self.devices.shard(hashed)))
    }

    fn seen(&self, device: &Device, shard: &Shard) -> SeenDevice {
        SeenDevice {
            id: device.id.clone(),
            labels: self.texts.labels.get(device.labels).cloned(),
            presence: device.presence,
            heard: device.heard(),
            trust: self.texts.trust.get(device.trust).copied(),
            left_out: shard.left_out.reason(&device.id).map(str::to_owned),
            clock: shard.clocks.offset(&device.id),
            models: device.models.iter().filter_map(|entry| self.seen_model(entry)).collect(),
        }
    }

    fn seen_model(&self, entry: &DeviceModel) -> Option<SeenModel> {
        let digest = |number| self.texts.digests.get(number).copied();
        Some(SeenModel {
            model: self.texts.models.get(entry.model)?.clone(),
            running: digest(entry.running).map(|digest| (digest, entry.activated, entry.confirmed)),
            spare: digest(entry.spare),
            plan: self.texts.plans.get(entry.plan).copied(),
            attempt: entry.attempt.map(|attempt| SeenAttempt {
                rollout: self.texts.rollouts.get(attempt.rollout).cloned().unwrap_or_default(),
                digest: digest(attempt.digest),
                phase: attempt.phase,
                failure: attempt.code,
                since: attempt.since,
            }),
            report: entry.report.as_ref().map(seen_report),
        })
    }
}

fn seen_report(report: &DeviceReport) -> SeenReport {
    let windows = &report.windows;
    SeenReport {
        heard: report.heard,
        observe_id: report.observe_id(),
        window_ms: report.window_ms(),
        end: windows.end(),
        windows: (0..windows.indicators()).map(|indicator| windows.newest(indicator)).collect(),
    }
}

#[cfg(test)]
mod tests;
