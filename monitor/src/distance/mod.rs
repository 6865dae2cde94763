//! How far two distributions are apart: on mergeable histograms (counts per bin), and on samples.
//!
//! Histogram functions take counts over the same bins; a shorter slice counts as padded with zeros.

mod chi_squared;
mod divergence;
mod drift_gate;
mod kolmogorov;
mod mmd;
mod psi;
mod wasserstein;

pub use chi_squared::{ChiSquared, chi_squared};
pub use divergence::{hellinger, jensen_shannon, kullback_leibler};
pub use drift_gate::{DriftGate, DriftVerdict};
pub use kolmogorov::{ks_histogram, ks_two_sample};
pub use mmd::mmd_squared;
pub use psi::psi;
pub use wasserstein::{wasserstein_histogram, wasserstein_samples};

/// Counts as shares; all zero when nothing was counted.
fn shares(counts: &[u64], bins: usize) -> Vec<f64> {
    let total: f64 = counts.iter().map(|&c| c as f64).sum();
    (0..bins)
        .map(|i| if total > 0.0 { counts.get(i).map_or(0.0, |&c| c as f64 / total) } else { 0.0 })
        .collect()
}

/// Both as shares over as many bins as the longer has.
fn both(reference: &[u64], current: &[u64]) -> (Vec<f64>, Vec<f64>) {
    let bins = reference.len().max(current.len());
    (shares(reference, bins), shares(current, bins))
}
