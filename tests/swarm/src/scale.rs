//! How large and how long a run is.

use modelfleet_number::chance::Chance;

use crate::world::CONTROLLED;

const HOUR_MS: u64 = 3_600_000;
/// The first seeds with controllers are large, and of the later ones every so many.
const LARGE_FIRST: u64 = 32;
const LARGE_EVERY: u64 = 16;

/// How large and how long a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Longest time between two strikes of one fault, and between two acts of people, milliseconds.
    pub between_ms: u64,
}

impl Scale {
    /// The scale of a seed. A reconcile costs a thousand times as much as a step of an agent, so most runs with controllers
    /// are small; the healing without controllers is long because a failed download is tried again after a day.
    #[must_use]
    pub fn of(seed: u64, chance: &mut Chance) -> Scale {
        let models = 1 + chance.below(3);
        let devices = 4 + chance.below(17);
        let Some(number) = seed.checked_sub(CONTROLLED) else {
            let (trouble_ms, healing_ms) = (48 * HOUR_MS, 72 * HOUR_MS);
            return Scale {
                devices,
                models,
                trouble_ms,
                healing_ms,
                patience_ms: 0,
                between_ms: 6 * HOUR_MS,
            };
        };
        if number < LARGE_FIRST || number.is_multiple_of(LARGE_EVERY) {
            let (trouble_ms, healing_ms, patience_ms) = (12 * HOUR_MS, 24 * HOUR_MS, 8 * HOUR_MS);
            return Scale { devices, models, trouble_ms, healing_ms, patience_ms, between_ms: 6 * HOUR_MS };
        }
        let (trouble_ms, healing_ms, patience_ms) = (5 * HOUR_MS, 9 * HOUR_MS, 5 * HOUR_MS);
        let (devices, models) = (3 + devices % 6, 1 + models / 3);
        Scale { devices, models, trouble_ms, healing_ms, patience_ms, between_ms: 2 * HOUR_MS }
    }
}
