//! One device: the event loop that waits, feeds the core one input at a time, and carries out its outputs in order.

mod activation;
mod disk_space;
mod loads;
mod outputs;
mod parts;
mod record_writes;
mod restore;
mod trust;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use modelfleet_agent_core::agent::Agent;
use modelfleet_agent_core::interface::{Input, Moment, Output, Record, Role, Step};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::time::Time;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admit::Loader;
use crate::clock::Clock;
use crate::fetch::Fetcher;
use crate::mqtt::{HeldPlans, Link, LinkEvent, Outbox};
use crate::probe::Probe;
use crate::serve::{Keeping, Models, Problem};
use crate::store::Store;
use activation::{Admitted, Outcome};
use disk_space::DiskSpace;
use loads::{Loaded, Loads};
pub use parts::Parts;
use record_writes::RecordWrites;
use restore::{boot, restore};

/// Longest queue of events of the connection, and of downloads.
const EVENTS_MAX: usize = 32;
/// Windows are checked at least this often.
const TICK_MOST: Duration = Duration::from_secs(10);
/// Memory above the limit is held against a build after this time.
const OVER_LEAST: Duration = Duration::from_secs(10);
/// Failed predictions are reported to the core at most this often.
const ALARM_EVERY: Duration = Duration::from_millis(200);

/// Why a device stopped.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A model hangs while it is loaded or tested, and only the end of the process frees its thread. The core's decision is
    /// on disk.
    #[error("{0} has been loading for too long; a new process is needed")]
    Stuck(String),
}

/// A running device.
pub struct Device {
    agent: Agent,
    clock: Arc<Clock>,
    /// The origin of the steady clock.
    since: Instant,
    store: Arc<Store>,
    models: Arc<Models>,
    loader: Arc<Loader>,
    fetcher: Fetcher,
    outbox: Arc<Outbox>,
    wills: mpsc::Sender<Presence>,
    /// Inputs that resulted from outputs; they are fed before the loop waits again.
    pending: VecDeque<Input>,
    /// Builds that are loaded, and neither answer nor run in shadow.
    admitted: Vec<Admitted>,
    fetch: Option<(Digest, JoinHandle<()>)>,
    disk_space: DiskSpace,
    loads: Loads<Outcome>,
    record_writes: RecordWrites,
    jobs: mpsc::Sender<Input>,
    wake: Option<Instant>,
    /// Window length by model and role.
    windows_ms: BTreeMap<(ModelName, Role), u64>,
    probe: Probe,
    memory_limit_bytes: u64,
    /// Since when all readings have been above the limit.
    over_since: Option<Instant>,
    /// The limit, or without one the machine's memory: reports give memory as a share of it.
    memory_bytes: u64,
    connected: Arc<AtomicUsize>,
    name: String,
}

/// The event sources of the loop.
struct Sources {
    link: mpsc::Receiver<LinkEvent>,
    jobs: mpsc::Receiver<Input>,
    loads: mpsc::Receiver<Loaded<Outcome>>,
}

impl Device {
    /// Starts a device from the content of its folder. Returns the models that it serves, and its event loop, which runs
    /// until `stop`.
    pub fn start(
        parts: Parts,
        stop: CancellationToken,
    ) -> (Arc<Models>, impl Future<Output = Result<(), DeviceError>> + Send) {
        let kept = Keeping { limits: parts.truth_limits, dir: parts.store.truth() };
        let models = Arc::new(Models::keeping(kept));
        let served = models.clone();
        (served, run(parts, models, stop))
    }

    /// Feeds an input and everything that follows from it.
    async fn feed(&mut self, input: Input) {
        self.pending.push_back(input);
        self.feed_pending().await;
    }

    async fn feed_pending(&mut self) {
        while let Some(input) = self.pending.pop_front() {
            let now = self.clock.now();
            let steady_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            let Step { outputs, wake } = self.agent.step(Moment { wall: now, steady_ms }, input);
            // The wait is on a monotonic clock: a wall clock that is set does not stretch it.
            self.wake = wake.map(|(at, _)| Instant::now() + Duration::from_millis(at.since_ms(now)));
            let mut written = true;
            for output in outputs {
                if output == Output::Save(Record::Control) {
                    written = self.save_control().await;
                } else if written || !output.depends_on_record() {
                    self.carry_out(output).await;
                }
            }
        }
    }

