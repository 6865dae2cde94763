//! The hypergeometric distribution: drawing without replacement from a finite fleet.

use crate::beta::binomial_upper_tail;
use crate::binomial;
use crate::chance::Chance;
use crate::normal;
use libm::sqrt;

/// A total beyond which counts are no longer whole numbers in the sums: the normal curve is used.
const MOST_TOTAL: u64 = 1 << 40;
/// Standard deviation beyond which it is used as well: the sum would have too many terms, and the curve is near.
const MOST_DEVIATION: f64 = 3e4;

/// Draws up to which [`draw`] goes one by one.
const MOST_DRAWS: u64 = 4_096;

/// How many marked ones `draws` from `total` take, of which `marked` are marked. One by one; where even the
/// smallest side is large, by the normal curve.
pub fn draw(total: u64, marked: u64, draws: u64, chance: &mut Chance) -> u64 {
    let (marked, draws) = (marked.min(total), draws.min(total));
    // What is left behind, or what is not marked, may be the shorter list to go through.
    if draws > total - draws {
        return marked - draw(total, marked, total - draws, chance);
    }
    if marked > total - marked {
        return draws - draw(total, total - marked, draws, chance);
    }
    let (few, many) = (marked.min(draws), marked.max(draws));
    let n = total as f64;
    if few > MOST_DRAWS {
        let (f, m) = (few as f64, many as f64);
        let deviation = sqrt(f * (m / n) * (1.0 - m / n) * ((n - f) / (n - 1.0)));
        let taken = f * (m / n) + deviation * normal::quantile(chance.unit());
        return (taken.round().max(0.0) as u64).min(few);
    }
    let mut taken = 0;
    for i in 0..few {
        taken += u64::from(chance.unit() * (n - i as f64) < (many - taken) as f64);
    }
    taken
}

/// P(X >= k) where X counts marked ones among `draws` from `total` of which `marked` are marked.
///
/// The tail is summed by ratios from its largest term, so it keeps its digits far out; for counts so large that a
/// sum would not end, by the normal curve. Arguments that make no sense (more marked or draws than total) are cut
/// to total.
pub fn upper_tail(k: u64, total: u64, marked: u64, draws: u64) -> f64 {
    let (marked, draws) = (marked.min(total), draws.min(total));
    let low = marked - marked.min(total - draws);
    let high = marked.min(draws);
    if k <= low {
        return 1.0;
    }
    if k > high {
        return 0.0;
    }
    let (n, m, d) = (total as f64, marked as f64, draws as f64);
    let mean = m / n * d;
    let deviation = sqrt(mean * (1.0 - m / n) * ((n - d) / (n - 1.0)));
    if total > MOST_TOTAL || deviation > MOST_DEVIATION {
        return large_tail(k, mean, deviation, (m, d, n));
    }
    // The mean decides which side is the short one to sum.
    if (k as f64) > mean {
        sum_up(k, high, total, marked, draws).min(1.0)
    } else {
        (1.0 - sum_down(k - 1, low, total, marked, draws)).clamp(0.0, 1.0)
    }
}

/// For a huge total: by the normal curve, or where that is too coarse as so many independent draws.
fn large_tail(k: u64, mean: f64, deviation: f64, (m, d, n): (f64, f64, f64)) -> f64 {
    if deviation > 1e3 {
        return normal::upper_tail((k as f64 - 0.5 - mean) / deviation);
    }
    let few = m.min(d);
    binomial_upper_tail(k, few as u64, m.max(d) / n)
}

/// P(X = k).
pub fn mass(k: u64, total: u64, marked: u64, draws: u64) -> f64 {
    let (n, m, d, x) = (total as f64, marked as f64, draws as f64, k as f64);
    if total == 0 || n - m < d - x {
        return if total == 0 && k == 0 { 1.0 } else { 0.0 };
    }
    // Any chance per draw gives the same; the expected one keeps all three near their means.
    let (p, q) = (d / n, (n - d) / n);
    binomial::density(x, m, p, q) * binomial::density(d - x, n - m, p, q) / binomial::density(d, n, p, q)
}

fn sum_up(from: u64, high: u64, total: u64, marked: u64, draws: u64) -> f64 {
    let (n, m, d) = (total as f64, marked as f64, draws as f64);
    let mut term = mass(from, total, marked, draws);
    let mut sum = term;
    for k in from..high {
        let k = k as f64;
        term *= (m - k) * (d - k) / ((k + 1.0) * (n - m - d + k + 1.0));
        sum += term;
        if term.is_nan() || term <= sum * 1e-18 {
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
        if term.is_nan() || term <= sum * 1e-18 {
            break;
        }
    }
    sum
}
