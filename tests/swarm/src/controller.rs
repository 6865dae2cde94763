//! One controller: the shipped shell, from its Lease to its last write, on virtual time. The world carries its requests to
//! the simulated API server and its packets to the simulated broker, and can end it between any two of them.

mod broker_link;
mod clocks;
mod leading;
mod outbox;
mod watch;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use futures::FutureExt as _;
use modelfleet_controller::clock::Clock;
use modelfleet_controller::context::Context;
use modelfleet_controller::error::Error;
use modelfleet_controller::lease::{Election, LeaseError};
use modelfleet_controller::mqtt::subscriptions::{Next, Subscriptions};
use modelfleet_controller::reconcile::{Done, reconcile_at};
use modelfleet_controller::registry::Name;
use modelfleet_controller::registry::check_queue::CheckQueue;
use modelfleet_controller::run;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_number::chance::Chance;
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::ids::{DeviceId, ModelName, Namespace};
use modelfleet_protocol::time::Time;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api_server::{Change, Shared, client, locked};
use crate::broker::{Connection, Frame};
use crate::network::drawn;
use crate::object_store::Store;
use crate::probes::Reached;
use clocks::Clocks;
use outbox::SimulatedOutbox;
use watch::Watch;

/// A leader that was not seen to renew for so long may be replaced. Much longer than shipped, so that a run of days is not
/// mostly renewals; what follows from it is the same.
const LEASE: Duration = Duration::from_secs(1_800);
/// How often a leader renews and others look, milliseconds.
const RENEW_MS: u64 = 600_000;
/// Longest time until a lost connection is begun anew, milliseconds.
const RECONNECT_MAX_MS: u64 = 15_000;
/// How long a plan is good for, milliseconds: as shipped.
const PLAN_LIFETIME_MS: u64 = 720 * 3_600_000;
/// Most reconciles in an hour: three models whose sentences change with every second for two minutes, each shown by the watch
/// once more, and reports of twenty devices.
const RECONCILES_MAX: u32 = 4_000;
/// What a reconcile costs, for the queue: as much as makes it gather evidence for as long as it ever does, because reconciles
/// are most of what a run costs.
const COST: Duration = Duration::from_millis(1_250);

/// What a controller plans for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControllerEvent {
    /// Its process starts.
    Start,
    /// It tries to lead, or renews.
    Lease,
    /// Changes of objects arrive.
    Watch,
    /// Something wants to be reconciled; only the last wish of this kind counts.
    Work(u64),
    /// It is time to connect to the broker.
    Knock,
    /// A version is checked.
    Check(Name),
    /// It may have been quiet for long enough since a marker came back.
    Quiet,
}

/// What a controller wants of the world.
#[derive(Debug)]
pub enum ControllerWish {
    /// Something later; dropped when the process ends before.
    After(u64, ControllerEvent),
    /// A new connection.
    Connect(Frame),
    /// A frame on the connection that it has.
    Send(Frame),
    /// The same with a message that others act on, when so many of the writes that laws look at were made.
    Publish {
        /// The frame.
        frame: Frame,
        /// How many writes.
        after: usize,
    },
    /// Its process has ended, and left this connection behind.
    Died(Option<Connection>),
    /// A line for the story.
    Say(String),
    /// A law is broken.
    Broken(String),
}

/// What the world lends a controller for one event.
pub struct ControllerLent<'a> {
    /// Chance.
    pub chance: &'a mut Chance,
    /// What drives its futures.
    pub runtime: &'a Runtime,
    /// How the store of builds is.
    pub store: Store,
}

/// What only a leader has.
struct Leader {
    epoch: u64,
    ctx: Arc<Context>,
    outbox: Arc<SimulatedOutbox>,
    subscriptions: Subscriptions,
    sync_topic: String,
    connection: Option<Connection>,
    accepted: bool,
    rollouts: Watch<Rollout>,
    versions: Watch<ModelVersion>,
    /// The next change that the watches have not been handed.
    seen: Option<u64>,
    checks: CheckQueue,
    leave: CancellationToken,
    /// Numbers packets.
    numbers: u64,
    /// The last wake, and the moment that it is for.
    wake: u64,
    planned: Option<Instant>,
}

