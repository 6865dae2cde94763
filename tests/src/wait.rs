//! Waiting for a condition with a limit; never for luck.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A condition that did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {limit:?} for {what}; last seen: {last}")]
pub struct WaitedTooLong {
    /// What was waited for.
    pub what: String,
    /// For how long.
    pub limit: Duration,
    /// What was there instead.
    pub last: String,
}

/// Looks until the answer is `Ok`, at most for `limit`; the last `Err` tells what was there instead.
///
/// # Errors
/// When the limit is over.
pub fn until<T>(
    what: impl Into<String>,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, WaitedTooLong> {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(last) if started.elapsed() > limit => {
                return Err(WaitedTooLong { what: what.into(), limit, last });
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}
