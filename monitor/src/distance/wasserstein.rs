//! The Wasserstein distance of order one: how far mass has to be moved.

use crate::distance::both;

/// From samples: the area between the two cumulated distributions (Vallender, Theory of Probability and its
/// Applications 1974; `scipy.stats.wasserstein_distance`).
/// Non-finite values are left out; 0 if either is empty.
pub fn wasserstein_samples(a: &[f64], b: &[f64]) -> f64 {
    let finite = |list: &[f64]| -> Vec<f64> {
        let mut list: Vec<f64> = list.iter().copied().filter(|v| v.is_finite()).collect();
        list.sort_unstable_by(f64::total_cmp);
        list
    };
    let (a, b) = (finite(a), finite(b));
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let (mut i, mut j, mut area) = (0, 0, 0.0);
    let mut at = a[0].min(b[0]);
    while i < a.len() || j < b.len() {
        let next = match (a.get(i), b.get(j)) {
            (Some(&x), Some(&y)) => x.min(y),
            (Some(&x), None) => x,
            (None, Some(&y)) => y,
            (None, None) => break,
        };
        area += (i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs() * (next - at);
        at = next;
        while a.get(i).is_some_and(|&x| x <= next) {
            i += 1;
        }
        while b.get(j).is_some_and(|&y| y <= next) {
            j += 1;
        }
    }
    area
}

/// From histograms over bins with these edges (one more than bins): the same area, with mass spread evenly over its
/// bin. Within a hundredth for 64 equal bins; wide outer bins cost up to a tenth (`docs/detectors.md`).
/// 0 when edges do not fit the counts.
pub fn wasserstein_histogram(edges: &[f64], a: &[u64], b: &[u64]) -> f64 {
    let (p, q) = both(a, b);
    if edges.len() != p.len() + 1 {
        return 0.0;
    }
    let (mut before, mut area) = (0.0_f64, 0.0);
    for (i, (p, q)) in p.iter().zip(&q).enumerate() {
        let width = edges[i + 1] - edges[i];
        let after = before + p - q;
        // The area under |line from before to after|.
        area += if before * after >= 0.0 {
            0.5 * (before.abs() + after.abs()) * width
        } else {
            0.5 * (before * before + after * after) / (before.abs() + after.abs()) * width
        };
        before = after;
    }
    area
}
