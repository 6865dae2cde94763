//! Errors of numeric predictions.

use libm::sqrt;

/// Sums behind MAE, RMSE and MAPE; values in thousandths of their unit, so that merging is exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegressionErrors {
    count: u64,
    absolute_milli: u128,
    squares_milli: u128,
    /// Relative errors in parts per million, of truths that are not zero.
    relative_ppm: u128,
    relative_count: u64,
}

impl RegressionErrors {
    /// Takes one prediction with its truth.
    pub fn add(&mut self, truth_milli: i64, predicted_milli: i64) {
        let error = u128::from(truth_milli.abs_diff(predicted_milli));
        self.count += 1;
        self.absolute_milli = self.absolute_milli.saturating_add(error);
        self.squares_milli = self.squares_milli.saturating_add(error.saturating_mul(error));
        if truth_milli != 0 {
            self.relative_count += 1;
            let relative = error * 1_000_000 / u128::from(truth_milli.unsigned_abs());
            self.relative_ppm = self.relative_ppm.saturating_add(relative);
        }
    }

    /// Both together.
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            absolute_milli: self.absolute_milli.saturating_add(other.absolute_milli),
            squares_milli: self.squares_milli.saturating_add(other.squares_milli),
            relative_ppm: self.relative_ppm.saturating_add(other.relative_ppm),
            relative_count: self.relative_count.saturating_add(other.relative_count),
        }
    }

    /// Mean absolute error in the unit of the values (reference 001, as all of these).
    pub fn mae(&self) -> Option<f64> {
        (self.count > 0).then(|| self.absolute_milli as f64 / self.count as f64 / 1e3)
    }

    /// Root of the mean squared error.
    pub fn rmse(&self) -> Option<f64> {
        (self.count > 0).then(|| sqrt(self.squares_milli as f64 / self.count as f64) / 1e3)
    }

    /// Mean absolute percentage error in percent; truths of zero are left out.
    pub fn mape(&self) -> Option<f64> {
        (self.relative_count > 0).then(|| self.relative_ppm as f64 / self.relative_count as f64 / 1e4)
    }
}
