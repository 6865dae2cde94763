//! What every reconcile shares.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::SigningKey;
use kube::Client;
use kube::runtime::reflector::Store;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::time::Time;

use crate::index::Index;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::mqtt::Publisher;
use crate::records::{Mark, Records};
use crate::work::Work;
use crate::written::Written;

/// What every reconcile shares.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Rollouts as last seen.
    pub rollouts: Store<Rollout>,
    /// Model versions as last seen.
    pub versions: Store<ModelVersion>,
    /// What we wrote and have not seen come back.
    pub written: Mutex<Written>,
    /// What devices and the broker say.
    pub field: Mutex<Field>,
    /// The way to the broker.
    pub publisher: Publisher,
    /// Signs plans.
    pub signer: SigningKey,
    /// Our number among the leaders.
    pub epoch: u64,
    /// The highest epoch of any plan that was met.
    pub seen_epoch: Arc<AtomicU64>,
    /// How long a plan is good for, milliseconds.
    pub plan_lifetime_ms: u64,
    /// What wants to be reconciled.
    pub work: Work,
    /// Numbers for Prometheus.
    pub metrics: Metrics,
    /// Where looks are recorded, if they are.
    pub records: Option<Records>,
}

/// What devices and the broker say.
pub struct Field {
    /// Devices.
    pub index: Index,
    /// Plans at the broker.
    pub ledger: Ledger,
    /// The connection.
    pub link: Link,
    /// What was recorded last, by namespace and rollout; `None`: nothing is recorded.
    pub marks: Option<BTreeMap<(String, String), Mark>>,
}

/// The connection to the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// It stands.
    pub connected: bool,
    /// Every retained message has arrived since it stands.
    pub settled: bool,
    /// Since when it stands.
    pub since: Time,
}

impl Context {
    /// What devices and the broker say, locked. A thread that panicked with the lock has left the index whole:
    /// each message replaces entries, it never leaves one half written.
    pub fn field(&self) -> MutexGuard<'_, Field> {
        self.field.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What we wrote, locked.
    pub fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wall clock: the one door to time.
#[must_use]
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
