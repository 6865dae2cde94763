//! One device: a rate, a stream of chance, and where it stands.

use modelfleet_number::chance::Chance;

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
    /// Found out that it can never run it.
    Incompatible,
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
    flags: u16,
}

/// Facts about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
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
    /// It is bad whatever runs on it.
    Broken = 256,
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
            flags: Fact::Online as u16,
        }
    }

    /// Whether a fact holds.
    pub fn is(&self, fact: Fact) -> bool {
        self.flags & fact as u16 != 0
    }

    /// Notes whether a fact holds.
    pub fn set(&mut self, fact: Fact, holds: bool) {
        if holds {
            self.flags |= fact as u16;
        } else {
            self.flags &= !(fact as u16);
        }
    }

    /// Whether the candidate answers on it.
    pub fn runs(&self) -> bool {
        matches!(self.standing, Standing::Running | Standing::Confirmed)
    }

    /// Whether it left the fleet, and only what it said last is still known.
    pub fn is_gone(&self) -> bool {
        !self.is(Fact::Online) && self.moves_at == NEVER
    }

    /// Takes it out of the fleet; what it said last stays known.
    pub fn leave(&mut self) {
        self.set(Fact::Online, false);
        self.moves_at = NEVER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Meter;

    #[test]
    fn devices_are_small() {
        assert!(size_of::<Device>() <= 40 && size_of::<Meter>() <= 32);
    }
}
