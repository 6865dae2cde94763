//! How many predictions of one loaded build run at once.
//!
//! A running prediction cannot be stopped, so one that never ends keeps its permit. Other builds have permits of their own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permits of one loaded build.
#[derive(Debug)]
pub struct RunPermits {
    free: Arc<Semaphore>,
    /// Since when all are taken and none was returned.
    full_since: Mutex<Option<Instant>>,
}

/// A permit for one prediction. It is returned on drop.
#[derive(Debug)]
pub struct RunPermit {
    of: Arc<RunPermits>,
    _permit: OwnedSemaphorePermit,
}

impl RunPermits {
    /// So many permits.
    #[must_use]
    pub fn of(count: usize) -> Arc<RunPermits> {
        Arc::new(RunPermits { free: Arc::new(Semaphore::new(count)), full_since: Mutex::default() })
    }

    /// Waits for a permit, first come, first served.
    pub async fn take(self: &Arc<RunPermits>) -> Option<RunPermit> {
        // Only a closed semaphore gives none, and this one is never closed.
        let permit = self.free.clone().acquire_owned().await.ok()?;
        Some(self.taken(permit))
    }

    /// A permit, if one is free now.
    #[must_use]
    pub fn try_take(self: &Arc<RunPermits>) -> Option<RunPermit> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(self.taken(permit))
    }

    /// For how long all permits have been taken without one being returned; zero while one is free.
    #[must_use]
    pub fn full_for(&self) -> Duration {
        let since = self.since().filter(|_| self.free.available_permits() == 0);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn taken(self: &Arc<RunPermits>, permit: OwnedSemaphorePermit) -> RunPermit {
        if self.free.available_permits() == 0 {
            *self.since() = Some(Instant::now());
        }
        RunPermit { of: self.clone(), _permit: permit }
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.full_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunPermit {
    fn drop(&mut self) {
        *self.of.since() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_full_from_the_last_one_taken_until_one_is_given_back() {
        let places = RunPermits::of(2);
        let first = places.try_take().unwrap();
        assert_eq!(places.full_for(), Duration::ZERO);
        let second = places.try_take().unwrap();
        assert!(places.try_take().is_none());
        while places.full_for() < Duration::from_millis(2) {
            std::thread::yield_now();
        }
        drop(first);
        assert_eq!(places.full_for(), Duration::ZERO);
        let third = places.try_take().unwrap();
        assert!(places.full_for() < Duration::from_secs(60));
        drop((second, third));
        assert!(places.try_take().is_some());
    }
}
