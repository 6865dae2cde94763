//! The only clock type the pure rooms know.

use serde::{Deserialize, Serialize};

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
///
/// Our own type because `std::time::Instant` can be neither built from a number nor stored across a reboot,
/// which a probation timer needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The beginning of time; earlier than anything that happens.
    pub const ZERO: Time = Time(0);

    /// This moment and `ms` milliseconds; stops at the end of time instead of wrapping.
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; zero when `earlier` is later.
    #[must_use]
    pub fn since_ms(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Index of the window of `window_ms` milliseconds that holds this moment. A length of zero counts as one.
    #[must_use]
    pub fn window_index(self, window_ms: u64) -> u64 {
        self.0 / window_ms.max(1)
    }
}
