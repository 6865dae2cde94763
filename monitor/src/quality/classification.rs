//! Precision, recall and their kin from a confusion table.

/// Counts of a two-class confusion table; merging is addition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Positive, called positive.
    pub true_positive: u64,
    /// Negative, called positive (a false alarm).
    pub false_positive: u64,
    /// Negative, called negative.
    pub true_negative: u64,
    /// Positive, called negative (a missed detection).
    pub false_negative: u64,
}

/// a / b in parts per million, `None` for nothing of nothing.
fn share(a: u128, b: u128) -> Option<u64> {
    (a * 1_000_000).checked_div(b).and_then(|share| u64::try_from(share).ok())
}

impl Confusion {
    /// Both together.
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            true_positive: self.true_positive.saturating_add(other.true_positive),
            false_positive: self.false_positive.saturating_add(other.false_positive),
            true_negative: self.true_negative.saturating_add(other.true_negative),
            false_negative: self.false_negative.saturating_add(other.false_negative),
        }
    }

    /// (TP + TN) / all, parts per million (reference 001, as all of these).
    pub fn accuracy_ppm(&self) -> Option<u64> {
        let right = u128::from(self.true_positive) + u128::from(self.true_negative);
        let all = right + u128::from(self.false_positive) + u128::from(self.false_negative);
        share(right, all)
    }

    /// TP / (TP + FP): how many alarms are right.
    pub fn precision_ppm(&self) -> Option<u64> {
        share(
            u128::from(self.true_positive),
            u128::from(self.true_positive) + u128::from(self.false_positive),
        )
    }

    /// TP / (TP + FN): how many positives are found.
    pub fn recall_ppm(&self) -> Option<u64> {
        share(
            u128::from(self.true_positive),
            u128::from(self.true_positive) + u128::from(self.false_negative),
        )
    }

    /// TN / (TN + FP): how many negatives are left alone.
    pub fn specificity_ppm(&self) -> Option<u64> {
        share(
            u128::from(self.true_negative),
            u128::from(self.true_negative) + u128::from(self.false_positive),
        )
    }

    /// 2 TP / (2 TP + FP + FN): harmonic mean of precision and recall.
    pub fn f1_ppm(&self) -> Option<u64> {
        let twice = 2 * u128::from(self.true_positive);
        let all = twice + u128::from(self.false_positive) + u128::from(self.false_negative);
        share(twice, all)
    }
}
