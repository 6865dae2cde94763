//! Pearson's chi-squared test that two histograms come from one distribution.

use modelfleet_number::gamma::chi_squared_tail;

/// Statistic, degrees of freedom and p-value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChiSquared {
    /// Sum of (observed - expected)^2 / expected.
    pub statistic: f64,
    /// Bins that either has, less one.
    pub freedom: u32,
    /// Chance of so large a statistic without a difference.
    pub p_value: f64,
}

/// The two-sample form (2 x bins table; Pearson 1900; `scipy.stats.chi2_contingency(..., correction=False)`):
/// right also when the current window is not small against the reference. Bins empty in both are left out.
pub fn chi_squared(reference: &[u64], current: &[u64]) -> ChiSquared {
    let count = |list: &[u64], i: usize| list.get(i).map_or(0.0, |&c| c as f64);
    let total = |list: &[u64]| list.iter().map(|&c| c as f64).sum::<f64>();
    let (r_total, c_total) = (total(reference), total(current));
    let (mut statistic, mut bins) = (0.0, 0_u32);
    if r_total > 0.0 && c_total > 0.0 {
        for i in 0..reference.len().max(current.len()) {
            let (r, c) = (count(reference, i), count(current, i));
            if r + c <= 0.0 {
                continue;
            }
            bins += 1;
            let expected_r = (r + c) * r_total / (r_total + c_total);
            let expected_c = (r + c) * c_total / (r_total + c_total);
            statistic += (r - expected_r) * (r - expected_r) / expected_r;
            statistic += (c - expected_c) * (c - expected_c) / expected_c;
        }
    }
    let freedom = bins.saturating_sub(1);
    let p_value = if freedom == 0 { 1.0 } else { chi_squared_tail(statistic, f64::from(freedom)) };
    ChiSquared { statistic, freedom, p_value }
}
