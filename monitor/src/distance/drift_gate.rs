//! The drift gate: significance and effect together.
//!
//! Significance is the chi-squared test of homogeneity (Pearson 1900), effect the population stability index with
//! the usual limit of 0.1 for a change worth a look (Siddiqi, *Credit Risk Scorecards*, 2006). That a p-value alone
//! says nothing about the size of an effect, and that both have to be asked for, is the ASA's statement on p-values
//! (Wasserstein & Lazar, The American Statistician 2016). To ask for both at once is this crate's rule; what it
//! costs and finds is measured in `docs/detectors.md`.

use crate::distance::{chi_squared, psi};
use modelfleet_number::rounding::{from_ppb, ppb_up, ppm};

/// Limits of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriftGate {
    /// Significance, parts per billion.
    pub alpha_ppb: u64,
    /// Smallest PSI that matters, parts per million.
    pub psi_ppm: u64,
    /// Fewest rows in the current window.
    pub min_rows: u64,
}

impl Default for DriftGate {
    /// p below 0.0005, PSI of 0.1, 30 rows.
    fn default() -> Self {
        Self { alpha_ppb: 500_000, psi_ppm: 100_000, min_rows: 30 }
    }
}

/// What the gate says, with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriftVerdict {
    /// `None`: not enough rows to say.
    pub drift: Option<bool>,
    /// p-value of the chi-squared test, parts per billion.
    pub p_value_ppb: u64,
    /// PSI, parts per million.
    pub psi_ppm: u64,
    /// Rows in the current window.
    pub rows: u64,
    /// Bins compared, after merging.
    pub bins: u32,
}

/// Fewer current rows than this per bin, and bins are merged in pairs: power grows, and expected counts stay well
/// above the five that the chi-squared curve needs (Cochran, Biometrics 1954).
const ROWS_PER_BIN: u64 = 20;

impl DriftGate {
    /// Drift when chi-squared is significant *and* PSI is large. Alone, PSI of 0.1 calls drift on 31 to 80 % of
    /// small windows without any, and chi-squared calls shifts that do not matter in large ones.
    pub fn judge(&self, reference: &[u64], current: &[u64]) -> DriftVerdict {
        let rows = current.iter().fold(0_u64, |sum, &c| sum.saturating_add(c));
        let (mut reference, mut current) = (reference.to_vec(), current.to_vec());
        while current.len() > 10 && (current.len() as u64).saturating_mul(ROWS_PER_BIN) > rows {
            reference = in_pairs(&reference);
            current = in_pairs(&current);
        }
        let test = chi_squared(&reference, &current);
        let effect = ppm(psi(&reference, &current));
        let enough = rows >= self.min_rows && reference.iter().any(|&c| c > 0);
        let drift = test.p_value <= from_ppb(self.alpha_ppb) && effect >= self.psi_ppm;
        DriftVerdict {
            drift: enough.then_some(drift),
            p_value_ppb: ppb_up(test.p_value),
            psi_ppm: effect,
            rows,
            bins: u32::try_from(current.len()).unwrap_or(u32::MAX),
        }
    }
}

fn in_pairs(counts: &[u64]) -> Vec<u64> {
    counts.chunks(2).map(|pair| pair.iter().fold(0, |sum: u64, &c| sum.saturating_add(c))).collect()
}
