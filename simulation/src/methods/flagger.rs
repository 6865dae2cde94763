//! Flagger: a metric check in every interval, rolled back once so many have failed.
//!
//! The built-in check `request-success-rate` fails below 99 %, and the analysis is rolled back at the fifth failed check
//! (`threshold: 5`), both as in the documentation's examples; there is no default of either. Checks are made in every
//! window, webhooks are left out. Flagger does not raise the canary's weight after a failed check; here a stage is as
//! long as its bake time, whatever fails.
//!
//! Sources: [Metrics analysis](https://docs.flagger.app/usage/metrics), [How it works](https://docs.flagger.app/usage/how-it-works)
//! ("max number of failed metric checks before rollback").

use super::{Largest, Reading};

/// The share of errors above which a check fails.
pub const BAR: f64 = 0.01;
/// Failed checks at which the canary is rolled back.
const THRESHOLD: usize = 5;

/// Checks so far.
#[derive(Clone, Debug)]
pub struct FailedChecks {
    worst: Largest,
}

impl Default for FailedChecks {
    fn default() -> FailedChecks {
        FailedChecks { worst: Largest::new(THRESHOLD) }
    }
}

impl FailedChecks {
    /// The share of errors that as many checks as the threshold have reached.
    pub fn read(&mut self, reading: &Reading) -> Option<f64> {
        Some(self.worst.with(reading.requests[0].share()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::Requests;

    #[test]
    fn the_fifth_failed_check_rolls_back() {
        let mut checks = FailedChecks::default();
        let mut read = |wrong: f64| {
            let requests = [Requests { all: 100.0, wrong }; 2];
            checks.read(&Reading { requests, ..Reading::default() }).unwrap() > BAR
        };
        assert_eq!([2.0, 3.0, 1.0, 2.0, 2.0, 2.0].map(&mut read), [false, false, false, false, false, true]);
    }
}
