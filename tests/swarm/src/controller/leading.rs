//! A controller that has become leader, and what it checks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::channel::mpsc::unbounded;
use kube::runtime::reflector;
use kube::runtime::reflector::ObjectRef;
use modelfleet_controller::context::Context;
use modelfleet_controller::device_orders::DeviceOrders;
use modelfleet_controller::fleets::Fleets;
use modelfleet_controller::metrics::Metrics;
use modelfleet_controller::mqtt::Outbox;
use modelfleet_controller::mqtt::subscriptions::Subscriptions;
use modelfleet_controller::registry::check_queue::CheckQueue;
use modelfleet_controller::registry::{Name, wants_check};
use modelfleet_controller::run;
use modelfleet_controller::telling::Telling;
use modelfleet_controller::work::Work;
use modelfleet_controller::write_cache::WriteCache;
use modelfleet_crds::model_version::VersionStage;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_model::epoch::later_epoch;
use modelfleet_model::status::time::to_k8s;
use tokio_util::sync::CancellationToken;

use super::outbox::SimulatedOutbox;
use super::watch::{Watch, own};
use super::{Controller, ControllerEvent, ControllerLent, ControllerWish, Leader, PLAN_LIFETIME_MS};
use crate::api_server::client;
use crate::network::drawn;
use crate::object_store::Store;

/// A file that could not be read is looked at again after this time, milliseconds.
const CHECK_AGAIN_MS: u64 = 300_000;
/// The same of a file that was wrong.
const RECHECK_MS: u64 = 600_000;

impl Controller {
    pub(super) fn lead(
        &mut self,
        epoch: u64,
        lent: &mut ControllerLent<'_>,
        wishes: &mut Vec<ControllerWish>,
    ) {
        let _entered = lent.runtime.enter();
        let (rollouts, rollout_writer) = reflector::store::<Rollout>();
        let (versions, version_writer) = reflector::store::<ModelVersion>();
        let (clock, outbox) = (self.clock(), Arc::new(SimulatedOutbox::default()));
        let ctx = Arc::new(Context {
            client: client(&self.server, self.who),
            rollouts,
            versions,
            written: Mutex::new(WriteCache::default()),
            fleets: Fleets::new(self.key.verifying_key(), 1_000, 1_000),
            publisher: Arc::clone(&outbox) as Arc<dyn Outbox>,
            signer: self.key.clone(),
            epoch,
            seen_epoch: Arc::new(AtomicU64::new(0)),
            plan_lifetime_ms: PLAN_LIFETIME_MS,
            work: Work::new(clock.clone()),
            orders: DeviceOrders::default(),
            telling: Telling::default(),
            clock,
            metrics: Metrics::new(),
            records: None,
        });
        let checks = CheckQueue::default();
        let all = CancellationToken::new();
        let of = Arc::clone(&ctx);
        let (sender, events) = unbounded();
        let changed = move |rollout: &Rollout, gone| run::rollout_changed(&of, rollout, gone);
        let hand_on = Box::pin(own(events, rollout_writer, all.clone(), changed));
        let rollouts = Watch { events: sender, hand_on };
        let (of, asked) = (Arc::clone(&ctx), checks.clone());
        let (sender, events) = unbounded();
        let changed = move |version: &ModelVersion, gone| run::version_changed(&of, &asked, version, gone);
        let hand_on = Box::pin(own(events, version_writer, all, changed));
        let versions = Watch { events: sender, hand_on };
        let sync_topic = format!("mf/1/_controller/{}/sync", self.name());
        let leader = Leader {
            epoch,
            ctx,
            outbox,
            subscriptions: Subscriptions::new(&sync_topic),
            sync_topic,
            connection: None,
            accepted: false,
            rollouts,
            versions,
            seen: None,
            checks,
            leave: CancellationToken::new(),
            numbers: 0,
            wake: 0,
            planned: None,
        };
        if let Some(process) = &mut self.process {
            process.leader = Some(leader);
        }
        self.watch();
        // Objects before devices. A Lease whose count began anew is found in the statuses.
        let Some(leader) = self.leader() else { return };
        let told = leader.ctx.rollouts.state();
        let told = told.iter().map(|rollout| rollout.status.as_ref().and_then(|status| status.epoch));
        match later_epoch(told, epoch) {
            Some(later) => {
                leader.ctx.seen_epoch.fetch_max(later, Ordering::Relaxed);
                leader.leave.cancel();
            }
            None => wishes.push(ControllerWish::After(drawn(lent.chance, 1_000), ControllerEvent::Knock)),
        }
    }

    /// The registry's part: the bytes of a version were checked.
    pub(super) fn check(
        &mut self,
        name: &Name,
        lent: &mut ControllerLent<'_>,
        wishes: &mut Vec<ControllerWish>,
    ) {
        let Some(leader) = self.leader() else { return };
        let ctx = Arc::clone(&leader.ctx);
        let found = ctx.versions.get(&ObjectRef::new(&name.1).within(&name.0));
        let Some(object) = found.filter(|object| object.metadata.uid.as_ref() == Some(&name.2)) else {
            return;
        };
        let object = ctx.written().version(object);
        if wants_check(&ctx, &object).is_none() {
            return;
        }
        // As `registry::write` says it of the shipped check.
        let (result, reason, again_ms) = match lent.store {
            store if store.is_right() => (VersionStage::Verified, "Verified", None),
            Store::OtherBytes | Store::Truncates => {
                (VersionStage::Rejected, "DigestMismatch", Some(RECHECK_MS))
            }
            _ => (VersionStage::Registered, "StoreUnavailable", Some(CHECK_AGAIN_MS)),
        };
        if let Some(again_ms) = again_ms {
            self.reached.insert(format!("check {reason}"));
            wishes.push(ControllerWish::After(again_ms, ControllerEvent::Check(name.clone())));
        }
        let mut status = object.status.clone().unwrap_or_default();
        if (status.stage, status.reason.as_deref()) == (Some(result), Some(reason)) {
            return;
        }
        status.stage = Some(result);
        status.reason = Some(reason.to_owned());
        status.verified_at = (result == VersionStage::Verified).then(|| to_k8s(ctx.now()));
        let write = modelfleet_controller::apply::write_version_status(&ctx, &object, status, ctx.now());
        match self.drive(lent.runtime, write) {
            None => self.die(wishes),
            Some(Ok(())) => {}
            Some(Err(_)) => wishes.push(ControllerWish::After(5_000, ControllerEvent::Check(name.clone()))),
        }
    }
}
