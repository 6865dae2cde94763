//! Whole fleets over the default stages: several objectives, churn, silence and failures together.

use modelfleet_simulation::{Objective, PerSli, Scenario, Setup};

use super::{Cell, LARGE_PART, with};

/// Names of the objectives.
const NAMES: [&str; 4] = ["errors", "latency", "drift", "accuracy"];

/// 200 and 100 000 devices.
pub fn whole() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (devices, runs_part) in [(200, 1), (100_000, LARGE_PART)] {
        let mut add = |objectives: usize, name: &str, change: &dyn Fn(&mut Scenario)| {
            let objectives = NAMES[..objectives].iter().map(|name| Objective::statistical(name, 0)).collect();
            let setup = Setup::hourly(Setup::default_stages(), objectives);
            let scenario = with(|s| {
                s.fleet.devices = devices;
                change(s);
            });
            cells.push(Cell { name: format!("{devices} devices, {name}"), runs_part, setup, scenario });
        };
        let harm = |s: &mut Scenario, ratio: f64| {
            s.effect.rate_ratio = PerSli::By([(NAMES[1].to_owned(), ratio)].into());
        };
        add(4, "4 objectives", &|_| {});
        add(4, "4 objectives, rates 0.2, 0.02, 0.02 and 0.002", &|s| {
            let rates = NAMES.into_iter().zip([0.2, 0.02, 0.02, 0.002]);
            s.fleet.base_rate = PerSli::By(rates.map(|(name, rate)| (name.to_owned(), rate)).collect());
        });
        add(4, "4 objectives, one of them at 2x", &|s| harm(s, 2.0));
        add(1, "churn 1 % a day", &|s| s.fleet.churn_per_day = 0.01);
        add(4, "4 objectives, churn 1 % a day, leavers stay known, 10 % out of reach, rhythm 0.8", &|s| {
            s.fleet.churn_per_day = 0.01;
            s.fleet.leavers_stay = true;
            s.fleet.offline.share = 0.1;
            s.fleet.rhythm = 0.8;
        });
        add(4, "4 objectives, does not start on 0.05 of the devices", &|s| {
            s.effect.hard_failure_share = 0.05
        });
        add(4, "4 objectives, silenced on 0.1 of the devices", &|s| s.effect.silent_share = 0.1);
    }
    cells
}
