//! The population stability index.

use libm::log;

/// `sum (current - reference) ln(current / reference)` over bins (reference 001). Half a count is added to
/// every bin of both, so that an empty bin does not make it infinite.
///
/// With no drift its mean is about (bins - 1)(1/n + 1/m): at 100 rows and ten bins 0.09, which the usual limit
/// of 0.1 or 0.2 takes for drift. Use [`crate::distance::DriftGate`], never the bare number.
pub fn psi(reference: &[u64], current: &[u64]) -> f64 {
    let bins = reference.len().max(current.len());
    let smooth = |counts: &[u64]| -> Vec<f64> {
        let total = counts.iter().map(|&c| c as f64).sum::<f64>() + 0.5 * bins as f64;
        (0..bins).map(|i| (counts.get(i).map_or(0.0, |&c| c as f64) + 0.5) / total).collect()
    };
    smooth(reference).iter().zip(smooth(current)).map(|(r, c)| (c - r) * log(c / r)).sum()
}
