//! Who is drawn, by the shipped rule, and who is set aside.

use modelfleet_evidence::{compared, sites, watched};
use modelfleet_protocol::draw::{Candidate, Share, open_stage};
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::selector::Labels;

use super::Fleet;
use crate::device::{Fact, NEVER, Standing};
use crate::setup::Controls;

impl Fleet<'_> {
    /// Draws a stage's devices by the shipped rule.
    pub fn draw(&mut self, salt: &str, share: &Share, controls: Controls) {
        let fresh = || Membership { salt: salt.to_owned(), ..Membership::default() };
        let base = if self.membership.salt == salt { std::mem::take(&mut self.membership) } else { fresh() };
        self.matching = self.tables.labels.iter().map(|labels| share.selector.matches(labels)).collect();
        let ids: Vec<Option<DeviceId>> = (0..self.devices.len() as u32).map(|slot| self.id(slot)).collect();
        let candidates = ids.iter().zip(&self.devices).filter_map(|(id, device)| {
            let labels = &self.tables.labels[usize::from(device.stratum)];
            Some(Candidate { id: id.as_ref()?, labels, reachable: device.is(Fact::Online) })
        });
        self.membership = open_stage(&base, share, candidates);
        (self.compared, self.sites) = self.compared_by(controls);
        let before = self.waiting.len();
        for (slot, id) in ids.iter().enumerate() {
            let labels = &self.tables.labels[usize::from(self.devices[slot].stratum)];
            let member = id.as_ref().is_some_and(|id| self.membership.includes(id, labels));
            self.join(slot as u32, member);
        }
        if self.tables.scenario.effect.exact_share {
            self.affect_exactly(self.waiting[before..].to_vec());
        }
    }

    /// Watches the values of these labels.
    pub fn watch(&mut self, labels: &[String]) {
        self.watched = watched(labels, &self.label_sets());
    }

    fn label_sets(&self) -> Vec<(&Labels, u64)> {
        let mut sizes = vec![0; self.tables.labels.len()];
        self.devices.iter().for_each(|device| sizes[usize::from(device.stratum)] += 1);
        self.tables.labels.iter().zip(sizes).collect()
    }

    /// By stratum, by the shipped rules, or for the proof by the newest draw alone: which are compared, and where they are.
    fn compared_by(&self, controls: Controls) -> (Vec<u16>, Vec<u16>) {
        let sets = self.label_sets();
        let newest = || self.membership.clauses.last().cloned().into_iter().collect();
        let compared = match controls {
            Controls::ThisDrawAlone => {
                compared(&Membership { clauses: newest(), ..Membership::default() }, &sets)
            }
            Controls::All | Controls::InReachAtDraw => compared(&self.membership, &sets),
        };
        (compared, sites(&sets))
    }

    /// Of the devices that were just drawn so many are affected as the share says, no more and no fewer.
    fn affect_exactly(&mut self, mut slots: Vec<u32>) {
        slots.retain(|slot| !self.tables.fates[usize::from(self.devices[*slot as usize].stratum)].own);
        let share = self.tables.scenario.effect.affected_share;
        let wanted = libm::round(share * slots.len() as f64) as usize;
        for at in 0..slots.len() {
            let rest = u32::try_from(slots.len() - at).unwrap_or(u32::MAX);
            slots.swap(at, at + self.chance.below(rest) as usize);
            self.devices[slots[at] as usize].set(Fact::Affected, at < wanted);
        }
    }

    pub(super) fn join(&mut self, slot: u32, member: bool) {
        let device = &mut self.devices[slot as usize];
        device.set(Fact::Member, member);
        if member && device.standing == Standing::Idle {
            device.standing = Standing::Waiting;
            device.entered = NEVER;
            self.waiting.push(slot);
        }
    }

    /// Sets devices aside: they are out, whatever the draw said.
    pub fn exclude(&mut self, devices: &[DeviceId]) {
        let new = |id: &&DeviceId| !self.membership.exclude.contains(*id);
        let fresh: Vec<DeviceId> = devices.iter().filter(new).cloned().collect();
        for id in &fresh {
            let digits = id.as_str().trim_start_matches('d').split('.').next().unwrap_or_default();
            let slot = digits.parse::<u32>().ok().filter(|slot| self.id(*slot).as_ref() == Some(id));
            if let Some(device) = slot.and_then(|slot| self.devices.get_mut(slot as usize)) {
                device.set(Fact::Member, false);
                device.set(Fact::SetAside, true);
            }
        }
        self.membership.exclude.extend(fresh);
    }
}

#[cfg(test)]
mod tests {
    use modelfleet_protocol::draw::Target;
    use modelfleet_protocol::selector::Selector;

    use super::*;
    use crate::harm::Tables;
    use crate::scenario::{Scenario, StratumShare};
    use crate::setup::{Objective, Setup};

    fn sites() -> Vec<StratumShare> {
        let site = |i: usize| [("site".to_owned(), format!("s{i}"))].into();
        (0..4).map(|i| StratumShare { labels: site(i), share: 1.0, rate_factor: 1.0 }).collect()
    }

    fn tables(scenario: &Scenario) -> Tables {
        Tables::new(&Setup::one_stage(20, 60, Objective::statistical("slo", 0)), scenario)
    }

    fn share(count: u64, selector: Selector) -> Share {
        Share { selector, spread_by: Vec::new(), devices: Target::Count(count), floors: Vec::new() }
    }

    #[test]
    fn an_exact_share_of_those_drawn_is_affected() {
        let mut scenario = Scenario::default();
        (scenario.effect.affected_share, scenario.effect.exact_share) = (0.3, true);
        let tables = tables(&scenario);
        let mut affected_devices = Vec::new();
        for seed in 0..10 {
            let mut fleet = Fleet::new(&tables, seed);
            fleet.draw("salt", &share(20, Selector::default()), Controls::All);
            let affected = |d: &&crate::device::Device| d.is(Fact::Member) && d.is(Fact::Affected);
            assert_eq!(fleet.devices.iter().filter(affected).count(), 6);
            affected_devices.push(fleet.devices.iter().position(|d| affected(&d)));
        }
        affected_devices.dedup();
        assert!(affected_devices.len() > 1, "chance says which");
    }

    #[test]
    fn an_earlier_draw_from_a_site_makes_a_stratum_of_it() {
        let mut scenario = Scenario::default();
        scenario.fleet.strata = sites();
        let tables = tables(&scenario);
        let mut fleet = Fleet::new(&tables, 1);
        let pilot =
            Selector { match_labels: [("site".to_owned(), "s2".to_owned())].into(), ..Selector::default() };
        fleet.draw("salt", &share(5, pilot), Controls::All);
        assert_eq!(fleet.compared, [0, 0, 1, 0]);
        fleet.draw("salt", &share(40, Selector::default()), Controls::All);
        assert_eq!(fleet.compared, [0, 0, 1, 0]);
        assert_eq!(fleet.compared_by(Controls::ThisDrawAlone).0, [0, 0, 0, 0]);
        assert_eq!(fleet.sites, [1, 2, 3, 4], "each site is a place of its own, whatever is compared");
    }
}
