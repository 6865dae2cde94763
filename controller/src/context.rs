//! What every reconcile shares.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use ed25519_dalek::SigningKey;
use kube::Client;
use kube::runtime::reflector::Store;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_fleet::{Index, Ledger, Link};
use modelfleet_model::decide_model::Recorded;
use modelfleet_protocol::ids::Namespace;
use modelfleet_protocol::time::Time;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::mqtt::Outbox;
use crate::records::Records;
use crate::work::Work;
use crate::write_cache::WriteCache;

/// What every reconcile shares.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Rollouts as last seen.
    pub rollouts: Store<Rollout>,
    /// Model versions as last seen.
    pub versions: Store<ModelVersion>,
    /// What we wrote and have not seen come back.
    pub written: Mutex<WriteCache>,
    /// What devices and the broker say.
    pub fleets: Mutex<FleetState>,
    /// The way to the broker.
    pub publisher: Arc<dyn Outbox>,
    /// Signs plans.
    pub signer: SigningKey,
    /// Our number among the leaders.
    pub epoch: u64,
    /// The highest epoch of any plan that was met.
    pub seen_epoch: Arc<AtomicU64>,
    /// How long a plan is good for, milliseconds.
    pub plan_lifetime_ms: u64,
    /// The time.
    pub clock: Clock,
    /// What wants to be reconciled.
    pub work: Work,
    /// Numbers for Prometheus.
    pub metrics: Metrics,
    /// Where looks are recorded, if they are.
    pub records: Option<Records>,
}

/// What devices and the broker say.
pub struct FleetState {
    /// Devices.
    pub index: Index,
    /// Plans at the broker.
    pub ledger: Ledger,
    /// The connection.
    pub link: Link,
    /// What was recorded last, by namespace and rollout; `None`: nothing is recorded.
    pub recorded: Option<Recorded>,
}

impl FleetState {
    /// The connection, as far as one fleet goes.
    #[must_use]
    pub fn link_of(&self, namespace: &Namespace) -> Link {
        self.link.of_fleet(self.index.fleet(namespace))
    }
}

impl Context {
    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// What devices and the broker say, locked. A thread that panicked with the lock has left the index whole:
    /// each message replaces entries, it never leaves one half written.
    pub fn fleets(&self) -> MutexGuard<'_, FleetState> {
        match self.fleets.try_lock() {
            Ok(fleets) => fleets,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // While somebody looks at a large fleet, whoever waits must not keep a thread from the lease and the probes.
            Err(TryLockError::WouldBlock) => {
                compute(|| self.fleets.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// What devices and the broker say, if nobody else is at it.
    #[must_use]
    pub fn fleets_if_free(&self) -> Option<MutexGuard<'_, FleetState>> {
        match self.fleets.try_lock() {
            Ok(fleets) => Some(fleets),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// What we wrote, locked.
    pub fn written(&self) -> MutexGuard<'_, WriteCache> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what takes long without waiting, beside the tasks of the runtime where it has other threads for them.
pub fn compute<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_fleet::Source;
    use modelfleet_fleet::ledger::Key;

    #[test]
    fn a_fleet_is_seen_whole_once_all_that_its_devices_retained_is_here() {
        let key = |namespace: &str| -> Key { (namespace.parse().unwrap(), "m".parse().unwrap()) };
        let mut fleets = FleetState {
            index: Index::new(1),
            ledger: Ledger::new(SigningKey::from_bytes(&[7; 32]).verifying_key()),
            link: Link { connected: true, settled: true, since: Time(5) },
            recorded: None,
        };
        let (a, b) = (key("a"), key("b"));
        fleets.index.note(&a, Source::Plan);
        fleets.index.note(&b, Source::Plan);
        fleets.index.complete(&a.0, Time(9));
        assert_eq!(fleets.link_of(&a.0), Link { connected: true, settled: true, since: Time(9) });
        assert!(!fleets.link_of(&b.0).settled, "a fleet that is new waits for its own devices");
        assert!(!fleets.link_of(&key("c").0).settled);
        fleets.index.reconnect();
        assert!(!fleets.link_of(&a.0).settled, "a new connection begins anew");
    }
}
