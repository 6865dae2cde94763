//! One function decides every wait.

use std::time::Duration;

use crate::error::Error;

/// How often a failed reconcile is repeated.
///
/// A conflict means that another write was faster: look again at once. Everything else waits longer each time, up to
/// half a minute, because neither the API server nor the broker gets well sooner by being asked. `chance`, from 0 to 1, spreads
/// the waits by a quarter either way.
#[must_use]
pub fn retry_after(error: &Error, attempts: u32, chance: f64) -> Duration {
    let (first_ms, last_ms) = match error {
        Error::Conflict { .. } => (20, 2_000),
        Error::Kubernetes { .. } | Error::Slow | Error::Queue(_) => (200, 30_000),
    };
    let grown: u64 = first_ms << attempts.min(10);
    Duration::from_millis(grown.min(last_ms)).mul_f64(0.75 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_bounded() {
        let conflict = Error::Conflict { what: "status of rollout a/b".into() };
        assert!(retry_after(&conflict, 0, 1.0) < Duration::from_millis(30));
        assert!(retry_after(&conflict, 60, 1.0) <= Duration::from_millis(2_500));
    }
}
