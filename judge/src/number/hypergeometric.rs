//! The hypergeometric distribution: drawing without replacement from a finite fleet.

use libm::{exp, lgamma};

fn ln_choose(n: f64, k: f64) -> f64 {
    lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0)
}

/// P(X >= k) where X counts marked ones among `draws` from `total` of which `marked` are marked.
///
/// The tail is summed by ratios from its largest term, so it keeps its digits far out. Arguments that make
/// no sense (more marked or draws than total) are cut to total.
pub fn upper_tail(k: u64, total: u64, marked: u64, draws: u64) -> f64 {
    let (marked, draws) = (marked.min(total), draws.min(total));
    let low = marked.saturating_add(draws).saturating_sub(total);
    let high = marked.min(draws);
    if k <= low {
        return 1.0;
    }
    if k > high {
        return 0.0;
    }
    // The mean decides which side is the short one to sum.
    let mean = marked as f64 * draws as f64 / total as f64;
    if (k as f64) > mean {
        sum_up(k, high, total, marked, draws).min(1.0)
    } else {
        (1.0 - sum_down(k - 1, low, total, marked, draws)).clamp(0.0, 1.0)
    }
}

/// P(X = k).
pub fn mass(k: u64, total: u64, marked: u64, draws: u64) -> f64 {
    let (n, m, d, x) = (total as f64, marked as f64, draws as f64, k as f64);
    exp(ln_choose(m, x) + ln_choose(n - m, d - x) - ln_choose(n, d))
}

fn sum_up(from: u64, high: u64, total: u64, marked: u64, draws: u64) -> f64 {
    let (n, m, d) = (total as f64, marked as f64, draws as f64);
    let mut term = mass(from, total, marked, draws);
    let mut sum = term;
    for k in from..high {
        let k = k as f64;
        term *= (m - k) * (d - k) / ((k + 1.0) * (n - m - d + k + 1.0));
        sum += term;
        if term < sum * 1e-18 {
            break;
        }
    }
    sum
}

fn sum_down(from: u64, low: u64, total: u64, marked: u64, draws: u64) -> f64 {
    let (n, m, d) = (total as f64, marked as f64, draws as f64);
    let mut term = mass(from, total, marked, draws);
    let mut sum = term;
    for k in (low + 1..=from).rev() {
        let k = k as f64;
        term *= k * (n - m - d + k) / ((m - k + 1.0) * (d - k + 1.0));
        sum += term;
        if term < sum * 1e-18 {
            break;
        }
    }
    sum
}
