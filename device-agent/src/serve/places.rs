//! Places: how many predictions of one loaded build run at once.
//!
//! An engine cannot be stopped, so a prediction that never ends keeps its place. It takes nothing from other
//! builds, which have places of their own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one loaded build.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    /// Since when all are taken and none was given back.
    full_since: Mutex<Option<Instant>>,
}

/// A place; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    of: Arc<Places>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// So many places.
    #[must_use]
    pub fn of(count: usize) -> Arc<Places> {
        Arc::new(Places { free: Arc::new(Semaphore::new(count)), full_since: Mutex::default() })
    }

    /// Waits for a place. Whoever came first goes first.
    pub async fn take(self: &Arc<Places>) -> Option<Place> {
        // Only a closed semaphore gives nothing, and nobody closes this one.
        let permit = self.free.clone().acquire_owned().await.ok()?;
        Some(self.taken(permit))
    }

    /// A place, if one is free now.
    #[must_use]
    pub fn try_take(self: &Arc<Places>) -> Option<Place> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(self.taken(permit))
    }

    /// For how long all places have been taken without one being given back; zero while one is free.
    #[must_use]
    pub fn full_for(&self) -> Duration {
        let since = self.since().filter(|_| self.free.available_permits() == 0);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn taken(self: &Arc<Places>, permit: OwnedSemaphorePermit) -> Place {
        if self.free.available_permits() == 0 {
            *self.since() = Some(Instant::now());
        }
        Place { of: self.clone(), _permit: permit }
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.full_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.of.since() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_full_from_the_last_one_taken_until_one_is_given_back() {
        let places = Places::of(2);
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
