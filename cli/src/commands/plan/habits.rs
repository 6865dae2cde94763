//! What a scenario says about a fleet's habits, in the planner's words.

use modelfleet_judge::plan::Habits;
use modelfleet_number::normal;
use modelfleet_simulation::Scenario;

use crate::trial::DEFAULT_RATE;

/// Points at which the spread between devices is averaged over.
const POINTS: u32 = 101;

/// The habits of a fleet for one objective. Windows are cut to 0/1, so bursts make fewer of them bad.
pub fn habits(scenario: &Scenario, objective: &str) -> Habits {
    let fleet = &scenario.fleet;
    let bursts = fleet.base_rate.of(objective, DEFAULT_RATE) / fleet.burst;
    let mut share = 0.0;
    for i in 0..POINTS {
        let z = normal::quantile((f64::from(i) + 0.5) / f64::from(POINTS));
        let level = (fleet.sigma * z - 0.5 * fleet.sigma * fleet.sigma).exp();
        share += -(-bursts * level).exp_m1() / f64::from(POINTS);
    }
    Habits {
        share_ppm: (share * 1e6).round() as u64,
        sigma_milli: (fleet.sigma * 1e3).round() as u64,
        // Not measured: the planner adds the noise of the devices' own past.
        dispersion_milli: 0,
        past_windows: u64::from(fleet.history_windows),
    }
}
