//! Until when this process may write as the leader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// Until when this process may write as the leader: for a time after the last renewal of its Lease was asked for, which is
/// shorter than others wait. Cheap to clone; all clones are of the same Lease.
///
/// A process that was stopped for longer than that, or whose machine slept, goes on where it was, and its other tasks may be
/// faster than the one that renews. So each write looks here, at a clock that counts while a machine sleeps.
#[derive(Clone)]
pub struct Tenure {
    clock: Clock,
    /// Milliseconds of [`Clock::elapsed`]; 0: the Lease is not ours.
    until_ms: Arc<AtomicU64>,
    lasts: Duration,
}

impl Tenure {
    /// The tenure of a process that does not lead. Each renewal lets it last for so long.
    #[must_use]
    pub fn new(clock: Clock, lasts: Duration) -> Tenure {
        Tenure { clock, until_ms: Arc::default(), lasts }
    }

    /// The moment at which a renewal is asked for. It counts from then: the answer may be late.
    #[must_use]
    pub fn moment(&self) -> Duration {
        self.clock.elapsed()
    }

    /// The Lease is ours by a request that was made at this moment.
    pub fn renewed(&self, asked_at: Duration) {
        let until = (asked_at + self.lasts).as_millis();
        self.until_ms.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// The Lease is another's, or given back.
    pub fn end(&self) {
        self.until_ms.store(0, Ordering::SeqCst);
    }

    /// Whether this process may write now.
    #[must_use]
    pub fn holds(&self) -> bool {
        let now = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        now < self.until_ms.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_protocol::time::Time;
    use tokio::time::Instant;

    #[test]
    fn a_tenure_counts_from_the_request_and_ends_by_itself() {
        let start = Instant::now();
        let passed_ms = Arc::new(AtomicU64::new(0));
        let steady = Arc::clone(&passed_ms);
        let clock =
            Clock::new(|| Time(0), move || start + Duration::from_millis(steady.load(Ordering::SeqCst)));
        let tenure = Tenure::new(clock, Duration::from_secs(10));
        let at = |seconds: u64| passed_ms.store(seconds * 1_000, Ordering::SeqCst);
        assert!(!tenure.holds(), "it has not become the leader");
        let asked_at = tenure.moment();
        at(4);
        // The answer comes four seconds later.
        tenure.renewed(asked_at);
        at(9);
        assert!(tenure.clone().holds());
        at(10);
        assert!(!tenure.holds(), "ten seconds after the request, not after the answer");
        tenure.renewed(tenure.moment());
        assert!(tenure.holds());
        tenure.end();
        assert!(!tenure.holds());
    }
}
