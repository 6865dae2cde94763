//! Many windows at once, for worlds in which a device's windows are independent.

use modelfleet_number::{chance::Chance, normal};

/// Successes among `trials` at `p`: by skipping from success to success, or by the normal curve when there are
/// many.
pub fn binomial(trials: u64, p: f64, chance: &mut Chance) -> u64 {
    if p <= 0.0 || trials == 0 {
        return 0;
    }
    let mean = trials as f64 * p;
    if mean * (1.0 - p) > 30.0 {
        let draw = mean + libm::sqrt(mean * (1.0 - p)) * normal::quantile(chance.unit());
        return draw.round().clamp(0.0, trials as f64) as u64;
    }
    let log_miss = libm::log1p(-p.min(1.0 - 1e-12));
    let (mut at, mut hits) = (0.0, 0);
    loop {
        at += (libm::log(chance.unit()) / log_miss).floor() + 1.0;
        if at > trials as f64 {
            return hits;
        }
        hits += 1;
    }
}
