//! Argo Rollouts: a background analysis with a success condition on the canaries' pooled success rate.
//!
//! A measurement in every window fails where less than 95 % of the canaries' requests succeed, as in the example that
//! the documentation gives (`successCondition: result >= 0.95`; there is no default). The analysis fails once more than
//! `failureLimit` measurements have failed; where that is not set, it is 0. Controls are not asked.
//!
//! Sources: [Analysis & Progressive Delivery](https://argo-rollouts.readthedocs.io/en/stable/features/analysis/), and the
//! field's description in `pkg/apis/rollouts/v1alpha1/analysis_types.go` ("default: 0").

use super::{Largest, Reading};

/// The share of errors above which a measurement fails.
pub const BAR: f64 = 0.05;

/// Measurements so far.
#[derive(Clone, Debug)]
pub struct Failures {
    worst: Largest,
}

impl Failures {
    /// With so many failures forgiven.
    #[must_use]
    pub fn new(failure_limit: u32) -> Failures {
        Failures { worst: Largest::new(failure_limit as usize + 1) }
    }

    /// The share of errors that one measurement more than are forgiven has reached.
    pub fn read(&mut self, reading: &Reading) -> Option<f64> {
        Some(self.worst.with(reading.requests[0].share()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::Requests;

    #[test]
    fn one_more_than_forgiven_fails() {
        let reading =
            |wrong: f64| Reading { requests: [Requests { all: 100.0, wrong }; 2], ..Reading::default() };
        let fails = |limit: u32, wrong: &[f64]| {
            let mut failures = Failures::new(limit);
            wrong.iter().filter_map(|wrong| failures.read(&reading(*wrong))).any(|share| share > BAR)
        };
        assert!(!fails(0, &[5.0, 5.0]) && fails(0, &[5.0, 6.0]));
        assert!(!fails(3, &[6.0, 9.0, 1.0, 7.0]) && fails(3, &[6.0, 9.0, 1.0, 7.0, 6.0]));
        assert_eq!(Failures::new(0).read(&Reading::default()), None, "without requests nothing is measured");
    }
}
