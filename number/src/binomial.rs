//! The binomial density, without losing digits for large counts.

use libm::{exp, lgamma, log, log1p};
use std::f64::consts::PI;

/// P(X = k) for X binomial of `n` at `p`, with 1 - p as `q`.
///
/// The saddle-point form (Loader 2000, *Fast and accurate computation of binomial probabilities*): differences of
/// logarithms of factorials would lose as many digits as n has.
pub fn density(k: f64, n: f64, p: f64, q: f64) -> f64 {
    if !(k >= 0.0 && k <= n) {
        return 0.0;
    }
    if p <= 0.0 || q <= 0.0 {
        let certain = if p <= 0.0 { 0.0 } else { n };
        return if k == certain { 1.0 } else { 0.0 };
    }
    if k == 0.0 {
        return exp(n * if p < 0.1 { log1p(-p) } else { log(q) });
    }
    if k == n {
        return exp(n * if q < 0.1 { log1p(-q) } else { log(p) });
    }
    let error = stirling_error(n) - stirling_error(k) - stirling_error(n - k);
    let apart = deviance(k, n * p) + deviance(n - k, n * q);
    exp(error - apart) * libm::sqrt(n / (2.0 * PI * k * (n - k)))
}

/// log(n!) less Stirling's formula.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        return lgamma(n + 1.0) - (n + 0.5) * log(n) + n - 0.5 * log(2.0 * PI);
    }
    let square = n * n;
    let series = 1.0 / 1_188.0 / square - 1.0 / 1_680.0;
    (1.0 / 12.0 + (-1.0 / 360.0 + (1.0 / 1_260.0 + series / square) / square) / square) / n
}

/// x log(x / mean) + mean - x, also where x is near the mean.
fn deviance(x: f64, mean: f64) -> f64 {
    if (x - mean).abs() < 0.1 * (x + mean) {
        let v = (x - mean) / (x + mean);
        let mut sum = (x - mean) * v;
        let mut term = 2.0 * x * v;
        for j in 1..1_000 {
            term *= v * v;
            let next = sum + term / f64::from(2 * j + 1);
            if next == sum {
                break;
            }
            sum = next;
        }
        return sum;
    }
    x * log(x / mean) + mean - x
}
