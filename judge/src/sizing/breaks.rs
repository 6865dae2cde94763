//! How surely a rise breaks an SLO's allowance: harm within the allowance is reported, and not rolled back.

use crate::sizing::fleet_rates::FleetRates;
use crate::sizing::proof::StageSize;
use libm::{exp, expm1, sqrt};
use modelfleet_number::beta::binomial_upper_tail;
use modelfleet_number::normal;

/// Points at which the spread between devices is averaged over.
const POINTS: u32 = 41;

/// The canaries' windows against an allowance.
pub(super) struct Breaks {
    /// Events of a window, for devices from the calmest to the busiest.
    rates: Vec<f64>,
    canaries: u64,
    windows: f64,
    allowance_ppm: u32,
}

impl Breaks {
    pub(super) fn new(size: &StageSize, rates: &FleetRates, allowance_ppm: u32) -> Breaks {
        let sigma = rates.sigma_milli as f64 * 1e-3;
        let level = |i: u32| {
            let z = normal::quantile((f64::from(i) + 0.5) / f64::from(POINTS));
            exp(sigma * z - 0.5 * sigma * sigma)
        };
        let levels: Vec<f64> = (0..POINTS).map(level).collect();
        let rate = rate_of(rates.share_ppm as f64 * 1e-6, &levels);
        Breaks {
            rates: levels.iter().map(|level| rate * level).collect(),
            canaries: size.canaries,
            windows: size.windows as f64 * f64::from(size.reporting_ppm.min(1_000_000)) * 1e-6,
            allowance_ppm,
        }
    }

    /// The chance that canaries whose rates are so many times as high break the allowance: together, or enough of them
    /// one by one, as [`crate::decide::tally::Tally::breaks`] has it.
    pub(super) fn chance(&self, ratio: f64) -> f64 {
        let size = self.rates.len() as f64;
        let shares: Vec<f64> = self.rates.iter().map(|rate| bad(rate * ratio)).collect();
        let mean = shares.iter().sum::<f64>() / size;
        let between = shares.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / size;
        let within = shares.iter().map(|s| s * (1.0 - s)).sum::<f64>() / size / self.windows.max(1.0);
        let deviation = sqrt((between + within) / (self.canaries as f64).max(1.0));
        let above = mean - f64::from(self.allowance_ppm) * 1e-6;
        let together =
            if deviation > 0.0 { normal::cdf(above / deviation) } else { f64::from(u8::from(above > 0.0)) };
        let windows = self.windows.max(1.0) as u64;
        // As whole millionths are compared.
        let beyond = (windows.saturating_mul(u64::from(self.allowance_ppm) + 1)).div_ceil(1_000_000);
        let over = shares.iter().map(|s| binomial_upper_tail(beyond, windows, *s)).sum::<f64>() / size;
        let needed = self.canaries.div_ceil(10).max(2);
        together.max(binomial_upper_tail(needed, self.canaries, over))
    }
}

/// The share of windows with an event.
fn bad(rate: f64) -> f64 {
    -expm1(-rate)
}

/// The rate of a device of level 1 at which this share of all windows is bad.
fn rate_of(share: f64, levels: &[f64]) -> f64 {
    let mean = |rate: f64| levels.iter().map(|level| bad(rate * level)).sum::<f64>() / levels.len() as f64;
    let (mut low, mut high) = (0.0, 1.0);
    while mean(high) < share && high < 1e6 {
        high *= 4.0;
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if mean(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaks(canaries: u64, sigma_milli: u64, allowance_ppm: u32) -> Breaks {
        let size = StageSize {
            fleet: 200,
            canaries,
            controls: 200 - canaries,
            windows: 60,
            reporting_ppm: 1_000_000,
            looks: 6,
            gates: 1,
        };
        let rates = FleetRates { share_ppm: 20_000, sigma_milli, dispersion_milli: 0, past_windows: 600 };
        Breaks::new(&size, &rates, allowance_ppm)
    }

    #[test]
    fn twice_two_percent_stays_within_five_and_four_times_does_not() {
        let alike = breaks(20, 0, 50_000);
        assert!(alike.chance(1.0) < 0.2 && alike.chance(4.0) > 0.95);
        assert!(breaks(200, 0, 100_000).chance(2.0) < 0.01);
        assert!(breaks(5, 0, 1_000_000).chance(100.0) < 1e-6);
        assert!(breaks(5, 0, 0).chance(1.0) > 0.8, "any bad window breaks none allowed");
    }

    #[test]
    fn the_chance_grows_with_the_rise() {
        for (canaries, sigma_milli) in [(5, 0), (20, 1_000), (100, 1_500)] {
            let breaks = breaks(canaries, sigma_milli, 50_000);
            let chances: Vec<f64> = (10..60).map(|tenths| breaks.chance(f64::from(tenths) * 0.1)).collect();
            assert!(chances.is_sorted(), "{canaries}, {sigma_milli}: {chances:?}");
        }
    }
}
