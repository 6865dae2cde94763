//! One stage for all devices of a small fleet: no controls, each device against its own past.

use modelfleet_protocol::draw::Target;
use modelfleet_simulation::{Autocorrelation, Objective, PerSli, Setup};

use super::{Cell, Rules, with};

/// Fleets of 3 to 40 devices, a week of hourly windows; rates that wander, as spells of bad windows do.
pub fn alone() -> Vec<Cell> {
    let mut cells = Vec::new();
    for devices in [3, 8, 12, 40] {
        for (spells, what) in [(false, "windows independent"), (true, "in spells of 20 windows")] {
            for ratio in [1.0, 3.0, 10.0] {
                let stages = vec![Setup::stage("all", Target::Ppm(1_000_000), 7 * 24)];
                let setup = Rules::All.on(Setup::hourly(stages, vec![Objective::statistical("slo", 0)]));
                let scenario = with(|s| {
                    s.fleet.devices = devices;
                    s.fleet.base_rate = PerSli::All(0.05);
                    s.fleet.rhythm = 0.5;
                    s.effect.rate_ratio = PerSli::All(ratio);
                    if spells {
                        s.fleet.autocorrelation = Autocorrelation { per_window: 0.95, sigma: 1.5 };
                    }
                });
                let name = format!("{devices} devices, {what}, {ratio}x");
                cells.push(Cell { name, runs_part: 1, setup, scenario });
            }
        }
    }
    cells
}
