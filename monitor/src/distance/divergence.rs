//! Divergences between histograms.

use crate::distance::both;
use libm::{log, sqrt};

/// Kullback-Leibler divergence of `current` from `reference` in nats, `sum c ln(c / r)` (Kullback & Leibler
/// 1951; `scipy.stats.entropy(c, r)`). Infinite when `current` has something where `reference` has nothing.
pub fn kullback_leibler(current: &[u64], reference: &[u64]) -> f64 {
    let (r, c) = both(reference, current);
    relative_entropy(&c, &r)
}

fn relative_entropy(p: &[f64], q: &[f64]) -> f64 {
    p.iter()
        .zip(q)
        .map(|(&p, &q)| {
            if p <= 0.0 {
                0.0
            } else if q <= 0.0 {
                f64::INFINITY
            } else {
                p * log(p / q)
            }
        })
        .sum()
}

/// Jensen-Shannon divergence in nats, at most ln 2 (reference 001; Lin 1991). SciPy's `jensenshannon` is its
/// square root.
pub fn jensen_shannon(a: &[u64], b: &[u64]) -> f64 {
    let (p, q) = both(a, b);
    let middle: Vec<f64> = p.iter().zip(&q).map(|(p, q)| 0.5 * (p + q)).collect();
    (0.5 * relative_entropy(&p, &middle) + 0.5 * relative_entropy(&q, &middle)).max(0.0)
}

/// Hellinger distance, 0 to 1: `sqrt(1/2 sum (sqrt p - sqrt q)^2)` (Hellinger 1909).
pub fn hellinger(a: &[u64], b: &[u64]) -> f64 {
    let (p, q) = both(a, b);
    let sum: f64 = p.iter().zip(&q).map(|(&p, &q)| (sqrt(p) - sqrt(q)) * (sqrt(p) - sqrt(q))).sum();
    sqrt(0.5 * sum)
}
