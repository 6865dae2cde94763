//! The one door to time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use modelfleet_protocol::time::Time;
use tokio::time::Instant;

/// Where the time comes from; cheap to clone. Everything that decides or waits reads it here, so that a simulated world can
/// give a controller a clock of its own.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> Time + Send + Sync>,
    steady: Arc<dyn Fn() -> Instant + Send + Sync>,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Clock {
        Clock::new(wall_clock, Instant::now)
    }

    /// A wall clock, which may jump, and a steady one, which waits go by.
    #[must_use]
    pub fn new(
        wall: impl Fn() -> Time + Send + Sync + 'static,
        steady: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> Clock {
        Clock { wall: Arc::new(wall), steady: Arc::new(steady) }
    }

    /// The time of day, in milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> Time {
        (self.wall)()
    }

    /// A moment that only ever grows.
    #[must_use]
    pub fn steady(&self) -> Instant {
        (self.steady)()
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::system()
    }
}

fn wall_clock() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
