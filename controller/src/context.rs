//! What every reconcile shares.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ed25519_dalek::SigningKey;
use kube::Client;
use kube::runtime::reflector::Store;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::time::Time;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::device_orders::DeviceOrders;
use crate::fleets::Fleets;
use crate::metrics::Metrics;
use crate::mqtt::Outbox;
use crate::records::Records;
use crate::telling::Telling;
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
    pub fleets: Fleets,
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
    /// Orders of single devices.
    pub orders: DeviceOrders,
    /// Tells event sinks.
    pub telling: Telling,
    /// Numbers for Prometheus.
    pub metrics: Metrics,
    /// Where looks are recorded, if they are.
    pub records: Option<Records>,
}

impl Context {
    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// What we wrote, locked.
    pub fn written(&self) -> MutexGuard<'_, WriteCache> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what takes long without waiting, beside the tasks of the runtime where it has other threads for them.
pub fn compute<T>(work: impl FnOnce() -> T) -> T {
    if has_other_threads() { tokio::task::block_in_place(work) } else { work() }
}

/// Whether the runtime has other threads for its tasks while this one computes.
fn has_other_threads() -> bool {
    Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Runs what takes long, beside the tasks of the runtime where it has other threads for them; `None` once `interrupt` comes
/// first. What runs then goes on to its end, which changes nothing.
pub async fn unless<T: Send + 'static>(
    interrupt: &CancellationToken,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if !has_other_threads() {
        return Some(work());
    }
    let task = tokio::task::spawn_blocking(work);
    tokio::select! {
        biased;
        () = interrupt.cancelled() => None,
        done = task => match done {
            Ok(done) => Some(done),
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and with it this task.
                Err(_) => None,
            },
        },
    }
}
