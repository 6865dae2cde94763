//! Random numbers of the shapes that a fleet has.

use libm::{cos, exp, log};
use modelfleet_number::chance::Chance;

/// A normal number, mean 0 and deviation 1.
pub fn normal(chance: &mut Chance) -> f64 {
    let (u, v) = (chance.unit().max(f64::MIN_POSITIVE), chance.unit());
    (-2.0 * log(u)).sqrt() * cos(std::f64::consts::TAU * v)
}

/// How many of `n` with chance `p`: exact below ten expected ones (Poisson for rare ones), else by the normal curve.
pub fn binomial(n: f64, p: f64, chance: &mut Chance) -> u64 {
    let p = p.clamp(0.0, 1.0);
    let mean = n * p;
    if mean > 10.0 && n - mean > 10.0 {
        let drawn = mean + (mean * (1.0 - p)).sqrt() * normal(chance);
        return drawn.round().clamp(0.0, n) as u64;
    }
    if mean > 10.0 {
        return n as u64 - binomial(n, 1.0 - p, chance);
    }
    let mut left = chance.unit();
    let mut mass = exp(-mean);
    let mut count = 0_u64;
    while left > mass && (count as f64) < n {
        left -= mass;
        count += 1;
        mass *= mean / count as f64;
    }
    count
}

/// Student's t with three degrees of freedom, of variance 1: heavy tails.
pub fn heavy(chance: &mut Chance) -> f64 {
    let sum: f64 = (0..3).map(|_| normal(chance)).map(|z| z * z).sum();
    normal(chance) / sum.max(1e-12).sqrt()
}
