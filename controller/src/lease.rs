//! Leader election by a Lease of coordination.k8s.io. One process leads; it ends when it cannot renew.
//!
//! Every time that a process becomes the leader, also when it was the leader before, it gets a higher epoch
//! ([`modelfleet_model::epoch`]), which an annotation of the Lease keeps. The epoch is in every plan, so that devices obey no
//! leader of the past, and a restarted one may begin its revisions anew. Holders are judged by our own clock (since when do
//! we see the same renewal), not by theirs.

pub mod fence;
pub mod tenure;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use modelfleet_model::epoch::next_epoch;
use modelfleet_model::status::time::to_k8s;

use modelfleet_protocol::causes::with_causes;
use tenure::Tenure;

/// A leader that was not seen for so long may be replaced.
const LEASE: Duration = Duration::from_secs(15);
/// A leader that could not renew for so long ends itself, well before it may be replaced.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often a leader renews, and others look.
const RETRY: Duration = Duration::from_secs(2);
/// Name of the Lease.
pub const NAME: &str = "modelfleet-controller";
/// The annotation of the Lease with the epoch of its leader; after its release, with the highest epoch that it has met.
const EPOCH: &str = "modelfleet.io/epoch";

/// Why a Lease could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The API server refuses or is away.
    #[error("lease {NAME}")]
    Kubernetes(#[source] Box<kube::Error>),
    /// Another process holds it.
    #[error("lease {NAME} is held by {0}")]
    Held(String),
    /// Another process was faster.
    #[error("lease {NAME} was taken meanwhile")]
    Conflict,
    /// The API server did not answer in time; another process may take it.
    #[error("lease {NAME} could not be renewed within {} s", RENEW_DEADLINE.as_secs())]
    Slow,
}

/// A wish to lead.
pub struct Election {
    api: Api<Lease>,
    identity: String,
    /// The holder's last renewal, and since when we see it.
    seen: Option<(String, Option<MicroTime>, Instant)>,
    clock: Clock,
    tenure: Tenure,
    /// A holder that was not seen to renew for so long may be replaced.
    lease: Duration,
    /// An epoch that a user wants this process to be above.
    above: Option<u64>,
}

