//! Accuracy without labels, and the alarm for when that estimate is wrong.

use libm::sqrt;
use modelfleet_number::clopper_pearson;
use modelfleet_number::rounding::ppb_up;
use modelfleet_number::{beta, normal};

/// The calibration table of the reference profile: per confidence bin, how many answers were given at
/// training time and how many of them were right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalibratedBins {
    /// (answers, right answers) per bin of confidence.
    pub bins: Vec<(u64, u64)>,
}

/// Sampled labels against the estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConceptAlarm {
    /// Labels say that accuracy is below the estimate by more than chance and `least_ppm`.
    pub alarm: bool,
    /// Estimate without labels, parts per million.
    pub estimated_ppm: u64,
    /// Accuracy on the labels, parts per million.
    pub labelled_ppm: u64,
    /// p-value, parts per billion.
    pub p_value_ppb: u64,
    /// Labels that would tell a difference of `least_ppm` four times of five.
    pub labels_needed: u64,
}

impl CalibratedBins {
    /// Confidence-based performance estimation: the share of right answers per confidence bin at training
    /// time, weighted by how often each bin is used now (NannyML's CBPE, for accuracy). `None` when nothing
    /// was answered.
    ///
    /// Good to half a point without concept drift, blind to it (true accuracy fell by 9.6 points, the estimate
    /// stayed): always put [`CalibratedBins::concept_alarm`] beside it.
    pub fn accuracy_ppm(&self, now: &[u64]) -> Option<u64> {
        let (mut right, mut all) = (0_u128, 0_u128);
        for (i, &count) in now.iter().enumerate() {
            let (answers, good) = self.bins.get(i).copied().unwrap_or((0, 0));
            // An unseen bin counts as a coin toss: half right.
            let share = if answers == 0 {
                500_000
            } else {
                u128::from(good.min(answers)) * 1_000_000 / u128::from(answers)
            };
            right += share * u128::from(count);
            all += u128::from(count);
        }
        right.checked_div(all).and_then(|share| u64::try_from(share).ok())
    }

    /// Does the accuracy on sampled labels (`right` of `labelled`) lie below the estimate? Exact binomial test
    /// at `alpha`, and the upper limit must be at least `least_ppm` away: the concept-drift alarm.
    pub fn concept_alarm(
        &self,
        now: &[u64],
        right: u64,
        labelled: u64,
        least_ppm: u64,
        alpha: f64,
    ) -> Option<ConceptAlarm> {
        let estimated = self.accuracy_ppm(now)?;
        let expected = estimated as f64 * 1e-6;
        let right = right.min(labelled);
        let p = beta::binomial_upper_tail(labelled - right, labelled, 1.0 - expected);
        let (_, high) = clopper_pearson(right, labelled, 1.0 - 2.0 * alpha);
        let least = least_ppm as f64 * 1e-6;
        let z = -normal::quantile(alpha) + normal::quantile(0.8);
        let deviation = sqrt((expected * (1.0 - expected)).max(0.01));
        let needed =
            if least > 0.0 { (z * deviation / least) * (z * deviation / least) } else { f64::INFINITY };
        Some(ConceptAlarm {
            alarm: labelled > 0
                && p <= alpha
                && (expected - right as f64 / labelled as f64) >= least
                && high < expected,
            estimated_ppm: estimated,
            labelled_ppm: right.saturating_mul(1_000_000).checked_div(labelled).unwrap_or(0),
            p_value_ppb: ppb_up(p),
            labels_needed: needed.ceil() as u64,
        })
    }
}
