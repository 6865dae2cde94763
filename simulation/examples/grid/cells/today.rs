//! Rules that users have today.

use modelfleet_simulation::{PerSli, Scenario};

use super::{Cell, one_stage, outage, with};

/// The fleets on which the rules of today are compared with the judge.
pub fn today() -> Vec<Cell> {
    let mut cells = Vec::new();
    for canaries in [5, 20] {
        let mut add = |name: &str, change: &dyn Fn(&mut Scenario)| {
            let name = format!("{canaries} of 200, {name}");
            cells.push(Cell {
                name,
                runs_part: 1,
                setup: one_stage(canaries),
                scenario: with(|s| change(s)),
            });
        };
        add("unchanged, sigma 0", &|s| s.fleet.sigma = 0.0);
        add("unchanged, sigma 1", &|_| {});
        add("unchanged, sigma 1.5", &|s| s.fleet.sigma = 1.5);
        add("unchanged, sigma 1, burst 5", &|s| s.fleet.burst = 5.0);
        add("unchanged, sigma 1, burst 20", &|s| s.fleet.burst = 20.0);
        add("unchanged, sigma 1, base 0.02", &|s| s.fleet.base_rate = PerSli::All(0.02));
        add("unchanged, sigma 1, rhythm 0.8", &|s| s.fleet.rhythm = 0.8);
        add("unchanged, sigma 1, outage common to all", &|s| s.outages = outage(false));
        add("3x", &|s| s.effect.rate_ratio = PerSli::All(3.0));
        add("3x, burst 5", &|s| {
            s.effect.rate_ratio = PerSli::All(3.0);
            s.fleet.burst = 5.0;
        });
    }
    cells
}
