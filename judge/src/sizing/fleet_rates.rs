//! How a fleet behaves under the model it has: rate, spread between devices, scatter of one device.

use crate::exact::change::subjects;
use crate::exact::ratio::scatter;
use crate::observations::{Arm, Counts, SloCounts};
use libm::{log1p, sqrt};
use modelfleet_number::rounding::{milli, ppm};

/// How often a fleet's windows are bad by one SLI, and how much devices differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetRates {
    /// Share of bad device-windows.
    pub share_ppm: u64,
    /// Spread between devices: standard deviation of the logarithm of the rate, in thousandths.
    pub sigma_milli: u64,
    /// Variance over mean of a device's count, in thousandths: 1000 for windows that are independent.
    pub dispersion_milli: u64,
    /// Windows of own past per device (median).
    pub past_windows: u64,
}

/// From two successive periods per device (for example the last week against the weeks before), by moments.
pub fn fleet_rates(periods: &[SloCounts]) -> FleetRates {
    let known: Vec<Counts> =
        periods.iter().map(|p| p.history.plus(p.post)).filter(|counts| counts.known > 0).collect();
    let all = known.iter().fold(Counts::default(), |sum, c| sum.plus(*c));
    let mean = all.bad() as f64 / (all.known as f64).max(1.0);
    let devices = (known.len() as f64 - 1.0).max(1.0);
    // Variance of the devices' shares, less what chance alone gives them.
    let (mut spread, mut chance) = (0.0, 0.0);
    for counts in &known {
        let share = counts.bad() as f64 / counts.known as f64;
        spread += (share - mean) * (share - mean) / devices;
        chance += mean * (1.0 - mean) / counts.known as f64 / (devices + 1.0);
    }
    let excess = (spread - chance).max(0.0);
    let sigma = if mean > 0.0 { sqrt(log1p(excess / (mean * mean))) } else { 0.0 };
    let list = subjects(periods.iter().enumerate().map(|(i, p)| (i as u32, 0, Arm::Control, *p)));
    let mut past: Vec<u64> = periods.iter().map(|p| p.history.known).collect();
    past.sort_unstable();
    FleetRates {
        share_ppm: ppm(mean),
        sigma_milli: milli(sigma).unsigned_abs(),
        dispersion_milli: milli(scatter(&list, Arm::Control)).unsigned_abs(),
        past_windows: past.get(past.len() / 2).copied().unwrap_or(0),
    }
}
