//! Connected devices that hold another plan than the newest one: a changed key, a broken clock, or whatever else makes
//! them refuse it. Told by what a device said after it had time to take the plan, so that silence is no sign of it.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::plan::{Plan, Wanted};

use crate::device::{Device, DeviceModel};
use crate::first_by_id::keep_first;
use crate::fleet::Fleet;
use crate::view::Lens;

/// Time that a connected device has to take a plan, milliseconds.
pub const GRACE_MS: u64 = 10 * 60_000;
/// Most devices that are named.
const NAMED_MAX: usize = 3;
/// Most different plans that are counted one by one.
const PLANS_MAX: usize = 64;

/// Epoch and revision of a plan.
pub type Numbers = (u64, u64);

/// Which plan a device holds, as far as it has told since it had time to take the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The newest.
    Newest,
    /// Another one of this leader or of one before it.
    Other(Numbers),
    /// One of a later epoch: the device does not obey this leader.
    Later(Numbers),
    /// None at all.
    None,
    /// It has not told yet.
    Untold,
}

/// Devices that hold another plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherPlan {
    /// Connected devices that have told which plan they hold.
    pub told: u64,
    /// Those of them that hold another one, or none.
    pub count: u64,
    /// Some of them, by id.
    pub named: Vec<DeviceId>,
    /// Those of them that hold a plan of a later epoch.
    pub later: u64,
    /// Some of these, by id.
    pub named_later: Vec<DeviceId>,
    /// The latest of these epochs.
    pub latest_epoch: u64,
    /// How many hold which; `None`: no plan.
    plans: BTreeMap<Option<Numbers>, u64>,
}

impl OtherPlan {
    /// Counts a device.
    pub fn note(&mut self, device: &DeviceId, holds: Holds) {
        let plan = match holds {
            Holds::Untold => return,
            Holds::Newest => {
                self.told += 1;
                return;
            }
            Holds::Other(numbers) => Some(numbers),
            Holds::Later(numbers) => {
                self.later += 1;
                keep_first(&mut self.named_later, NAMED_MAX, device, |known| known, || device.clone());
                self.latest_epoch = self.latest_epoch.max(numbers.0);
                Some(numbers)
            }
            Holds::None => None,
        };
        self.told += 1;
        self.count += 1;
        keep_first(&mut self.named, NAMED_MAX, device, |known| known, || device.clone());
        if self.plans.len() < PLANS_MAX || self.plans.contains_key(&plan) {
            *self.plans.entry(plan).or_default() += 1;
        }
    }

    /// The plan that most of them hold, of several the latest; `None`: most hold no plan, or there are none.
    #[must_use]
    pub fn commonest(&self) -> Option<Numbers> {
        self.plans.iter().max_by_key(|(plan, count)| (**count, **plan)).and_then(|(plan, _)| *plan)
    }
}

impl Fleet {
    /// Which plan a connected device holds.
    pub(super) fn holds(
        &self,
        lens: &Lens<'_>,
        id: &DeviceId,
        device: &Device,
        entry: Option<&DeviceModel>,
    ) -> Holds {
        let (Some(plan), Some(presence)) = (lens.plan, device.presence) else { return Holds::Untold };
        let newest = (plan.order.epoch, plan.order.revision);
        let Some(entry) = entry else { return self.holds_none(lens, plan, id, device) };
        let numbers = |number| self.texts.plans.get(number).copied();
        let reported = entry.report.as_ref().and_then(|report| Some((report, numbers(report.plan)?)));
        if numbers(entry.plan) == Some(newest) {
            return Holds::Newest;
        }
        match reported {
            Some((_, held)) if held == newest => Holds::Newest,
            // The first by the device's clock alone: it had the connection for so long when it said this.
            Some((report, held))
                if report.order.1.since_ms(presence.since) >= GRACE_MS
                    && report.heard.since_ms(plan.order.issued) >= GRACE_MS =>
            {
                if held.0 > newest.0 {
                    Holds::Later(held)
                } else {
                    Holds::Other(held)
                }
            }
            _ => Holds::Untold,
        }
    }

    /// A device whose state does not name the model, and that the plan wants to run something of it: it told its state
    /// when it connected, and a plan that it takes makes it tell another one.
    fn holds_none(&self, lens: &Lens<'_>, plan: &Plan, id: &DeviceId, device: &Device) -> Holds {
        let since = device.presence.map_or(lens.now, |presence| presence.since.min(lens.now));
        let since = since.max(lens.connected_since).max(plan.order.issued);
        let labels = self.texts.labels.get(device.labels);
        let wanted = || labels.is_some_and(|labels| plan.wanted(id, labels) != Wanted::Nothing);
        if lens.now.since_ms(since) >= GRACE_MS && wanted() { Holds::None } else { Holds::Untold }
    }
}

#[cfg(test)]
mod tests;
