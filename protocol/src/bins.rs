//! Histograms over the fixed bins of a reference profile, and the two drift distances that a device computes.
//!
//! Bins are half open, `[edge i, edge i+1)`, with an underflow bin before and an overflow bin behind: `n` edges
//! make `n + 1` counts.

use serde::{Deserialize, Serialize};

/// Most edges of one feature's bins.
pub const EDGES_MAX: usize = 64;

/// Counts per bin, underflow first. Merging is exact, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bins(pub Vec<u64>);

impl Bins {
    /// Empty bins for this many edges.
    #[must_use]
    pub fn for_edges(edges: usize) -> Bins {
        Bins(vec![0; edges + 1])
    }

    /// Counts `value` into its bin; a value that is not a number is not counted.
    pub fn record(&mut self, edges: &[f64], value: f64) {
        if !value.is_nan() {
            let bin = edges.partition_point(|&edge| edge <= value);
            if let Some(count) = self.0.get_mut(bin) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// Adds the counts of bins of the same shape; others are left out, because bins of different profiles do
    /// not add up.
    pub fn merge(&mut self, other: &Bins) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
        } else if self.0.len() == other.0.len() {
            self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a = a.saturating_add(*b));
        }
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, &c| sum.saturating_add(c))
    }
}

/// A reading as it is counted: in 32 bits, whatever the model's type is. The reference profile and what devices see are
/// counted by this one rule, so that rows have no drift from their own profile.
#[must_use]
pub fn as_counted(reading: f64) -> f64 {
    f64::from(reading as f32)
}

/// Share that an empty bin is given, so that the logarithm exists: half a value of the smaller side's total.
fn share(count: u64, total: u64, bins: usize) -> f64 {
    (count as f64 + 0.5) / (total as f64 + 0.5 * bins as f64)
}

fn shares<'a>(seen: &'a Bins, reference: &'a Bins) -> Option<impl Iterator<Item = (f64, f64)> + 'a> {
    let (a, e, bins) = (seen.total(), reference.total(), seen.0.len());
    if a == 0 || e == 0 || bins != reference.0.len() {
        return None;
    }
    Some(seen.0.iter().zip(&reference.0).map(move |(&x, &y)| (share(x, a, bins), share(y, e, bins))))
}

/// Population stability index of the seen bins against the reference, in millionths:
/// the sum over bins of (actual - expected) ln(actual / expected) (reference 001, "Feature Drift Analysis").
///
/// `None` when either side is empty or their bins differ. Empty bins count as half a value.
#[must_use]
pub fn psi_micros(seen: &Bins, reference: &Bins) -> Option<u64> {
    let sum: f64 = shares(seen, reference)?.map(|(a, e)| (a - e) * libm::log(a / e)).sum();
    Some(libm::round(sum.max(0.0) * 1e6) as u64)
}

/// Kullback-Leibler divergence of the seen bins from the reference, in millionths of a nat:
/// the sum over bins of actual ln(actual / expected).
///
/// `None` when either side is empty or their bins differ. Empty bins count as half a value.
#[must_use]
pub fn kl_micros(seen: &Bins, reference: &Bins) -> Option<u64> {
    let sum: f64 = shares(seen, reference)?.map(|(a, e)| a * libm::log(a / e)).sum();
    Some(libm::round(sum.max(0.0) * 1e6) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_half_open_bins() {
        let edges = [0.0, 1.0, 2.0];
        let mut bins = Bins::for_edges(edges.len());
        for v in [-1.0, 0.0, 0.5, 1.0, 2.0, f64::INFINITY, f64::NAN] {
            bins.record(&edges, v);
        }
        assert_eq!(bins.0, [1, 2, 1, 2]);
    }

    #[test]
    fn drift_is_zero_for_the_same_shape_and_grows_with_the_shift() {
        let reference = Bins(vec![0, 250, 250, 250, 250, 0]);
        assert_eq!(psi_micros(&reference, &reference), Some(0));
        let (near, far) = (Bins(vec![0, 200, 250, 250, 300, 0]), Bins(vec![0, 0, 0, 500, 500, 0]));
        assert!(psi_micros(&near, &reference) < psi_micros(&far, &reference));
        // (0.2-0.25) ln(0.2/0.25) + (0.3-0.25) ln(0.3/0.25) = 0.02027, smoothing aside
        let psi = psi_micros(&near, &reference).unwrap();
        assert!((19_000..21_000).contains(&psi), "{psi}");
        assert_eq!(psi_micros(&Bins(vec![0; 6]), &reference), None);
        assert_eq!(kl_micros(&Bins(vec![1, 2]), &reference), None);
    }
}
