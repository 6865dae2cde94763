//! Waiting for a condition with a limit; never for luck.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Longest that [`wait`] waits, for what takes milliseconds on an idle machine.
pub const LIMIT: Duration = Duration::from_secs(40);
/// How often [`wait`] looks: what it is used for costs nothing to ask.
const WAIT_LOOKS_EVERY: Duration = Duration::from_millis(20);

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
    look: impl FnMut() -> Result<T, String>,
) -> Result<T, WaitedTooLong> {
    looking(what.into(), limit, LOOK_EVERY, look)
}

/// Waits until `look` gives something.
///
/// # Panics
/// When it has given nothing for [`LIMIT`]; says what was waited for.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let nothing = || "nothing".to_owned();
    let found = looking(what.to_owned(), LIMIT, WAIT_LOOKS_EVERY, || look().ok_or_else(nothing));
    found.unwrap_or_else(|late| panic!("waited {LIMIT:?} for {}", late.what))
}

fn looking<T>(
    what: String,
    limit: Duration,
    every: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, WaitedTooLong> {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(last) if started.elapsed() > limit => {
                return Err(WaitedTooLong { what, limit, last });
            }
            Err(_) => std::thread::sleep(every),
        }
    }
}
