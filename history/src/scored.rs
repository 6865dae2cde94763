//! What each threshold of a score would have cost: from cases with a score and what turned out to be true.

use crate::costs::{Costs, Savings, Year, a_year_milli};

/// One case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// What the model said.
    pub score: f64,
    /// Whether it was an event.
    pub is_event: bool,
}

/// What a threshold does: scores from it on raise an alarm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// The threshold.
    pub at: f64,
    /// Events found.
    pub found: u64,
    /// Events missed.
    pub missed: u64,
    /// Alarms without an event.
    pub false_alarms: u64,
    /// No alarm and no event.
    pub quiet: u64,
    /// The same for a year.
    pub year: Year,
    /// What that costs and saves.
    pub savings: Savings,
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Threshold {
    /// Events found of all; `None` without events.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        share(self.found, self.found + self.missed)
    }

    /// Alarms with an event of all alarms; `None` without alarms.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        share(self.found, self.found + self.false_alarms)
    }

    /// Harmonic mean of precision and recall; `None` where nothing is positive.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        share(2 * self.found, 2 * self.found + self.false_alarms + self.missed)
    }

    /// Quiet cases of all without an event; `None` where all are events.
    #[must_use]
    pub fn specificity(&self) -> Option<f64> {
        share(self.quiet, self.quiet + self.false_alarms)
    }
}

/// What each threshold would have cost, in rising order. The cases are all there were in so many milliseconds.
#[must_use]
pub fn thresholds(cases: &[Case], at: &[f64], costs: &Costs, observed_ms: u64) -> Vec<Threshold> {
    let mut at: Vec<f64> = at.iter().copied().filter(|at| at.is_finite()).collect();
    at.sort_by(f64::total_cmp);
    at.dedup();
    let mut events: Vec<f64> = cases.iter().filter(|case| case.is_event).map(|case| case.score).collect();
    let mut others: Vec<f64> = cases.iter().filter(|case| !case.is_event).map(|case| case.score).collect();
    events.sort_by(f64::total_cmp);
    others.sort_by(f64::total_cmp);
    let below = |scores: &[f64], at: f64| scores.partition_point(|score| *score < at) as u64;
    let one = |at: f64| {
        let (missed, quiet) = (below(&events, at), below(&others, at));
        let (found, false_alarms) = (events.len() as u64 - missed, others.len() as u64 - quiet);
        let milli = |count| a_year_milli(count, observed_ms).unwrap_or(0);
        let year = Year {
            found_milli: milli(found),
            missed_milli: milli(missed),
            false_alarms_milli: milli(false_alarms),
        };
        Threshold { at, found, missed, false_alarms, quiet, year, savings: costs.savings(year) }
    };
    at.into_iter().map(one).collect()
}

/// The threshold that costs least; of several the one that misses fewest events.
#[must_use]
pub fn cheapest(of: &[Threshold]) -> Option<&Threshold> {
    of.iter().min_by_key(|threshold| (threshold.savings.with_cents, threshold.missed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::costs::YEAR_MS;

    const PUMPS: Costs = Costs {
        missed_cents: 1_500_000,
        found_cents: 300_000,
        false_alarm_cents: 50_000,
        development_cents: 1_500_000,
    };

    /// Five years of the pumps of reference 000, 7.7.3: 60 failures.
    fn five_years() -> Vec<Case> {
        let some = |count: usize, score: f64, is_event| std::iter::repeat_n(Case { score, is_event }, count);
        let events = [(50, 0.95), (5, 0.87), (2, 0.82), (3, 0.75)];
        let others = [(40, 0.93), (50, 0.86), (85, 0.81), (225, 0.71), (10_000, 0.2)];
        let events = events.into_iter().flat_map(|(count, score)| some(count, score, true));
        events.chain(others.into_iter().flat_map(|(count, score)| some(count, score, false))).collect()
    }

    #[test]
    fn the_table_of_the_pumps_comes_out_to_the_dollar() {
        let table = thresholds(&five_years(), &[0.9, 0.7, 0.85, 0.8, 0.8], &PUMPS, 5 * YEAR_MS);
        let told: Vec<(f64, u64, u64, u64)> = table
            .iter()
            .map(|t| (t.at, t.year.false_alarms_milli, t.year.missed_milli, t.savings.with_cents / 100))
            .collect();
        assert_eq!(
            told,
            [
                (0.7, 80_000, 0, 76_000),
                (0.8, 35_000, 600, 60_700),
                (0.85, 18_000, 1_000, 57_000),
                (0.9, 8_000, 2_000, 64_000),
            ]
        );
        let recall: Vec<u64> = table.iter().map(|t| (t.recall().unwrap() * 100.0).round() as u64).collect();
        assert_eq!(recall, [100, 95, 92, 83]);
        let best = cheapest(&table).unwrap();
        assert_eq!(best.at, 0.85, "\"Selected: 0.85\"");
        assert_eq!(best.savings.return_ppm, Some(8_200_000), "\"ROI 820%\"");
    }

    #[test]
    fn shares_of_nothing_are_not_known() {
        let table = thresholds(&[], &[0.5], &PUMPS, YEAR_MS);
        let empty = &table[0];
        assert!(empty.recall().is_none() && empty.precision().is_none() && empty.specificity().is_none());
        assert!(cheapest(&[]).is_none());
    }
}
