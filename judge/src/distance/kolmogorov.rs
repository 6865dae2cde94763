//! The Kolmogorov-Smirnov distance.

use crate::distance::both;
use libm::{exp, sqrt};

/// Largest size for which the exact p-value is counted out; above it the asymptotic one is used.
const EXACT: usize = 1_000;

/// Largest difference of the cumulated shares of two histograms: the Kolmogorov-Smirnov distance up to the
/// mass of one bin.
pub fn ks_histogram(a: &[u64], b: &[u64]) -> f64 {
    let (p, q) = both(a, b);
    let (mut above, mut most) = (0.0, 0.0_f64);
    for (p, q) in p.iter().zip(&q) {
        above += p - q;
        most = most.max(f64::abs(above));
    }
    most
}

/// Distance and two-sided p-value from samples (`scipy.stats.ks_2samp`): exact by counting lattice paths up to
/// 1 000 values each (Hodges 1958), above that Kolmogorov's series. (0, 1) if either is empty; values that are
/// not numbers are left out.
pub fn ks_two_sample(a: &[f64], b: &[f64]) -> (f64, f64) {
    let sorted = |list: &[f64]| {
        let mut list: Vec<f64> = list.iter().copied().filter(|v| !v.is_nan()).collect();
        list.sort_unstable_by(f64::total_cmp);
        list
    };
    let (a, b) = (sorted(a), sorted(b));
    let (n, m) = (a.len(), b.len());
    if n == 0 || m == 0 {
        return (0.0, 1.0);
    }
    // In units of 1/(n m): an integer, so that ties in the exact count are exact.
    let mut most = 0_u128;
    let (mut i, mut j) = (0, 0);
    while i < n && j < m {
        let value = a[i].min(b[j]);
        i += a[i..].iter().take_while(|&&v| v <= value).count();
        j += b[j..].iter().take_while(|&&v| v <= value).count();
        most = most.max((i as u128 * m as u128).abs_diff(j as u128 * n as u128));
    }
    let distance = most as f64 / (n as f64 * m as f64);
    let p = if n.max(m) <= EXACT { exact(n, m, most) } else { asymptotic(n, m, distance) };
    (distance, p)
}

/// P(distance >= d): one less the share of lattice paths from (0, 0) to (n, m) that stay closer than d.
fn exact(n: usize, m: usize, most: u128) -> f64 {
    if most == 0 {
        return 1.0;
    }
    // Chance of being at (i, j) along a random path that has not strayed, row by row; only cells with
    // |i m - j n| < most can be on it.
    let (wide, long) = (m as u128, n as u128);
    let mut row = vec![0.0; m + 1];
    let mut before = 0..0;
    for i in 0..=n {
        let at = i as u128 * wide;
        let from = if at < most { 0 } else { ((at - most) / long + 1) as usize };
        let to = (((at + most - 1) / long) as usize).min(m);
        for j in from..=to {
            let left = (n - i + m - j) as f64;
            let above = if i > 0 && before.contains(&j) { row[j] * (n - i + 1) as f64 } else { 0.0 };
            let beside = if j > from { row[j - 1] * (m - j + 1) as f64 } else { 0.0 };
            row[j] = if i == 0 && j == 0 { 1.0 } else { (above + beside) / (left + 1.0) };
        }
        before = from..to + 1;
    }
    if before.contains(&m) { (1.0 - row[m]).clamp(0.0, 1.0) } else { 1.0 }
}

/// Kolmogorov's limiting distribution at sqrt(n m / (n + m)) d.
fn asymptotic(n: usize, m: usize, distance: f64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let x = sqrt(n * m / (n + m)) * distance;
    if x < 0.2 {
        return 1.0;
    }
    let mut sum = 0.0;
    for k in 1..200 {
        let k = f64::from(k);
        let term = exp(-2.0 * k * k * x * x);
        sum += if k % 2.0 == 1.0 { term } else { -term };
        if term < 1e-20 {
            break;
        }
    }
    (2.0 * sum).clamp(0.0, 1.0)
}
