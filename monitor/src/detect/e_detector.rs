//! The e-detector: the Shiryaev-Roberts statistic of bets that cannot win without a change.

use libm::{exp, log, log1p};

/// Shares of what may be staked that are bet, one detector of each: large ones find large changes soon, small ones small
/// changes at all.
pub const BETS: [f64; 4] = [0.9, 0.5, 0.2, 0.05];

/// Units of a nat in which the state is kept: whole numbers, so that a restart changes no bit.
const PER_NAT: f64 = 1_000.0;

/// `R = (R + 1) (1 + bet y)` for each bet, fed scores `y` in -1..=1 whose mean, given all that came before, is at most 0 as
/// long as nothing has changed (Shin, Ramdas & Rinaldo, *E-detectors*, 2203.03532). Then `R - t` is a supermartingale,
/// whatever the scores' distribution and dependence: an alarm at `R >= c` comes after c scores or more on average, and within
/// T scores with a chance of at most T / c. Any weighted mean of such detectors with weights of at most 1 together, over
/// one sequence of moments, keeps that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EDetector {
    /// ln(1 + R) of each bet, thousandths of a nat, rounded down.
    logs: [u32; BETS.len()],
}

impl EDetector {
    /// As it was kept.
    pub fn from_logs(logs: [u32; BETS.len()]) -> EDetector {
        EDetector { logs }
    }

    /// To keep: ln(1 + R) of each bet in thousandths of a nat, rounded down.
    pub fn logs(&self) -> [u32; BETS.len()] {
        self.logs
    }

    /// Whether nothing speaks for a change.
    pub fn is_quiet(&self) -> bool {
        self.logs.iter().all(|log| *log == 0)
    }

    /// Takes a score; one that is not finite is left out. R stays at most `e^most_nats`.
    pub fn update(&mut self, score: f64, most_nats: f64) {
        if !score.is_finite() {
            return;
        }
        let score = score.clamp(-1.0, 1.0);
        for (kept, bet) in self.logs.iter_mut().zip(BETS) {
            // ln((R + 1) L), which is ln R of the next moment.
            let next = f64::from(*kept) / PER_NAT + log1p(bet * score);
            let kept_now = plus_one(next).min(most_nats);
            *kept = (kept_now * PER_NAT) as u32;
        }
    }

    /// R, the mean over its bets.
    pub fn value(&self) -> f64 {
        let each = self.logs.iter().map(|kept| exp(f64::from(*kept) / PER_NAT) - 1.0);
        each.sum::<f64>() / BETS.len() as f64
    }
}

/// ln(1 + e^x).
fn plus_one(x: f64) -> f64 {
    if x > 30.0 { x } else { log1p(exp(x)) }
}

/// The R at which an alarm is one false alarm in `scores` scores at most, in nats.
pub fn threshold_nats(scores: f64) -> f64 {
    log(scores.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_one_a_score_where_nothing_is_won_or_lost() {
        let mut detector = EDetector::default();
        for _ in 0..100 {
            detector.update(0.0, 50.0);
        }
        let value = detector.value();
        assert!((90.0..=100.0).contains(&value), "rounded down, never up: {value}");
    }

    #[test]
    fn a_lasting_change_is_found_and_a_short_one_is_forgotten() {
        let mut detector = EDetector::default();
        let year = 8_760.0;
        let found = (1..100).find(|_| {
            detector.update(1.0, 50.0);
            detector.value() >= year
        });
        assert_eq!(found, Some(16), "ln(4 * 8760) / ln 1.9");
        let mut detector = EDetector::default();
        (0..6).for_each(|_| detector.update(1.0, 50.0));
        let after = detector.value();
        (0..20).for_each(|_| detector.update(-1.0, 50.0));
        assert!(detector.value() < after / 5.0, "{} of {after}", detector.value());
    }

    #[test]
    fn what_is_no_number_changes_nothing() {
        let mut detector = EDetector::from_logs([1, 2, 3, 4]);
        detector.update(f64::NAN, 50.0);
        assert_eq!(detector.logs(), [1, 2, 3, 4]);
        assert!(!detector.is_quiet());
    }
}
