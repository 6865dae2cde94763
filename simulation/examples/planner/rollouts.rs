//! Rollouts and fleets at random, of what people may plan: the planner is held against the simulator on them.

use modelfleet_judge::{HardRule, SilenceRule};
use modelfleet_number::chance::Chance;
use modelfleet_protocol::draw::Target;
use modelfleet_simulation::{Objective, OfflinePattern, PerSli, Scenario, Setup};

/// A rollout and a fleet.
pub struct Planned {
    pub setup: Setup,
    pub scenario: Scenario,
    /// What differs, for people.
    pub name: String,
}

struct Draw(Chance);

impl Draw {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.unit()
    }

    /// Every order of magnitude as often.
    fn magnitude(&mut self, low: f64, high: f64) -> f64 {
        libm::exp(self.between(libm::log(low), libm::log(high)))
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.below(all.len() as u32) as usize]
    }
}

/// Rollout and fleet number `number`: 12 to `devices_max` devices, one to four stages, one or two objectives.
pub fn planned(number: u64, devices_max: f64) -> Planned {
    let mut draw = Draw(Chance::fork(0x0070_6c61_6e6e_6564, number));
    let mut scenario = Scenario::default();
    let fleet = &mut scenario.fleet;
    fleet.devices = draw.magnitude(12.0, devices_max) as u64;
    fleet.sigma = draw.between(0.0, 1.5);
    fleet.burst = draw.one_of(&[1.0, 1.0, 2.0, 5.0, 10.0]);
    let rate = draw.magnitude(0.005, 0.5);
    fleet.base_rate = PerSli::All(rate);
    fleet.rhythm = draw.one_of(&[0.0, 0.0, 0.3, 0.8]);
    fleet.history_windows = draw.one_of(&[48, 168, 600]);
    fleet.offline.share = draw.one_of(&[0.0, 0.0, 0.0, 0.2]);
    fleet.offline.works_on = draw.one_of(&[true, false]);
    fleet.offline.pattern = draw.one_of(&[OfflinePattern::Spells, OfflinePattern::Chronic]);
    let stages = draw.one_of(&[1, 2, 4]);
    let canaries = draw.between(0.03, 0.3);
    let windows = draw.magnitude(12.0, 120.0) as u64;
    let mut list = vec![Setup::stage("canary", Target::Ppm((canaries * 1e6) as u32), windows)];
    list.extend((1..stages).map(|i| Setup::stage(&format!("stage-{i}"), Target::Ppm(1_000_000), windows)));
    let gates = draw.one_of(&[1, 1, 2]);
    let usual = scenario.fleet_rates("slo-0").share_ppm as f64;
    // An allowance below the usual share is broken already; one above it swallows what is below it.
    let allowance = draw.one_of(&[0.0, 0.0, 0.5, 1.5, 3.0]) * usual;
    let objectives: Vec<Objective> = (0..gates)
        .map(|i| Objective::statistical(&format!("slo-{i}"), (allowance as u32).min(900_000)))
        .collect();
    let mut setup = Setup::hourly(list, objectives);
    if draw.one_of(&[true, false]) {
        setup.silence = SilenceRule { weight: 0, ..setup.silence };
        setup.hard = HardRule { weight: 0, ..setup.hard };
    }
    let fleet = &scenario.fleet;
    let name = format!(
        "{} devices, canary {:.0} %, {stages} stages, {gates} objectives, {windows} windows, base {rate:.3}, burst {}, sigma {:.1}, \
         history {}, allowance {:.1} %, rhythm {}, offline {}",
        fleet.devices,
        canaries * 100.0,
        fleet.burst,
        fleet.sigma,
        fleet.history_windows,
        allowance / 1e4,
        fleet.rhythm,
        fleet.offline.share
    );
    Planned { setup, scenario, name }
}
