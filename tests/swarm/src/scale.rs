//! How large and how long a run is.

use modelfleet_agent_core::interface::Limits;
use modelfleet_number::chance::Chance;
use modelfleet_protocol::plan::{Fetch, Probation};

use crate::habits::{Habit, Habits};
use crate::operator::Pace;
use crate::world::CONTROLLED;

const HOUR_MS: u64 = 3_600_000;
/// The first seeds of each kind are large, and of the later ones every so many.
const LARGE_FIRST: u64 = 60;
const LARGE_EVERY: u64 = 16;

/// How large and how long a run is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Devices.
    pub devices: u32,
    /// Models of the fleet.
    pub models: u32,
    /// How long faults are played, milliseconds.
    pub trouble_ms: u64,
    /// By then a healed fleet has come to what is wanted, milliseconds.
    pub healing_ms: u64,
    /// After so much of the healing people take back what is under way, milliseconds.
    pub patience_ms: u64,
    /// Longest time between two strikes of one fault, milliseconds.
    pub between_ms: u64,
    /// Longest time between two acts of people, milliseconds.
    pub acts_ms: u64,
    /// After such a pause a device tries again what has failed for good, milliseconds.
    pub long_pause_ms: u64,
    /// Chance of a million that a download fails, where downloads fail.
    pub fetch_fails_ppm: u32,
    /// Requests that a device's own probation of stable builds asks for.
    pub stable_predictions: u64,
    /// How long stages of a rollout take.
    pub pace: Pace,
}

/// Longest time between two acts of hasty people, milliseconds.
const HASTY_MS: u64 = 600_000;

impl Scale {
    /// As shipped, but for the spread of downloads, the length of histories and, in short runs, the longest pause, which would be
    /// most of a run.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let fetch = Fetch { spread_ms: 60_000, ..Fetch::default() };
        let own = Limits::default();
        let probation = Probation { min_predictions: self.stable_predictions, ..own.probation };
        Limits { fetch, probation, history_windows: 48, long_pause_ms: self.long_pause_ms, ..own }
    }

    /// The same among people with these habits.
    #[must_use]
    pub fn among(self, habits: &Habits) -> Scale {
        let short = Pace { bake_min: 20, max_wait_min: 40, window_min: 5 };
        Scale {
            acts_ms: if habits.has(Habit::Hasty) { HASTY_MS } else { self.acts_ms },
            pace: if habits.has(Habit::ShortStages) { short } else { self.pace },
            ..self
        }
    }

    /// The scale of a seed. Healing is long enough for what devices try again after their longest pause.
    #[must_use]
    pub fn of(seed: u64, chance: &mut Chance) -> Scale {
        let models = 1 + chance.below(3);
        let devices = 4 + chance.below(17);
        let (fetch_fails_ppm, stable_predictions) = ([400_000, 960_000][(seed % 2) as usize], seed % 4 * 5);
        let controlled = seed >= CONTROLLED;
        let large = seed % CONTROLLED < LARGE_FIRST || seed.is_multiple_of(LARGE_EVERY);
        let hours = |trouble: u64, healing: u64, patience: u64, between: u64, long_pause: u64| Scale {
            devices: if large { devices } else { 3 + devices % 6 },
            models: if large { models } else { 1 + models / 3 },
            trouble_ms: trouble * HOUR_MS,
            healing_ms: healing * HOUR_MS,
            patience_ms: patience * HOUR_MS,
            between_ms: between * HOUR_MS,
            acts_ms: between * HOUR_MS,
            long_pause_ms: long_pause * HOUR_MS,
            fetch_fails_ppm,
            stable_predictions,
            pace: if large {
                Pace::default()
            } else {
                Pace { bake_min: 60, max_wait_min: 120, window_min: 20 }
            },
        };
        match (controlled, large) {
            (false, true) => hours(48, 72, 0, 6, 24),
            (false, false) => hours(18, 30, 0, 2, 6),
            // A reconcile costs a thousand times as much as a step of an agent.
            (true, true) => hours(12, 24, 8, 6, 24),
            (true, false) => hours(4, 6, 3, 1, 2),
        }
    }
}