    /// Closes windows that have ended, and measures what the process uses.
    async fn tick(&mut self) {
        let now = self.clock.now();
        let usage = self.probe.usage();
        let share = u128::from(usage.memory_bytes) * 1_000_000 / u128::from(self.memory_bytes.max(1));
        let memory_ppm = u32::try_from(share).unwrap_or(u32::MAX);
        let mut inputs = self.ended_engines();
        for model in self.models.all() {
            for role in [Role::Live, Role::Shadow] {
                inputs.extend(model.with_recorder(role, |recorder| {
                    recorder.resources(usage.cpu_ppm, usage.memory_bytes, memory_ppm);
                    recorder.tick(now)
                }));
            }
        }
        if self.memory_limit_bytes > 0 {
            let exceeded = usage.memory_bytes > self.memory_limit_bytes;
            self.over_since = exceeded.then(|| self.over_since.unwrap_or_else(Instant::now));
            // Large requests take memory for a moment; a build that takes too much keeps it.
            if self.over_since.is_none_or(|since| since.elapsed() >= OVER_LEAST) {
                inputs.push(Input::Memory { exceeded });
            }
        }
        self.look_at_trust(now);
        self.models.set_problem(Problem::Clock, self.clock.past_all_plans().map(past_all_plans));
        if self.disk_space.is_available(self.store.dir()) {
            inputs.push(Input::RoomOnDisk);
        }
        // What truth says of windows is on disk before they say it.
        self.save_truth(false).await;
        for input in inputs {
            self.feed(input).await;
        }
    }

    /// Builds that cannot answer any more, because the processes that ran them have ended. Told until they are replaced.
    fn ended_engines(&self) -> Vec<Input> {
        let mut inputs = Vec::new();
        for model in self.models.all() {
            for instance in [model.live(), model.shadow()].into_iter().flatten() {
                let Some(detail) = instance.ready.session.ended() else { continue };
                let (model, digest) = (model.name().clone(), instance.build.digest);
                inputs.push(Input::EngineEnded { model, digest, detail });
            }
        }
        inputs
    }

    /// Closes the open windows and writes what is not on disk yet.
    async fn stop(&mut self) {
        self.tick().await;
        let now = self.clock.now();
        for model in self.models.all() {
            for role in [Role::Live, Role::Shadow] {
                for input in model.with_recorder(role, |recorder| recorder.stop(now)) {
                    self.feed(input).await;
                }
            }
        }
        self.save_truth(true).await;
        self.feed(Input::Stopping).await;
    }

    /// Time until the windows are checked again: just after the next one ends.
    fn until_tick(&self) -> Duration {
        let Time(now) = self.clock.now();
        let left = self.windows_ms.values().filter(|&&window| window > 0).map(|window| window - now % window);
        left.min().map_or(TICK_MOST, |ms| Duration::from_millis(ms).min(TICK_MOST))
    }

