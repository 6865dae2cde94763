//! Events so rare that a stage sees hardly any.

use modelfleet_simulation::{Objective, PerSli, Setup};

use super::{Cell, LARGE_PART, with};

/// The default stages at a base rate of one event in 100 000 windows.
pub fn rare() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (devices, runs_part) in [(200, 1), (2_000, 4), (100_000, LARGE_PART)] {
        for ratio in [1.0, 3.0, 100.0] {
            let setup = Setup::hourly(Setup::default_stages(), vec![Objective::statistical("slo", 0)]);
            let scenario = with(|s| {
                s.fleet.devices = devices;
                s.fleet.base_rate = PerSli::All(1e-5);
                s.effect.rate_ratio = PerSli::All(ratio);
            });
            let name = format!("{devices} devices, {ratio}x");
            cells.push(Cell { name, runs_part, setup, scenario });
        }
    }
    cells
}
