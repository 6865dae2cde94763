//! What a scenario says about how often a fleet's windows are bad.

use modelfleet_judge::sizing::FleetRates;
use modelfleet_number::normal;
use modelfleet_simulation::Scenario;

use crate::simulation_input::DEFAULT_RATE;

/// Points at which the spread between devices is averaged over.
const POINTS: u32 = 101;

/// How often windows are bad by one objective. Windows are cut to 0/1, so bursts make fewer of them bad.
pub fn fleet_rates(scenario: &Scenario, objective: &str) -> FleetRates {
    let fleet = &scenario.fleet;
    let bursts = fleet.base_rate.of(objective, DEFAULT_RATE) / fleet.burst;
    let mut share = 0.0;
    for i in 0..POINTS {
        let z = normal::quantile((f64::from(i) + 0.5) / f64::from(POINTS));
        let level = (fleet.sigma * z - 0.5 * fleet.sigma * fleet.sigma).exp();
        share += -(-bursts * level).exp_m1() / f64::from(POINTS);
    }
    FleetRates {
        share_ppm: (share * 1e6).round() as u64,
        sigma_milli: (fleet.sigma * 1e3).round() as u64,
        // Not measured: the planner adds the noise of the devices' own past.
        dispersion_milli: 0,
        past_windows: u64::from(fleet.history_windows),
    }
}
