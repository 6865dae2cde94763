//! Harm as large as the margin that the user set: a stage that rules it out lets it through in one of twenty runs at most.

use modelfleet_number::normal;
use modelfleet_simulation::PerSli;

use super::{Cell, one_stage, with};

/// Bad events of a device and window.
const RATE: f64 = 0.2;
/// Points at which the spread between devices is averaged over.
const POINTS: u32 = 2_001;

/// Harm equal to the margin, which is a ratio of bad device-windows.
pub fn margin() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (canaries, ratio) in [(5, 1.5), (5, 3.0), (20, 1.25), (20, 1.5), (50, 1.25), (100, 1.25)] {
        for (sigma, burst) in [(0.0, 1.0), (1.0, 1.0), (1.5, 1.0), (1.0, 5.0)] {
            let margin = bad_share(RATE / burst * ratio, sigma) / bad_share(RATE / burst, sigma);
            let mut setup = one_stage(canaries);
            setup.parts.stages[0].margin_ppm = Some((margin * 1e6) as u64);
            let scenario = with(|s| {
                s.effect.rate_ratio = PerSli::All(ratio);
                (s.fleet.sigma, s.fleet.burst) = (sigma, burst);
            });
            let name =
                format!("{canaries} of 200 at the margin of {margin:.2}x, sigma {sigma}, burst {burst}");
            cells.push(Cell { name, runs_part: 1, setup, scenario });
        }
    }
    cells
}

/// Share of bad windows at so many bursts a window, over devices that differ by `sigma`.
pub(super) fn bad_share(bursts: f64, sigma: f64) -> f64 {
    let device = |point: u32| {
        let z = normal::quantile((f64::from(point) + 0.5) / f64::from(POINTS));
        -libm::expm1(-bursts * libm::exp(sigma * z - 0.5 * sigma * sigma))
    };
    (0..POINTS).map(device).sum::<f64>() / f64::from(POINTS)
}