struct Process {
    election: Election,
    leader: Option<Leader>,
}

/// One controller.
pub struct Controller {
    who: usize,
    server: Shared,
    clocks: Arc<Clocks>,
    key: SigningKey,
    /// Grows with every end of the process: what was planned before does not happen.
    pub run: u64,
    /// Until then nothing of the process moves, as when a virtual machine is suspended.
    pub frozen_until: Option<Time>,
    process: Option<Process>,
    /// Reconciles in an hour, which is told by its number.
    reconciles: (u64, u32),
    /// Situations that it was in.
    pub reached: Reached,
}

impl Controller {
    /// A controller that is switched off.
    #[must_use]
    pub fn new(who: usize, server: &Shared, key: SigningKey) -> Controller {
        let clocks = Clocks { now: AtomicU64::new(0), ahead_ms: AtomicI64::new(0), base: Instant::now() };
        let (server, clocks) = (Arc::clone(server), Arc::new(clocks));
        Controller {
            who,
            server,
            clocks,
            key,
            run: 0,
            frozen_until: None,
            process: None,
            reconciles: (0, 0),
            reached: Reached::new(),
        }
    }

    /// Its name at the broker and in the story.
    #[must_use]
    pub fn name(&self) -> String {
        format!("controller-{}", self.who)
    }

    /// Sets true time.
    pub fn set_now(&self, now: Time) {
        self.clocks.now.store(now.0, Ordering::Relaxed);
    }

    /// Sets its wall clock wrong.
    pub fn set_ahead_ms(&self, ahead_ms: i64) {
        self.clocks.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// Whether it leads, or believes so.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leader().is_some()
    }

