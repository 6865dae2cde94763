//! The clocks of one controller.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use modelfleet_protocol::time::Time;
use tokio::time::Instant;

/// The clocks of one controller.
#[derive(Debug)]
pub struct Clocks {
    /// True time, milliseconds.
    pub(super) now: AtomicU64,
    /// What its wall clock is ahead of true time, milliseconds.
    pub(super) ahead_ms: AtomicI64,
    pub(super) base: Instant,
}

impl Clocks {
    /// A moment that only ever grows.
    pub(super) fn steady(&self) -> Instant {
        self.base + Duration::from_millis(self.now.load(Ordering::Relaxed))
    }

    /// The time of day, as the controller believes it to be.
    pub(super) fn wall(&self) -> Time {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        Time(self.now.load(Ordering::Relaxed).saturating_add_signed(ahead_ms))
    }
}
