//! Changes: whether a day differs from the days before.
//!
//! A day is one number, the mean over its windows, so that the rhythm of the day is in every one of them. It is held against
//! mean and deviation of the days before, which are learned and forget (half of it in three weeks): a slow season moves
//! them along. What is bet on is by how many deviations a day is off beyond half of one, cut at three, so that days that
//! hang together, the rhythm of the week and a site that is out for hours are within what is expected. The bets are those of
//! a normal variable of half as much variance again ([`SPREAD`]).

use libm::{exp, log1p, sqrt};

/// Length of a day, milliseconds.
pub const DAY_MS: u64 = 86_400_000;
/// Days that are learned from before the first bet: two of each day of the week.
pub const LEARNING_DAYS: u32 = 14;

/// Weight of a new day once this many have been learned from.
const MEMORY_DAYS: f64 = 28.0;
/// Deviations that a day may be off before anything is bet.
const SLACK: f64 = 0.5;
/// Beyond these a day counts no more.
const CUT: f64 = 3.0;
/// Beyond these nothing more is learned from a day.
const LEARNED_CUT: f64 = 2.0;
/// What variance the bets expect, against the learned one.
const SPREAD: f64 = 1.5;
/// What is bet, for large changes and for small ones.
const BETS: [f64; 3] = [2.0, 1.0, 0.5];
/// Units of a nat in which bets are kept.
const PER_NAT: f64 = 1_000.0;

/// ln(1 + R) of each bet in one direction, thousandths of a nat, rounded down.
type Logs = [u32; BETS.len()];

/// What is kept of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The day that is counted: days since 1970.
    pub day: u64,
    /// Sum of its positions, millionths.
    pub sum_ppm: u64,
    /// Its windows so far.
    pub windows: u32,
    /// Mean of the days before, thousandths of a millionth.
    pub mean_ppb: u64,
    /// Their standard deviation, in the same unit.
    pub deviation_ppb: u64,
    /// Days that were learned from.
    pub days: u32,
    /// Bets on more and on less.
    pub logs: [Logs; 2],
}

impl Change {
    /// Takes a window; a window of a new day closes the one before. `learns`: the closed day becomes part of what is normal.
    /// Returns whether a day was closed, and bet on.
    pub fn take(&mut self, day: u64, position_ppm: u32, small_ppm: u32, learns: bool) -> bool {
        let closed = self.windows > 0 && day > self.day;
        let bet = closed && self.close(small_ppm, learns);
        if closed || self.windows == 0 {
            (self.day, self.sum_ppm, self.windows) = (day, 0, 0);
        }
        self.sum_ppm = self.sum_ppm.saturating_add(u64::from(position_ppm.min(1_000_000)));
        self.windows = self.windows.saturating_add(1);
        bet
    }

    fn close(&mut self, small_ppm: u32, learns: bool) -> bool {
        let today = self.today_ppb() as f64;
        let bets = self.days >= LEARNING_DAYS;
        if bets {
            let off = self.deviations(today, small_ppm);
            for (logs, sign) in self.logs.iter_mut().zip([1.0, -1.0]) {
                bet(logs, (sign * off - SLACK).min(CUT));
            }
        }
        if learns {
            self.learn(today, small_ppm);
        }
        bets
    }

    /// What a day is measured by: the learned deviation, and what does not matter in practice.
    fn unit(&self, small_ppm: u32) -> f64 {
        let (learned, small) = (self.deviation_ppb as f64, f64::from(small_ppm) * 1_000.0);
        sqrt(learned * learned + small * small).max(1.0)
    }

    /// By how many deviations a day is off.
    fn deviations(&self, today_ppb: f64, small_ppm: u32) -> f64 {
        (today_ppb - self.mean_ppb as f64) / self.unit(small_ppm)
    }

