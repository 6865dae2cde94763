//! One device: a rate, a stream of chance, where it stands, and what it has counted.

use modelfleet_judge::number::chance::Chance;
use modelfleet_judge::{Counts, SloCounts};

/// Windows of a stage that are kept one by one, so that a control can start where a canary did.
pub const EARLY_WINDOWS: u32 = 64;
/// No window.
pub const NEVER: u32 = u32::MAX;

/// Where a device stands with the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Has nothing to do with it.
    Idle,
    /// Drawn, and has not got it yet.
    Waiting,
    /// Runs it, on probation.
    Running,
    /// Runs it and came through probation.
    Confirmed,
    /// Tried and could not.
    Failed,
    /// Ran it and went back when told.
    Back,
}

/// One device. Windows are counted from the beginning of its history.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its own stream.
    pub chance: Chance,
    /// Its rates as a multiple of its stratum's.
    pub level: f32,
    /// Its share of time out of reach.
    pub offline_share: f32,
    /// The window in which it goes out of reach or comes back.
    pub moves_at: u32,
    /// Windows before this one are reported.
    pub reported: u32,
    /// First whole window with the candidate; while waiting the window in which it is due; or [`NEVER`].
    pub entered: u32,
    /// Its stratum.
    pub stratum: u16,
    /// Where it stands.
    pub standing: Standing,
    flags: u8,
}

/// Facts about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fact {
    /// It is in reach.
    Online = 1,
    /// It was drawn.
    Member = 2,
    /// The candidate changes its rates.
    Affected = 4,
    /// The candidate does not start on it.
    Breaks = 8,
    /// It reports nothing once the candidate runs.
    Hangs = 16,
    /// Its windows are merged with those of its arm.
    Sampled = 32,
    /// It was in reach when the stage was drawn.
    WasOnline = 64,
    /// It was set aside because it failed.
    SetAside = 128,
}

impl Device {
    /// A device that is in reach and has nothing to do with the candidate.
    pub fn new(chance: Chance, stratum: u16, reported: u32) -> Device {
        Device {
            chance,
            level: 1.0,
            offline_share: 0.0,
            moves_at: NEVER,
            reported,
            entered: NEVER,
            stratum,
            standing: Standing::Idle,
            flags: Fact::Online as u8,
        }
    }

    /// Whether a fact holds.
    pub fn is(&self, fact: Fact) -> bool {
        self.flags & fact as u8 != 0
    }

    /// Notes whether a fact holds.
    pub fn set(&mut self, fact: Fact, holds: bool) {
        if holds {
            self.flags |= fact as u8;
        } else {
            self.flags &= !(fact as u8);
        }
    }

    /// Whether the candidate answers on it.
    pub fn runs(&self) -> bool {
        matches!(self.standing, Standing::Running | Standing::Confirmed)
    }

    /// Whether it has run the candidate at any time.
    pub fn ran(&self) -> bool {
        !matches!(self.standing, Standing::Idle | Standing::Waiting)
    }
}

/// What one device has counted of one indicator.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Events until the next bad one, as a waiting time in events.
    pub left: f32,
    past_known: u16,
    past_bad: u16,
    known: u16,
    bad: u16,
    early_known: u64,
    early_bad: u64,
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
            early_known: 0,
            early_bad: 0,
        }
    }

    /// Forgets what was counted in the stage; the past stays.
    pub fn restart(&mut self) {
        (self.known, self.bad, self.early_known, self.early_bad) = (0, 0, 0, 0);
    }

    /// Counts the window that is `offset` windows after the stage opened.
    pub fn count(&mut self, offset: u32, bad: bool) {
        if offset < EARLY_WINDOWS {
            self.early_known |= 1 << offset;
            self.early_bad |= u64::from(bad) << offset;
        }
        self.known = self.known.saturating_add(1);
        self.bad = self.bad.saturating_add(u16::from(bad));
    }

    /// Past and stage, the stage from `offset` windows after its opening on.
    pub fn counts(&self, offset: u32) -> SloCounts {
        let before = if offset >= EARLY_WINDOWS { u64::MAX } else { (1_u64 << offset) - 1 };
        let known = u64::from(self.known).saturating_sub(u64::from((self.early_known & before).count_ones()));
        let bad = u64::from(self.bad).saturating_sub(u64::from((self.early_bad & before).count_ones()));
        SloCounts {
            history: Counts::new(u64::from(self.past_known), u64::from(self.past_bad)),
            post: Counts::new(known, bad),
        }
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
        let post = |offset| meter.counts(offset).post;
        assert_eq!(post(0), Counts::new(100, 10));
        assert_eq!(post(1), Counts::new(99, 9));
        assert_eq!(post(64), Counts::new(36, 3));
        assert_eq!(post(999), Counts::new(36, 3), "later starts are not told apart");
        assert_eq!(meter.counts(0).history, Counts::new(600, 30));
    }

    #[test]
    fn devices_are_small() {
        assert!(size_of::<Device>() <= 40 && size_of::<Meter>() <= 32);
    }
}
