//! The Kolmogorov distribution: the largest distance of an empirical distribution from the true one.

use libm::{exp, lgamma, log, log1p, pow, sqrt};
use std::f64::consts::PI;

/// Below this n d^2 the series of both tails is used, above it the exact one-sided tail, twice.
const SERIES_TO: f64 = 2.2;

/// P(distance > d) for n values of any continuous distribution; as `scipy.stats.kstwo.sf` for n above 140.
///
/// In the tail twice the exact one-sided probability (the error is below the last digit there), otherwise the
/// expansion of Pelz & Good (J. Royal Statistical Society B 1976) to n^(-3/2). Selection after Simard & L'Ecuyer
/// (J. Statistical Software 2011). 1 for n = 0.
pub fn upper_tail(n: u64, d: f64) -> f64 {
    let size = n as f64;
    if n == 0 || d.is_nan() || d * size <= 0.5 {
        return 1.0;
    }
    if d >= 1.0 {
        return 0.0;
    }
    if size * d * d >= SERIES_TO {
        return (2.0 * one_sided(size, d)).min(1.0);
    }
    (1.0 - series(size, d)).clamp(0.0, 1.0)
}

/// P(the empirical distribution is somewhere above the true one by d or more), exact (Birnbaum & Tingey 1951):
/// `d * sum over j of C(n, j) (d + j/n)^(j-1) (1 - d - j/n)^(n-j)`.
fn one_sided(n: f64, d: f64) -> f64 {
    let last = (n * (1.0 - d)).floor() as u64;
    let all = lgamma(n + 1.0);
    let term = |j: u64| {
        let j = j as f64;
        let (up, down) = (d + j / n, 1.0 - d - j / n);
        if down <= 0.0 {
            return if n - j < 0.5 { exp((j - 1.0) * log(up)) } else { 0.0 };
        }
        let choose = all - lgamma(j + 1.0) - lgamma(n - j + 1.0);
        exp(choose + (j - 1.0) * log(up) + (n - j) * log1p(-up))
    };
    d * (0..=last).map(term).sum::<f64>()
}

/// P(distance <= d) by Pelz and Good's four terms.
fn series(n: f64, d: f64) -> f64 {
    let z = sqrt(n) * d;
    let (z2, z4, z6, z8) = (z * z, pow(z, 4.0), pow(z, 6.0), pow(z, 8.0));
    let log_q = -PI * PI / 8.0 / z2;
    if log_q < -708.0 {
        return 0.0;
    }
    let (p2, p4, p6) = (PI * PI, pow(PI, 4.0), pow(PI, 6.0));
    let most = (16.0 * z / PI).ceil() as u32;
    let mut terms = [0.0; 4];
    for k in (1..=most).rev().map(f64::from) {
        let m2 = (2.0 * k - 1.0) * (2.0 * k - 1.0);
        let (m4, m6) = (m2 * m2, m2 * m2 * m2);
        let parts = [
            1.0,
            -z2 + p2 / 4.0 * m2,
            6.0 * z6 + 2.0 * z4 + (2.0 * z4 - 5.0 * z2) * p2 / 4.0 * m2 + p4 * (1.0 - 2.0 * z2) / 16.0 * m4,
            -30.0 * z6 - 90.0 * z8
                + p2 * (135.0 * z4 - 96.0 * z6) / 4.0 * m2
                + p4 * (-60.0 * z2 + 212.0 * z4) / 16.0 * m4
                + p6 * (5.0 - 30.0 * z2) / 64.0 * m6,
        ];
        for (term, part) in terms.iter_mut().zip(parts) {
            *term = *term * exp(log_q * 8.0 * k) + part;
        }
    }
    let root = sqrt(2.0 * PI);
    let scale = [z, 6.0 * z4, 72.0 * pow(z, 7.0), 6_480.0 * pow(z, 10.0)];
    for (term, scale) in terms.iter_mut().zip(scale) {
        *term *= exp(log_q) * root / scale;
    }
    for k in (1..=most).rev().map(f64::from) {
        let weight = k * k * exp(4.0 * log_q * k * k) * p2 * root;
        terms[2] -= weight / (36.0 * z * z2);
        terms[3] += weight * (3.0 * z2 - p2 * k * k) / (216.0 * z6);
    }
    terms[0] + terms[1] / sqrt(n) + terms[2] / n + terms[3] / (n * sqrt(n))
}

#[cfg(test)]
mod tests {
    use super::upper_tail;

    /// `scipy.stats.kstwo.sf`.
    #[test]
    fn as_scipy() {
        for (n, d, want) in WANT {
            let got = upper_tail(n, d);
            assert!((got / want - 1.0).abs() < 1e-9, "{n} {d}: {got}, scipy {want}");
        }
        assert_eq!((upper_tail(0, 0.5), upper_tail(9, 1.0), upper_tail(9, f64::NAN)), (1.0, 0.0, 1.0));
    }

    const WANT: [(u64, f64, f64); 6] = [
        (8571, 0.005, 0.9821919448745556),
        (8571, 0.01, 0.35577624429321764),
        (8571, 0.015, 0.04183987751301477),
        (8571, 0.03, 3.8991184048675064e-07),
        (24000, 0.008, 0.09215352969366086),
        (1000, 0.04, 0.07933956059000224),
    ];
}