    /// A day that is far off counts as one that is less so: a change must not hide itself by what is learned from it.
    fn learn(&mut self, today_ppb: f64, small_ppm: u32) {
        let known = self.days >= LEARNING_DAYS;
        self.days = self.days.saturating_add(1);
        let weight = 1.0 / f64::from(self.days).min(MEMORY_DAYS);
        let (mean, deviation) = (self.mean_ppb as f64, self.deviation_ppb as f64);
        let most = if known { LEARNED_CUT * self.unit(small_ppm) } else { f64::MAX };
        let off = (today_ppb - mean).clamp(-most, most);
        let next = mean + weight * off;
        // Of an exponentially weighted variance (Finch 2009); while all days weigh the same it is the plain one.
        let variance = (1.0 - weight) * (deviation * deviation + weight * off * off);
        (self.mean_ppb, self.deviation_ppb) = (next.max(0.0) as u64, sqrt(variance) as u64);
    }

    /// R, the mean over bets and directions.
    #[must_use]
    pub fn value(&self) -> f64 {
        let all = self.logs.iter().flatten();
        all.map(|kept| exp(f64::from(*kept) / PER_NAT) - 1.0).sum::<f64>() / (2 * BETS.len()) as f64
    }

    /// Whether the last day was off by so much that it would be bet on, as far as it has come.
    #[must_use]
    pub fn is_off(&self, small_ppm: u32) -> bool {
        let today = self.today_ppb() as f64;
        self.days >= LEARNING_DAYS && self.deviations(today, small_ppm).abs() > 2.0 * SLACK
    }

    /// The day that is counted, so far, thousandths of a millionth.
    #[must_use]
    pub fn today_ppb(&self) -> u64 {
        self.sum_ppm.saturating_mul(1_000).checked_div(u64::from(self.windows)).unwrap_or(0)
    }

    /// Forgets what was bet, and keeps what was learned.
    pub fn settle(&mut self) {
        self.logs = Default::default();
    }
}

/// What is kept of a bet at most, thousandths of a nat: an alarm that lasts must be able to clear.
const LOG_MAX: f64 = 40_000.0;

fn bet(logs: &mut Logs, off: f64) {
    for (kept, bet) in logs.iter_mut().zip(BETS) {
        let next = f64::from(*kept) / PER_NAT + bet * off - bet * bet * SPREAD / 2.0;
        let plus_one = if next > 30.0 { next } else { log1p(exp(next)) };
        *kept = (plus_one * PER_NAT).min(LOG_MAX) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days of 24 windows at these positions.
    fn watched(positions: impl IntoIterator<Item = u32>) -> Change {
        let mut change = Change::default();
        for (day, position) in positions.into_iter().enumerate() {
            for _ in 0..24 {
                change.take(day as u64, position, 1_000, true);
            }
        }
        change
    }

    fn quiet_day(day: u32) -> u32 {
        10_000 + [0, 700, 300, 900, 100, 500, 200][day as usize % 7]
    }

    #[test]
    fn days_that_are_alike_raise_nothing() {
        let change = watched((0..365).map(quiet_day));
        assert!(change.value() < 5.0, "{change:?}");
        assert!((10_300_000..10_500_000).contains(&change.mean_ppb), "{change:?}");
    }

    #[test]
    fn a_change_grows_by_the_day_in_either_direction() {
        for shifted in [20_000, 2_000] {
            let days = (0..60).map(quiet_day).chain(std::iter::repeat_n(shifted, 6));
            let change = watched(days);
            assert!(change.value() > 1_000.0, "{shifted}: {change:?}");
            assert!(change.is_off(1_000));
        }
    }

    #[test]
    fn nothing_is_bet_before_two_weeks_are_known() {
        let change = watched((0..7).map(|_| 10_000).chain((7..15).map(|_| 900_000)));
        assert_eq!(change.value(), 0.0, "{change:?}");
    }

    #[test]
    fn one_day_that_is_out_is_no_change() {
        let days = (0..60).map(quiet_day).chain([500_000]).chain((0..2).map(quiet_day));
        assert!(watched(days).value() < 50.0);
    }
}
