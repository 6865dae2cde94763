//! One device: the loop that waits, feeds the core one input at a time, and carries out its outputs in order.

mod carry;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use modelfleet_agent_core::agent::Agent;
use modelfleet_agent_core::words::{Identity, Input, Limits, Role, Step};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::time::Time;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admit::{Loader, Ready};
use crate::clock::Clock;
use crate::fetch::Fetcher;
use crate::mqtt::{Inbox, Link, LinkEvent, Outbox, Settings};
use crate::probe::Probe;
use crate::serve::Models;
use crate::store::{STATE, Store, StoreError, windows_record};

/// Events of the connection and of downloads that wait for the loop at most.
const EVENTS_MAX: usize = 32;
/// Windows are looked at least this often.
const TICK_MOST: Duration = Duration::from_secs(10);
/// Failed predictions are told at most this often.
const ALARM_EVERY: Duration = Duration::from_millis(200);

/// What a device is made of.
pub struct Parts {
    /// Who it is.
    pub identity: Identity,
    /// How often, how long and how much.
    pub limits: Limits,
    /// Its folder.
    pub store: Store,
    /// Where the broker is.
    pub settings: Settings,
    /// Opens what arrives.
    pub inbox: Arc<Inbox>,
    /// Fetches builds.
    pub fetcher: Fetcher,
    /// Loads them.
    pub loader: Arc<Loader>,
    /// Looks at the process.
    pub probe: Probe,
    /// Memory that the process may use, bytes; 0: not limited.
    pub memory_limit_bytes: u64,
    /// Predictions of a model that are remembered for their ground truth.
    pub predictions_remembered: usize,
    /// Counts the devices of the process that are connected.
    pub connected: Arc<AtomicUsize>,
}

/// Why a device stopped.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// What was decided could not be written, and must not be acted upon unwritten.
    #[error("write the agent's record")]
    Save(#[source] StoreError),
}

/// A running device.
pub struct Device {
    agent: Agent,
    clock: Arc<Clock>,
    store: Arc<Store>,
    models: Arc<Models>,
    loader: Arc<Loader>,
    fetcher: Fetcher,
    outbox: Arc<Outbox>,
    wills: mpsc::Sender<Presence>,
    /// Inputs that outputs led to; carried out before anything else is waited for.
    pending: VecDeque<Input>,
    /// Loaded, but neither answering nor beside.
    admitted: Vec<(Digest, Arc<Ready>)>,
    fetch: Option<(Digest, JoinHandle<()>)>,
    jobs: mpsc::Sender<Input>,
    wake: Option<Instant>,
    /// Window length by what is observed.
    windows_ms: BTreeMap<(ModelName, Role), u64>,
    probe: Probe,
    memory_limit_bytes: u64,
    /// What its memory is a share of: the limit, or else the machine's.
    memory_bytes: u64,
    connected: Arc<AtomicUsize>,
    name: String,
}

/// What reaches the loop from outside.
struct Sources {
    link: mpsc::Receiver<LinkEvent>,
    jobs: mpsc::Receiver<Input>,
}

impl Device {
    /// Starts a device from what its folder holds. The models it serves, and its run until `stop`.
    pub fn start(
        parts: Parts,
        stop: CancellationToken,
    ) -> (Arc<Models>, impl Future<Output = Result<(), DeviceError>> + Send) {
        let models = Arc::new(Models::remembering(parts.predictions_remembered));
        let served = models.clone();
        (served, run(parts, models, stop))
    }

    /// Feeds an input and everything that follows from it.
    async fn feed(&mut self, input: Input) -> Result<(), DeviceError> {
        self.pending.push_back(input);
        while let Some(input) = self.pending.pop_front() {
            let now = self.clock.now();
            let Step { outputs, wake } = self.agent.step(now, input);
            // The wait is on a monotonic clock: a wall clock that is set does not stretch it.
            self.wake = wake.map(|(at, _)| Instant::now() + Duration::from_millis(at.since_ms(now)));
            for output in outputs {
                self.carry_out(output).await?;
            }
        }
        Ok(())
    }

    /// Closes windows that have ended, and looks at what the process uses.
    async fn tick(&mut self) -> Result<(), DeviceError> {
        let now = self.clock.now();
        let usage = self.probe.usage();
        let share = u128::from(usage.memory_bytes) * 1_000_000 / u128::from(self.memory_bytes.max(1));
        let memory_ppm = u32::try_from(share).unwrap_or(u32::MAX);
        let exceeded = self.memory_limit_bytes > 0 && usage.memory_bytes > self.memory_limit_bytes;
        let mut inputs = Vec::new();
        for model in self.models.all() {
            for role in [Role::Live, Role::Shadow] {
                inputs.extend(model.with_recorder(role, |recorder| {
                    recorder.resources(usage.cpu_ppm, usage.memory_bytes, memory_ppm);
                    recorder.tick(now)
                }));
            }
            if exceeded && let Some(instance) = model.live() {
                let digest = instance.build.digest;
                inputs.push(Input::MemoryExceeded { model: model.name().clone(), digest });
            }
        }
        for input in inputs {
            self.feed(input).await?;
        }
        Ok(())
    }

