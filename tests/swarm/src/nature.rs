//! How versions of a model behave in the field: what devices see of them, and nobody else knows.

use modelfleet_number::chance::Chance;
use modelfleet_protocol::model::ModelBuild;

use crate::network::happens;

/// Requests that a device asks of its model in one window.
pub const REQUESTS_A_WINDOW: u32 = 20;

/// Minor numbers of versions that are tried; [`Nature::of`] says what they are like.
pub const MINORS: [u64; 8] = [2, 3, 4, 5, 6, 7, 8, 9];

/// How one version behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Windows are bad by chance alone.
    Good,
    /// Windows are bad many times as often.
    Harmful,
    /// It does not load.
    Broken,
    /// It loads, and the process ends soon after it answers.
    Crashing,
    /// Loading it never ends.
    Hanging,
}

impl Nature {
    /// A version's nature: by its minor number, so that a story shows it (`1.3.0` is harmful).
    #[must_use]
    pub fn of(build: &ModelBuild) -> Nature {
        Nature::of_minor(build.version.minor)
    }

    /// The nature of versions with this minor number.
    #[must_use]
    pub fn of_minor(minor: u64) -> Nature {
        match minor % 10 {
            3 => Nature::Harmful,
            5 => Nature::Broken,
            7 => Nature::Crashing,
            9 => Nature::Hanging,
            _ => Nature::Good,
        }
    }

    /// Whether one request of this version ends with an error.
    pub fn errs(self, chance: &mut Chance) -> bool {
        let ppm = match self {
            Nature::Harmful => 200_000,
            _ => 500,
        };
        happens(chance, ppm)
    }

    /// Whether it may reach the whole fleet.
    #[must_use]
    pub fn is_good(self) -> bool {
        self == Nature::Good
    }
}