    async fn heard(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected => {
                self.connected.fetch_add(1, Ordering::Relaxed);
            }
            LinkEvent::Disconnected => {
                self.connected.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
        let is_trust = matches!(event, LinkEvent::Trust(_));
        let input = match event {
            LinkEvent::Connecting => Input::Connecting,
            LinkEvent::Connected => Input::Connected { payload_bytes_max: self.outbox.payload_bytes_max() },
            LinkEvent::Disconnected => Input::Disconnected,
            LinkEvent::Heard => Input::BrokerHeard,
            LinkEvent::Plan(plan) => Input::Plan(plan),
            LinkEvent::Override(order) => Input::Override(order),
            LinkEvent::Trust(document) => Input::Trust(document),
        };
        self.feed(input).await;
        if is_trust {
            self.follow_trust();
        }
    }
}

async fn run(parts: Parts, models: Arc<Models>, stop: CancellationToken) -> Result<(), DeviceError> {
    let (link_events, link) = mpsc::channel(EVENTS_MAX);
    let (jobs, job_events) = mpsc::channel(EVENTS_MAX);
    let (loads, load_events) = mpsc::channel(EVENTS_MAX);
    let (wills, will_events) = mpsc::channel(1);
    let outbox = Arc::new(Outbox::default());
    let memory_bytes = parts.identity.capabilities.memory_bytes;
    let name = parts.identity.device.to_string();
    let (agent, clock) = restore(&parts.store, parts.identity, parts.limits);
    parts.inbox.go_on_from(agent.saved().trust.as_ref());
    let open = |envelope: &bytes::Bytes| parts.inbox.kept_plan(envelope);
    let held = parts.store.plans().map_or_else(HeldPlans::none, |dir| HeldPlans::open(&dir, open));
    let connection = Link {
        settings: parts.settings,
        outbox: outbox.clone(),
        inbox: parts.inbox.clone(),
        held: Arc::new(held),
        events: link_events,
        wills: will_events,
    };
    let clock = Arc::new(clock);
    parts.certificate_time.follow(&clock);
    models.follow(clock.clone());
    let mut device = Device {
        agent,
        clock,
        since: Instant::now(),
        store: Arc::new(parts.store),
        models,
        loader: parts.loader,
        fetcher: parts.fetcher,
        outbox,
        wills,
        pending: VecDeque::new(),
        admitted: Vec::new(),
        fetch: None,
        disk_space: DiskSpace::default(),
        loads: Loads::new(loads),
        record_writes: RecordWrites::default(),
        jobs,
        wake: None,
        windows_ms: BTreeMap::new(),
        probe: parts.probe,
        memory_limit_bytes: parts.memory_limit_bytes,
        over_since: None,
        memory_bytes,
        connected: parts.connected,
        name,
    };
    device.follow_trust();
    device.feed(Input::Started { boot: boot() }).await;
    device.explain_what_is_forbidden();
    let over_link = CancellationToken::new();
    let connection = tokio::spawn(connection.run(over_link.clone()));
    let outcome = events(&mut device, Sources { link, jobs: job_events, loads: load_events }, &stop).await;
    if let Some((_, task)) = device.fetch.take() {
        task.abort();
    }
    over_link.cancel();
    // The link's last events have no reader any more; it only says goodbye.
    let _ = connection.await;
    outcome
}

/// The event loop.
async fn events(device: &mut Device, mut from: Sources, stop: &CancellationToken) -> Result<(), DeviceError> {
    let mut tick = Instant::now() + device.until_tick();
    let mut quiet_until = Instant::now();
    loop {
        let wake = device.wake.unwrap_or_else(|| Instant::now() + TICK_MOST);
        let load = device.loads.next_look();
        let look = load.unwrap_or_else(|| Instant::now() + TICK_MOST);
        // What is observed, and in which windows, may have changed with the last input.
        tick = tick.min(Instant::now() + device.until_tick());
        tokio::select! {
            Some(event) = from.link.recv() => device.heard(event).await,
            Some(input) = from.jobs.recv() => device.feed(input).await,
            Some(loaded) = from.loads.recv() => device.loaded(loaded).await,
            () = tokio::time::sleep_until(look), if load.is_some() => device.look_at_loads().await?,
            () = tokio::time::sleep_until(wake), if device.wake.is_some() => device.feed(Input::Wake).await,
            () = tokio::time::sleep_until(tick) => {
                device.tick().await;
                tick = Instant::now() + device.until_tick();
            }
            () = alarm(&device.models, quiet_until) => {
                device.tick().await;
                quiet_until = Instant::now() + ALARM_EVERY;
            }
            () = stop.cancelled() => {
                device.stop().await;
                return Ok(());
            }
        }
    }
}

/// What is told of a clock by which all plans have expired.
fn past_all_plans(by: Duration) -> String {
    let hours = by.as_secs() / 3_600;
    format!(
        "by this device's clock all plans expired {hours} hours ago, so nothing new is installed; the installed models keep \
         running. Check the clock; if it is right, check that the controller runs and reaches the broker"
    )
}

async fn alarm(models: &Models, quiet_until: Instant) {
    tokio::time::sleep_until(quiet_until).await;
    models.alarmed().await;
}
