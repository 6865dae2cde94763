//! What a scenario says about how often a fleet's windows are bad.

use modelfleet_judge::sizing::FleetRates;
use modelfleet_number::normal;

use crate::harm::DEFAULT_RATE;
use crate::scenario::Scenario;

/// Points at which the spread between devices is averaged over.
const POINTS: u32 = 101;

impl Scenario {
    /// How often windows are bad by one objective. Windows are cut to 0/1, so bursts make fewer of them bad.
    #[must_use]
    pub fn fleet_rates(&self, objective: &str) -> FleetRates {
        let fleet = &self.fleet;
        FleetRates {
            share_ppm: libm::round(self.bad_share(objective, 1.0) * 1e6) as u64,
            sigma_milli: libm::round(fleet.sigma * 1e3) as u64,
            // Not measured: the planner adds the noise of the devices' own past.
            dispersion_milli: 0,
            past_windows: u64::from(fleet.history_windows),
        }
    }

    /// The rise of the rate of bad events that makes windows bad so many times as often, both in millionths; `None`: no rise
    /// does.
    #[must_use]
    pub fn rise_of_events_ppm(&self, objective: &str, rise_of_windows_ppm: u64) -> Option<u64> {
        let wanted = self.bad_share(objective, 1.0) * rise_of_windows_ppm as f64 * 1e-6;
        let (mut low, mut high) = (0.0, 1e4);
        if rise_of_windows_ppm == u64::MAX || self.bad_share(objective, high) < wanted {
            return None;
        }
        for _ in 0..50 {
            let middle = 0.5 * (low + high);
            if self.bad_share(objective, middle) < wanted {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(libm::round(high * 1e6) as u64)
    }

    /// Share of windows that are bad when events come so many times as often.
    fn bad_share(&self, objective: &str, ratio: f64) -> f64 {
        let fleet = &self.fleet;
        let bursts = ratio * fleet.base_rate.of(objective, DEFAULT_RATE) / fleet.burst;
        let share = |i: u32| {
            let z = normal::quantile((f64::from(i) + 0.5) / f64::from(POINTS));
            let level = libm::exp(fleet.sigma * z - 0.5 * fleet.sigma * fleet.sigma);
            -libm::expm1(-bursts * level)
        };
        (0..POINTS).map(share).sum::<f64>() / f64::from(POINTS)
    }
}
