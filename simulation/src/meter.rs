//! What one device has counted of one indicator.

use modelfleet_judge::Counts;
use modelfleet_number::chance::Chance;

/// Windows of a stage that are kept one by one, so that a control can start where a canary did.
pub const EARLY_WINDOWS: u32 = 64;

/// What one device has counted of one indicator.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Events until the next bad one, as a waiting time in events.
    pub left: f32,
    past_known: u16,
    past_bad: u16,
    known: u16,
    bad: u16,
    /// The device's first windows of the stage by their offset; where old ones are lost, the newest, newest first.
    bits_known: u64,
    bits_bad: u64,
}

impl Meter {
    /// A meter with a past.
    pub fn new(left: f32, past_known: u32, past_bad: u32) -> Meter {
        let short = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        Meter {
            left,
            past_known: short(past_known),
            past_bad: short(past_bad),
            known: 0,
            bad: 0,
            bits_known: 0,
            bits_bad: 0,
        }
    }

    /// Forgets what was counted in the stage; the past stays.
    pub fn restart(&mut self) {
        (self.known, self.bad, self.bits_known, self.bits_bad) = (0, 0, 0, 0);
    }

    /// Counts the window that is `offset` windows after the first that counts.
    pub fn count(&mut self, offset: u32, bad: bool) {
        if offset < EARLY_WINDOWS {
            self.bits_known |= 1 << offset;
            self.bits_bad |= u64::from(bad) << offset;
        }
        self.known = self.known.saturating_add(1);
        self.bad = self.bad.saturating_add(u16::from(bad));
    }

    /// Counts a window where only the newest are kept.
    pub fn count_newest(&mut self, bad: bool) {
        self.bits_known = self.bits_known << 1 | 1;
        self.bits_bad = self.bits_bad << 1 | u64::from(bad);
        self.known = self.known.saturating_add(1);
        self.bad = self.bad.saturating_add(u16::from(bad));
    }

    /// Forgets the oldest window of the past. Its windows are alike but for their order, so chance says whether it
    /// was a bad one.
    pub fn forget_one(&mut self, chance: &mut Chance) {
        if self.past_known > 0 {
            let bad = chance.below(u32::from(self.past_known)) < u32::from(self.past_bad);
            self.past_bad = self.past_bad.saturating_sub(u16::from(bad));
            self.past_known -= 1;
        }
    }

    /// Windows of the past that are remembered.
    pub fn past_windows(&self) -> u32 {
        u32::from(self.past_known)
    }

    /// The past.
    pub fn past(&self) -> Counts {
        Counts::new(u64::from(self.past_known), u64::from(self.past_bad))
    }

    /// Windows since the stage opened, or since the candidate ran.
    pub fn lived(&self) -> u32 {
        u32::from(self.known)
    }

    /// The stage where [`Meter::count_newest`] counted: the newest windows, `offset` fewer than there were.
    pub fn newest_since(&self, newest: u32, offset: u32) -> Counts {
        let kept = newest.min(self.lived().saturating_sub(offset)).min(u64::BITS);
        let mask = if kept == u64::BITS { u64::MAX } else { (1_u64 << kept) - 1 };
        let of = |bits: u64| u64::from((bits & mask).count_ones());
        Counts::new(of(self.bits_known), of(self.bits_bad))
    }

    /// The stage from `offset` windows after the first that counts on.
    pub fn since(&self, offset: u32) -> Counts {
        let before = if offset >= EARLY_WINDOWS { u64::MAX } else { (1_u64 << offset) - 1 };
        let known = u64::from(self.known).saturating_sub(u64::from((self.bits_known & before).count_ones()));
        let bad = u64::from(self.bad).saturating_sub(u64::from((self.bits_bad & before).count_ones()));
        Counts::new(known, bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_starts_where_it_is_told() {
        let mut meter = Meter::new(1.0, 600, 30);
        for offset in 0..100 {
            meter.count(offset, offset % 10 == 0);
        }
        let post = |offset| meter.since(offset);
        assert_eq!(post(0), Counts::new(100, 10));
        assert_eq!(post(1), Counts::new(99, 9));
        assert_eq!(post(64), Counts::new(36, 3));
        assert_eq!(post(999), Counts::new(36, 3), "later starts are not told apart");
        assert_eq!(meter.past(), Counts::new(600, 30));
    }

    #[test]
    fn the_newest_windows_are_kept() {
        let mut meter = Meter::new(1.0, 600, 30);
        (0..100).for_each(|at| meter.count_newest(at >= 90));
        assert_eq!(meter.newest_since(20, 0), Counts::new(20, 10));
        assert_eq!(meter.newest_since(64, 5), Counts::new(64, 10));
        assert_eq!(meter.newest_since(64, 95), Counts::new(5, 5));
    }

    #[test]
    fn a_past_is_forgotten_window_by_window() {
        let (mut meter, chance) = (Meter::new(1.0, 600, 300), &mut Chance::new(5));
        (0..400).for_each(|_| meter.forget_one(chance));
        let past = meter.past();
        assert_eq!(past.known, 200);
        assert!((80..120).contains(&past.bad), "{past:?}");
        (0..400).for_each(|_| meter.forget_one(chance));
        assert_eq!(meter.past(), Counts::new(0, 0));
    }
}
