//! The one door to time.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use modelfleet_protocol::time::Time;
use tokio::time::Instant;

/// Where the time comes from; cheap to clone. Everything that decides or waits reads it here, so that a simulated world can
/// give a controller a clock of its own.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> Time + Send + Sync>,
    steady: Arc<dyn Fn() -> Instant + Send + Sync>,
    elapsed: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Clock {
        Clock { elapsed: Arc::new(since_boot), ..Clock::new(wall_clock, Instant::now) }
    }

    /// A wall clock, which may jump, and a steady one, which waits go by.
    #[must_use]
    pub fn new(
        wall: impl Fn() -> Time + Send + Sync + 'static,
        steady: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> Clock {
        let steady = Arc::new(steady);
        let (begun, since) = (OnceLock::new(), Arc::clone(&steady));
        let elapsed = move || {
            let now = since();
            now.saturating_duration_since(*begun.get_or_init(|| now))
        };
        Clock { wall: Arc::new(wall), steady, elapsed: Arc::new(elapsed) }
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

    /// Time since some moment of the past, that in which the machine slept included: [`Clock::steady`] stands still then.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        (self.elapsed)()
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

fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let whole = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(whole) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}
