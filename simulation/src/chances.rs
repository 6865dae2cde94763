//! Draws from a device's own stream.

use libm::{expm1, floor, log, log1p, sqrt};
use modelfleet_number::chance::Chance;
use modelfleet_number::normal;

/// Variance above which a count is drawn from the normal curve.
const NORMAL_VARIANCE: f64 = 100.0;

/// An exponential waiting time with mean 1.
pub fn waiting(chance: &mut Chance) -> f32 {
    -log(chance.unit()) as f32
}

/// Whether something of this probability happens.
pub fn happens(probability: f64, chance: &mut Chance) -> bool {
    probability > 0.0 && chance.unit() < probability
}

/// A log-normal factor with mean 1.
pub fn spread(sigma: f64, chance: &mut Chance) -> f64 {
    if sigma <= 0.0 {
        return 1.0;
    }
    libm::exp(sigma * normal::quantile(chance.unit()) - 0.5 * sigma * sigma)
}

/// A Pareto factor of this index with mean 1; 1 for index 0.
pub fn pareto(index: f64, chance: &mut Chance) -> f64 {
    if index <= 1.0 {
        return 1.0;
    }
    (index - 1.0) / index * libm::pow(chance.unit(), -1.0 / index)
}

/// Windows until something with this mean waiting time happens, at least one.
pub fn spell(mean_windows: f64, chance: &mut Chance) -> u32 {
    if mean_windows <= 1.0 {
        return 1;
    }
    let windows = 1.0 + floor(log(chance.unit()) / log1p(-1.0 / mean_windows));
    if windows < f64::from(u32::MAX / 4) { windows as u32 } else { u32::MAX / 4 }
}

/// Events of a burst with this mean, at least one.
pub fn burst(mean: f64, chance: &mut Chance) -> u64 {
    if mean <= 1.0 { 1 } else { u64::from(spell(mean, chance)) }
}

/// Windows with at least one event among `windows`, at `hazard` events a window: from success to success, or by the
/// normal curve when there are many.
pub fn bad_windows(windows: u32, hazard: f64, chance: &mut Chance) -> u32 {
    if hazard <= 0.0 || windows == 0 {
        return 0;
    }
    let share = -expm1(-hazard);
    let all = f64::from(windows);
    let variance = all * share * (1.0 - share);
    if variance > NORMAL_VARIANCE {
        let draw = all * share + sqrt(variance) * normal::quantile(chance.unit());
        return libm::round(draw).clamp(0.0, all) as u32;
    }
    let (mut at, mut hits) = (0.0, 0);
    loop {
        // log1p(-share) is -hazard.
        at += floor(-log(chance.unit()) / hazard) + 1.0;
        if at > all {
            return hits;
        }
        hits += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_as_asked() {
        let chance = &mut Chance::new(3);
        let mean = |draw: &mut dyn FnMut() -> f64| (0..40_000).map(|_| draw()).sum::<f64>() / 40_000.0;
        let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 0.03, "{got}, want {want}");
        close(mean(&mut || f64::from(waiting(chance))), 1.0);
        close(mean(&mut || spread(0.5, chance)), 1.0);
        close(mean(&mut || pareto(3.0, chance)), 1.0);
        close(mean(&mut || pareto(0.0, chance)), 1.0);
        close(mean(&mut || f64::from(spell(12.0, chance))), 12.0);
        close(mean(&mut || burst(5.0, chance) as f64), 5.0);
        let share = -expm1(-0.2_f64);
        close(mean(&mut || f64::from(bad_windows(60, 0.2, chance))), 60.0 * share);
        close(mean(&mut || f64::from(bad_windows(5_000, 0.2, chance))), 5_000.0 * share);
        close(mean(&mut || f64::from(bad_windows(600, 0.002, chance))), 1.2);
        assert_eq!(bad_windows(60, 1e9, chance), 60);
    }
}