impl Election {
    /// A wish to lead under this name, by a Lease in this namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str, identity: &str, clock: Clock) -> Election {
        let (api, identity) = (Api::namespaced(client, namespace), identity.to_owned());
        let tenure = Tenure::new(clock.clone(), RENEW_DEADLINE);
        Election { api, identity, seen: None, clock, tenure, lease: LEASE, above: None }
    }

    /// Until when this process may write.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// The same, with a lease of another length.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Election {
        Election { lease, ..self }
    }

    /// The same, with an epoch above this one: devices have taken a plan of it, and obey no leader below.
    #[must_use]
    pub fn above(self, epoch: Option<u64>) -> Election {
        Election { above: epoch, ..self }
    }

    /// Waits until this process leads. Returns its epoch; `None` when `stop` came first.
    pub async fn acquire(&mut self, stop: &CancellationToken) -> Option<u64> {
        let mut told = String::new();
        loop {
            match self.try_acquire().await {
                Ok(epoch) => return Some(epoch),
                Err(error) => {
                    let text = with_causes(&error);
                    if text != told {
                        tracing::info!(reason = text, "waiting to lead");
                    }
                    told = text;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(RETRY.mul_f64(0.75 + rand::random::<f64>() / 2.0)) => {}
            }
        }
    }

    /// Tries to lead, once. Returns the epoch.
    ///
    /// # Errors
    /// When another process holds the Lease or was faster, or the API server refuses or is away.
    pub async fn try_acquire(&mut self) -> Result<u64, LeaseError> {
        let asked_at = self.tenure.moment();
        let epoch = self.acquired().await?;
        self.tenure.renewed(asked_at);
        Ok(epoch)
    }

    async fn acquired(&mut self) -> Result<u64, LeaseError> {
        let Some(lease) = self.api.get_opt(NAME).await.map_err(sort)? else {
            return self.create().await;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if !holder.is_empty()
            && holder != self.identity
            && !self.has_expired(&holder, spec.renew_time.as_ref())
        {
            return Err(LeaseError::Held(holder));
        }
        let epoch = next_epoch(epoch_of(&lease).max(self.above), self.clock.now());
        let transitions = spec.lease_transitions.unwrap_or(0).saturating_add(1);
        self.replace(lease, epoch, transitions).await
    }

    /// Whether we have seen the same renewal for the length of a lease.
    fn has_expired(&mut self, holder: &str, renewed: Option<&MicroTime>) -> bool {
        match &self.seen {
            Some((by, at, since)) if by == holder && at.as_ref() == renewed => {
                self.clock.steady().saturating_duration_since(*since) >= self.lease
            }
            _ => {
                self.seen = Some((holder.to_owned(), renewed.cloned(), self.clock.steady()));
                false
            }
        }
    }

    async fn create(&self) -> Result<u64, LeaseError> {
        let epoch = next_epoch(self.above, self.clock.now());
        let mut lease = Lease {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            spec: Some(self.spec(0)),
        };
        note_epoch(&mut lease, epoch);
        self.api.create(&PostParams::default(), &lease).await.map_err(sort)?;
        Ok(epoch)
    }

    /// Takes the lease that was read; it fails if another controller was faster.
    async fn replace(&self, mut lease: Lease, epoch: u64, transitions: i32) -> Result<u64, LeaseError> {
        lease.spec = Some(self.spec(transitions));
        note_epoch(&mut lease, epoch);
        lease.metadata.managed_fields = None;
        self.api.replace(NAME, &PostParams::default(), &lease).await.map_err(sort)?;
        Ok(epoch)
    }

    /// For people: no decision goes by the clock of another process.
    fn micro_time(&self) -> MicroTime {
        MicroTime(to_k8s(self.clock.now()).0)
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = Some(self.micro_time());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            acquire_time: now.clone(),
            renew_time: now,
            lease_duration_seconds: i32::try_from(self.lease.as_secs()).ok(),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// Whether the lease is ours: held under our name, and not by another process of the same name since.
    fn own(&self, lease: &Lease, epoch: u64) -> Result<(), LeaseError> {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        let same = epoch_of(lease) == Some(epoch);
        if holder == self.identity && same { Ok(()) } else { Err(LeaseError::Held(holder)) }
    }

    /// Renews the Lease of `epoch`, once.
    ///
    /// # Errors
    /// When it is held by another process by now, or the API server refuses or is away.
    pub async fn renew(&self, epoch: u64) -> Result<(), LeaseError> {
        let asked_at = self.tenure.moment();
        let mut lease = self.api.get(NAME).await.map_err(sort)?;
        self.own(&lease, epoch)?;
        if let Some(spec) = &mut lease.spec {
            spec.renew_time = Some(self.micro_time());
        }
        self.api.replace(NAME, &PostParams::default(), &lease).await.map_err(sort)?;
        self.tenure.renewed(asked_at);
        Ok(())
    }

    /// Renews the lease of `epoch` until `stop`, then gives it back. Returns early when it is lost: the process has to
    /// end. `seen` is the highest epoch of any plan that was met: the next leader has to be above it, also when our clock is
    /// behind and the Lease is a new one.
    ///
    /// # Errors
    /// Says why the lease is lost.
    pub async fn hold(
        &self,
        epoch: u64,
        seen: &AtomicU64,
        stop: &CancellationToken,
    ) -> Result<(), LeaseError> {
        let mut good = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.release(epoch, seen.load(Ordering::Relaxed)).await,
                () = tokio::time::sleep(RETRY) => {}
            }
            let left = RENEW_DEADLINE.saturating_sub(good.elapsed());
            match tokio::time::timeout(left, self.renew(epoch)).await {
                Ok(Ok(())) => good = Instant::now(),
                Ok(Err(error @ LeaseError::Held(_))) => {
                    self.tenure.end();
                    return Err(error);
                }
                Ok(Err(error)) if good.elapsed() >= RENEW_DEADLINE => return Err(error),
                Ok(Err(error)) => tracing::warn!(error = with_causes(&error), "lease not renewed"),
                Err(_) => return Err(LeaseError::Slow),
            }
        }
    }

    /// Gives the lease back, so that the next one need not wait. `seen`: the highest epoch of any plan that was met.
    ///
    /// # Errors
    /// When it is held by another process by now, or the API server refuses or is away.
    pub async fn release(&self, epoch: u64, seen: u64) -> Result<(), LeaseError> {
        // What still runs writes nothing beside the next leader, which decides it again.
        self.tenure.end();
        let mut lease = self.api.get(NAME).await.map_err(sort)?;
        self.own(&lease, epoch)?;
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
        }
        note_epoch(&mut lease, epoch.max(seen));
        self.api.replace(NAME, &PostParams::default(), &lease).await.map_err(sort)?;
        Ok(())
    }
}

/// The epoch that the Lease keeps; before there was an annotation, the number of its transitions was the epoch.
fn epoch_of(lease: &Lease) -> Option<u64> {
    let kept = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(EPOCH));
    let count = || lease.spec.as_ref()?.lease_transitions.and_then(|count| u64::try_from(count).ok());
    kept.map_or_else(count, |epoch| epoch.parse().ok())
}

fn note_epoch(lease: &mut Lease, epoch: u64) {
    let annotations = lease.metadata.annotations.get_or_insert_with(BTreeMap::new);
    annotations.insert(EPOCH.to_owned(), epoch.to_string());
}

fn sort(error: kube::Error) -> LeaseError {
    match &error {
        kube::Error::Api(status) if status.code == 409 => LeaseError::Conflict,
        _ => LeaseError::Kubernetes(Box::new(error)),
    }
}