    /// Its epoch, while it leads.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.leader().map(|leader| leader.epoch)
    }

    /// Whether it leads and has heard all that devices have retained.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.leader().is_some_and(|leader| {
            let fleet = leader.ctx.fleets.named(&"plant".parse().expect("a DNS label"));
            leader.ctx.fleets.link_of(&fleet.locked()).settled
        })
    }

    /// Of how many devices it knows the state; `None` while it does not lead.
    #[must_use]
    pub fn devices_known(&self) -> Option<usize> {
        let fleet = self.leader()?.ctx.fleets.named(&"plant".parse().expect("a DNS label"));
        let fleet = fleet.locked().index.fleet();
        Some(fleet.labelled().count())
    }

    /// How many devices it knows, and those that it leaves out; `None` while it does not lead or has not heard all.
    #[must_use]
    pub fn fleet_seen(&self) -> Option<(usize, Vec<(DeviceId, String)>)> {
        let leader = self.leader().filter(|_| self.is_settled())?;
        let fleet = leader.ctx.fleets.named(&"plant".parse().expect("a DNS label"));
        let fleet = fleet.locked().index.fleet();
        Some((fleet.len(), fleet.omitted().named))
    }

    fn leader(&self) -> Option<&Leader> {
        self.process.as_ref()?.leader.as_ref()
    }

    /// Whether the watches are behind the API server.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let next = locked(&self.server).next_change();
        self.leader().is_some_and(|leader| leader.seen != Some(next))
    }

    /// The process ends at once. Returns the connection that it leaves behind.
    pub fn kill(&mut self) -> Option<Connection> {
        let process = self.process.take()?;
        self.run += 1;
        self.frozen_until = None;
        process.leader.and_then(|leader| leader.connection)
    }

    /// The world has opened the connection that it wished for.
    pub fn opened(&mut self, connection: Connection) {
        if let Some(leader) = self.process.as_mut().and_then(|process| process.leader.as_mut()) {
            leader.connection = Some(connection);
            leader.accepted = false;
        }
    }

    /// The next watch begins with a list.
    pub fn expire_watch(&mut self) {
        if let Some(leader) = self.process.as_mut().and_then(|process| process.leader.as_mut()) {
            leader.seen = None;
        }
    }

    /// Something that it had planned happens.
    pub fn happens(&mut self, event: ControllerEvent, lent: &mut ControllerLent<'_>) -> Vec<ControllerWish> {
        let mut wishes = Vec::new();
        match event {
            ControllerEvent::Start => self.start(lent, &mut wishes),
            ControllerEvent::Lease => self.lease(lent, &mut wishes),
            ControllerEvent::Watch => self.watch(),
            ControllerEvent::Work(number) => {
                let leader = self.process.as_mut().and_then(|process| process.leader.as_mut());
                if let Some(leader) = leader.filter(|leader| leader.wake == number) {
                    leader.planned = None;
                    self.work(lent, &mut wishes);
                }
            }
            ControllerEvent::Knock => {
                if self.leader().is_some_and(|leader| leader.connection.is_none()) {
                    let client = self.name();
                    wishes.push(ControllerWish::Connect(Frame::Connect { client, will: None }));
                }
            }
            ControllerEvent::Check(name) => self.check(&name, lent, &mut wishes),
            ControllerEvent::Quiet => self.quiet(&mut wishes),
        }
        self.carry(lent, &mut wishes);
        wishes
    }

    fn start(&mut self, lent: &mut ControllerLent<'_>, wishes: &mut Vec<ControllerWish>) {
        if self.process.is_some() {
            return;
        }
        let _entered = lent.runtime.enter();
        let api = client(&self.server, self.who);
        let election = Election::new(api, "plant", &self.name(), self.clock()).with_lease(LEASE);
        self.process = Some(Process { election, leader: None });
        wishes.push(ControllerWish::After(drawn(lent.chance, 5_000), ControllerEvent::Lease));
    }

    fn clock(&self) -> Clock {
        let (wall, steady) = (Arc::clone(&self.clocks), Arc::clone(&self.clocks));
        Clock::new(move || wall.wall(), move || steady.steady())
    }

    /// Drives a future of the shell to its end; `None`: the process died under it.
    fn drive<T>(&self, runtime: &Runtime, work: impl Future<Output = T>) -> Option<T> {
        let died = locked(&self.server).died(self.who);
        runtime.block_on(async {
            tokio::select! { biased; done = work => Some(done), () = died.notified() => None }
        })
    }

    fn die(&mut self, wishes: &mut Vec<ControllerWish>) {
        let left = self.kill();
        wishes.push(ControllerWish::Died(left));
    }

    fn lease(&mut self, lent: &mut ControllerLent<'_>, wishes: &mut Vec<ControllerWish>) {
        let Some(mut process) = self.process.take() else { return };
        let done = match &process.leader {
            None => self.drive(lent.runtime, process.election.try_acquire()).map(|got| got.map(Some)),
            Some(leader) => self
                .drive(lent.runtime, process.election.renew(leader.epoch))
                .map(|renewed| renewed.map(|()| None)),
        };
        let led = process.leader.is_some();
        self.process = Some(process);
        match done {
            None => return self.die(wishes),
            Some(Ok(Some(epoch))) => {
                wishes.push(ControllerWish::Say(format!("{} leads with epoch {epoch}", self.name())));
                self.lead(epoch, lent, wishes);
            }
            Some(Ok(None)) => {}
            Some(Err(LeaseError::Held(_))) if led => {
                wishes.push(ControllerWish::Say(format!("{} has lost its lease", self.name())));
                return self.die(wishes);
            }
            // An API server that is away longer than a lease ends the leader; here at the next try.
            Some(Err(LeaseError::Kubernetes(_))) if led && lent.chance.below(3) == 0 => {
                return self.die(wishes);
            }
            Some(Err(_)) => {}
        }
        let wait_ms = RENEW_MS / 2 + drawn(lent.chance, RENEW_MS / 2);
        wishes.push(ControllerWish::After(wait_ms, ControllerEvent::Lease));
    }

    /// What the API server has changed since is handed on.
    fn watch(&mut self) {
        let server = Arc::clone(&self.server);
        let Some(leader) = self.process.as_mut().and_then(|process| process.leader.as_mut()) else { return };
        let server = locked(&server);
        if server.trouble.get(&self.who).is_some_and(|trouble| trouble.away) {
            // A watch that breaks begins with a list.
            leader.seen = None;
            return;
        }
        let changes = leader.seen.and_then(|seen| server.changes(seen)).map(<[Change]>::to_vec);
        let next = server.next_change();
        match changes {
            Some(changes) => changes.iter().for_each(|change| match change.place.0.as_str() {
                "rollouts" => leader.rollouts.tell(&change.object, change.gone),
                _ => leader.versions.tell(&change.object, change.gone),
            }),
            None => {
                let all = |kind: &'static str| server.all(kind).cloned().collect::<Vec<_>>();
                leader.rollouts.list(&all("rollouts"));
                leader.versions.list(&all("modelversions"));
            }
        }
        drop(server);
        leader.seen = Some(next);
        leader.rollouts.poll();
        leader.versions.poll();
    }

    /// Everything that is due is reconciled.
    fn work(&mut self, lent: &mut ControllerLent<'_>, wishes: &mut Vec<ControllerWish>) {
        // One that asks for itself without an end is found by the world, which counts events in a second.
        for _ in 0..16 {
            let Some(leader) = self.leader() else { return };
            let ctx = Arc::clone(&leader.ctx);
            let Ok(job) = ctx.work.take_due() else { return };
            let now = ctx.now();
            let Some(result) = self.drive(lent.runtime, reconcile_at(&ctx, &job.key, now)) else {
                // Half of those that die have handed their last packets to the network.
                if lent.chance.below(2) == 0 {
                    self.drain(wishes);
                }
                return self.die(wishes);
            };
            if let Err(error) = &result {
                wishes.push(ControllerWish::Say(format!("{}: {}", self.name(), with_causes(error))));
            }
            if let Some(broken) = self.restless(now, &job.key, &result) {
                wishes.push(ControllerWish::Broken(broken));
            }
            run::note(&ctx, &job.key, job.evidence_since, result, lent.chance.unit());
            ctx.work.done(&job.key, COST);
            self.drain(wishes);
        }
    }

    /// A controller that reconciles all the time keeps a processor and the API server busy for nothing.
    fn restless(
        &mut self,
        now: Time,
        key: &(Namespace, ModelName),
        result: &Result<Done, Error>,
    ) -> Option<String> {
        let hour = now.0 / 3_600_000;
        if self.reconciles.0 != hour {
            self.reconciles = (hour, 0);
        }
        self.reconciles.1 += 1;
        (self.reconciles.1 > RECONCILES_MAX).then(|| {
            format!(
                "{} of {} reconciled more than {RECONCILES_MAX} times in an hour: {result:?}",
                key.1, key.0
            )
        })
    }

    /// What follows from an event: packets, subscriptions, checks, the next reconcile, and the end of a leader that has met a
    /// later one.
    fn carry(&mut self, lent: &mut ControllerLent<'_>, wishes: &mut Vec<ControllerWish>) {
        self.drain(wishes);
        let steady = self.clocks.steady();
        let Some(process) = &mut self.process else { return };
        let Some(leader) = &mut process.leader else { return };
        if leader.leave.is_cancelled() {
            let seen = leader.ctx.seen_epoch.load(Ordering::Relaxed);
            let (epoch, name) = (leader.epoch, self.name());
            let Some(process) = self.process.take() else { return };
            wishes.push(ControllerWish::Say(format!("{name} meets epoch {seen}, has {epoch}, and ends")));
            // Best effort, as in the shell.
            let _ = self.drive(lent.runtime, process.election.release(epoch, seen));
            self.process = Some(process);
            return self.die(wishes);
        }
        if leader.accepted && leader.connection.is_some() {
            let wanted = leader.outbox.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match leader.subscriptions.next(&wanted, steady) {
                Some(Next::Subscribe(filters)) => {
                    wishes.push(ControllerWish::Send(Frame::Subscribe(filters)));
                }
                Some(Next::Unsubscribe(_)) | None => {}
            }
        }
        for name in leader.checks.next().now_or_never().into_iter().flatten() {
            let wait_ms = 1_000 + drawn(lent.chance, 60_000);
            wishes.push(ControllerWish::After(wait_ms, ControllerEvent::Check(name)));
        }
        let due = leader.ctx.work.next_due();
        if due.is_none() || leader.planned == due {
            return;
        }
        leader.planned = due;
        let wait = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(steady));
        leader.wake += 1;
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        wishes.push(ControllerWish::After(wait_ms, ControllerEvent::Work(leader.wake)));
    }
}