    /// Time until windows are to be looked at again: just after the next one ends.
    fn until_tick(&self) -> Duration {
        let Time(now) = self.clock.now();
        let left = self.windows_ms.values().filter(|&&window| window > 0).map(|window| window - now % window);
        left.min().map_or(TICK_MOST, |ms| Duration::from_millis(ms).min(TICK_MOST))
    }

    async fn heard(&mut self, event: LinkEvent) -> Result<(), DeviceError> {
        match event {
            LinkEvent::Connected => {
                self.connected.fetch_add(1, Ordering::Relaxed);
            }
            LinkEvent::Disconnected => {
                self.connected.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
        let input = match event {
            LinkEvent::Connecting => Input::Connecting,
            LinkEvent::Connected => Input::Connected,
            LinkEvent::Disconnected => Input::Disconnected,
            LinkEvent::Heard => Input::BrokerHeard,
            LinkEvent::Plan(plan) => Input::Plan(plan),
            LinkEvent::Override(order) => Input::Override(order),
        };
        self.feed(input).await
    }
}

async fn run(parts: Parts, models: Arc<Models>, stop: CancellationToken) -> Result<(), DeviceError> {
    let (link_events, link) = mpsc::channel(EVENTS_MAX);
    let (jobs, job_events) = mpsc::channel(EVENTS_MAX);
    let (wills, will_events) = mpsc::channel(1);
    let outbox = Arc::new(Outbox::default());
    let connection = Link {
        settings: parts.settings,
        outbox: outbox.clone(),
        inbox: parts.inbox,
        events: link_events,
        wills: will_events,
    };
    let name = parts.identity.device.to_string();
    let memory_bytes = parts.identity.capabilities.memory_bytes;
    let (agent, clock) = restore(&parts.store, parts.identity, parts.limits);
    let mut device = Device {
        agent,
        clock: Arc::new(clock),
        store: Arc::new(parts.store),
        models,
        loader: parts.loader,
        fetcher: parts.fetcher,
        outbox,
        wills,
        pending: VecDeque::new(),
        admitted: Vec::new(),
        fetch: None,
        jobs,
        wake: None,
        windows_ms: BTreeMap::new(),
        probe: parts.probe,
        memory_limit_bytes: parts.memory_limit_bytes,
        memory_bytes,
        connected: parts.connected,
        name,
    };
    device.feed(Input::Started).await?;
    let over_link = CancellationToken::new();
    let connection = tokio::spawn(connection.run(over_link.clone()));
    let outcome = events(&mut device, Sources { link, jobs: job_events }, &stop).await;
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
        // What is observed, and in which windows, may have changed with the last input.
        tick = tick.min(Instant::now() + device.until_tick());
        tokio::select! {
            Some(event) = from.link.recv() => device.heard(event).await?,
            Some(input) = from.jobs.recv() => device.feed(input).await?,
            () = tokio::time::sleep_until(wake), if device.wake.is_some() => device.feed(Input::Wake).await?,
            () = tokio::time::sleep_until(tick) => {
                device.tick().await?;
                tick = Instant::now() + device.until_tick();
            }
            () = alarm(&device.models, quiet_until) => {
                device.tick().await?;
                quiet_until = Instant::now() + ALARM_EVERY;
            }
            () = stop.cancelled() => {
                // What was seen so far is worth keeping.
                device.tick().await?;
                return Ok(());
            }
        }
    }
}

async fn alarm(models: &Models, quiet_until: Instant) {
    tokio::time::sleep_until(quiet_until).await;
    models.alarmed().await;
}

/// The agent and the clock as the folder remembers them.
fn restore(store: &Store, identity: Identity, limits: Limits) -> (Agent, Clock) {
    let device = identity.device.to_string();
    let found = store.load(STATE, |bytes| {
        modelfleet_agent_core::saved::Saved::from_json(bytes).map_err(|e| crate::mqtt::chain(&e))
    });
    if let Some(note) = &found.note {
        warn!(%device, %note, "the record was not whole");
    }
    let saved = found.state.unwrap_or_default();
    let mut at = found.at;
    let mut windows = BTreeMap::new();
    for model in saved.models.keys() {
        let seen = store.load(&windows_record(model), |bytes| Ok(bytes.to_vec()));
        at = at.max(seen.at);
        if let Some(bytes) = seen.state {
            windows.insert(model.clone(), bytes);
        }
    }
    let keep = named(&saved);
    match store.keep_only(&keep) {
        Ok(0) => {}
        Ok(deleted) => info!(%device, deleted, "bytes that no slot holds were deleted"),
        Err(error) => warn!(%device, error = %crate::mqtt::chain(&error), "bytes could not be tidied"),
    }
    (Agent::new(identity, limits, saved, &windows), Clock::starting_at(at))
}

/// Every build that the record speaks of: its bytes, or the beginning of them, are worth keeping.
fn named(saved: &modelfleet_agent_core::saved::Saved) -> Vec<Digest> {
    let mut keep = Vec::new();
    for kept in saved.models.values() {
        keep.extend(kept.slots.iter().map(|slot| slot.build.digest));
        keep.extend(kept.attempts.iter().map(|tried| tried.attempt.digest));
        if let Some(plan) = &kept.plan {
            keep.extend(plan.stable.iter().map(|build| build.digest));
            keep.extend(plan.candidate.iter().map(|candidate| candidate.build.digest));
        }
    }
    keep
}
