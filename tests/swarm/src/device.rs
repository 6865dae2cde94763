//! One device: the shipped agent core and recorder, carried by a shell on virtual time. It does what the agent's own shell
//! does, in the same order, and can be cut off between any two outputs.

mod link;
mod outputs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ed25519_dalek::VerifyingKey;
use modelfleet_agent_core::agent::Agent;
use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::held_plans::HeldPlans;
use modelfleet_agent_core::interface::{
    Identity, Input, Limits, Moment, Output, Record, RecordingTarget, Retry, Role, Step,
};
use modelfleet_agent_core::recorder::{Outcome, Prediction, Recorder};
use modelfleet_agent_core::saved::Saved;
use modelfleet_number::chance::Chance;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::state::{Failure, FailureCode};
use modelfleet_protocol::time::Time;

use crate::broker::{Connection, Frame};
use crate::disk::Disk;
use crate::nature::{Nature, REQUESTS_A_WINDOW};
use crate::network::{drawn, happens};
use crate::object_store::{Download, Store};
use crate::probes::{self, Reached};
use link::Link;

/// Time that a load and a self-test have until they are given up, milliseconds.
const LOAD_MAX_MS: u64 = 120_000;
/// Longest time until a lost connection is begun anew, milliseconds.
const RECONNECT_MAX_MS: u64 = 60_000;
/// Inputs that follow from one another, more than which never end.
const STEPS_MAX: u32 = 10_000;
/// Windows are looked at at least this often, milliseconds.
const TICK_MAX_MS: u64 = 600_000;

/// A defect of the shell, planted to see that the laws find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// It deletes no bytes.
    DeletesNothing,
    /// It says that another build answers, and goes on with the one before.
    KeepsWhatAnswered,
    /// It never tells that a build was loaded.
    TellsNoLoad,
}

/// What a device plans for itself.
#[derive(Clone, Debug, PartialEq)]
pub enum DeviceEvent {
    /// The agent wants to be woken; only the last wish of this kind counts.
    Wake(u64),
    /// A download has come to its end; only the last one of a build counts.
    FetchEnded(Digest, u64, Download),
    /// Windows may have ended, and requests have come in.
    Tick,
    /// An answer to what the agent asked of its shell.
    Answer(Box<Input>),
    /// It is time to connect.
    Knock,
    /// The broker has had time to send the plans that it has on this connection.
    PlansDue(Connection),
    /// The machine has power again, or the process is started again.
    Start,
    /// The process ends because of a crashing build.
    Crash,
}

/// What a device wants of the world.
#[derive(Debug)]
pub enum Wish {
    /// Something later; dropped when the process ends before.
    After(u64, DeviceEvent),
    /// A new connection.
    Connect(Frame),
    /// A frame on the connection that it has.
    Send(Frame),
    /// Its process has ended, and left this connection behind.
    Died(Option<Connection>),
}

/// What the world lends a device for one event.
pub struct Lent<'a> {
    /// True time.
    pub now: Time,
    /// Chance.
    pub chance: &'a mut Chance,
    /// Which key signs plans.
    pub key: &'a VerifyingKey,
    /// Chance of a million that the process is killed between two outputs of a step.
    pub kill_ppm: u32,
    /// Chance of a million that a download fails.
    pub fetch_fails_ppm: u32,
    /// How the store of builds is.
    pub store: Store,
    /// Chance of a million that an answer to a load, a switch or a download never comes.
    pub answer_lost_ppm: u32,
    /// What is planted.
    pub defect: Option<Defect>,
}

/// What runs in a device's process; gone when it ends.
struct Process {
    agent: Agent,
    pending: VecDeque<Input>,
    /// Loaded, and neither answering nor beside.
    loaded: BTreeSet<Digest>,
    recorders: BTreeMap<(ModelName, Role), Recorder>,
    watches: BTreeMap<(ModelName, Role), RecordingTarget>,
    fetches: BTreeMap<Digest, u64>,
    link: Link,
    /// Which plans are held.
    held: HeldPlans,
    /// The control record could not be written the last time.
    unwritten: bool,
    /// Numbers wakes and downloads.
    numbers: u64,
    wake: u64,
    /// The moment of the last wake, in true time.
    wake_at: Option<Time>,
}

/// What a device does that laws look at.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// A build answers for a model now; `None`: none does.
    Serves(ModelName, Option<Digest>),
    /// One thing leads to another without an end; the input that was the next.
    NeverRests(String),
    /// A message to the broker is sent.
    Publishes,
    /// A download of a build begins.
    Fetches(Digest),
    /// The agent refused or accepted a plan of this epoch and revision.
    HeardPlan(ModelName, u64, u64),
    /// It writes its control record; what answers then, and what that has shown.
    Writes(Box<Saved>, BTreeMap<ModelName, Shown>),
    /// It loads a build while the active one is on probation.
    LoadsBeside(ModelName, Digest),
    /// It deletes a build, whose bytes were there or not.
    Deletes(Digest, bool),
}

/// What the build that answers has shown since it began to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The build.
    pub digest: Digest,
    /// Requests that it failed.
    pub errors: u64,
    /// Since when it answers.
    pub since: Time,
    /// The broker has answered after a minute, and the connection was not lost since.
    pub heard: bool,
}

/// One device.
pub struct Device {
    /// Who it is.
    pub identity: Identity,
    limits: Limits,
    /// Its folder.
    pub disk: Disk,
    /// What it reports of every request, whatever runs: that it failed, or that it did not; none: the truth.
    pub lies: Option<bool>,
    /// What its clock is ahead of true time, milliseconds.
    pub clock_ahead_ms: i64,
    /// Which boot of the machine this is.
    boot: u64,
    /// Grows with every end of the process: what was planned before does not happen.
    pub run: u64,
    process: Option<Process>,
    /// What answers, by model.
    pub serving: BTreeMap<ModelName, Build>,
    /// What it has shown.
    pub shown: BTreeMap<ModelName, Shown>,
    /// Requests that builds have ever answered here.
    pub answered: BTreeMap<Digest, u64>,
    /// What happened since the world looked last.
    pub deeds: Vec<Deed>,
    /// What its agent has asked for and told.
    pub reached: Reached,
    /// Whether its inputs and outputs are written down.
    pub traced: bool,
    /// What was written down since the world looked last.
    pub trace: Vec<String>,
    /// Bytes that the record did not speak of were deleted when the process started.
    tidied: bool,
    /// How often the process ended.
    pub ends: u64,
}

impl Device {
    /// A new device with an empty folder, switched off.
    #[must_use]
    pub fn new(identity: Identity, limits: Limits) -> Device {
        Device {
            identity,
            limits,
            disk: Disk::default(),
            lies: None,
            clock_ahead_ms: 0,
            boot: 1,
            run: 0,
            process: None,
            serving: BTreeMap::new(),
            shown: BTreeMap::new(),
            answered: BTreeMap::new(),
            deeds: Vec::new(),
            reached: Reached::new(),
            traced: false,
            trace: Vec::new(),
            tidied: false,
            ends: 0,
        }
    }

    /// Another device made from a copy of this one's disk, with its id; switched off.
    #[must_use]
    pub fn copied(&self) -> Device {
        let (identity, limits) = (self.identity.clone(), self.limits);
        let (disk, answered, traced) = (self.disk.clone(), self.answered.clone(), self.traced);
        Device { disk, answered, traced, ..Device::new(identity, limits) }
    }

    /// After such a pause it tries again what has failed for good, milliseconds.
    #[must_use]
    pub fn long_pause_ms(&self) -> u64 {
        self.limits.long_pause_ms
    }

    /// Its name at the broker.
    #[must_use]
    pub fn client(&self) -> String {
        format!("device:{}", self.identity.device)
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.process.is_some()
    }

    /// What its agent would write now; `None` while it is off.
    #[must_use]
    pub fn saved(&self) -> Option<Saved> {
        self.process.as_ref().map(|process| process.agent.saved())
    }

    /// Builds on its disk that nothing speaks of; none while it is off.
    #[must_use]
    pub fn orphans(&self) -> Vec<Digest> {
        // What an unreadable record may have spoken of is kept until the next start.
        let Some(process) = self.process.as_ref().filter(|_| self.tidied) else { return Vec::new() };
        let named = process.agent.digests();
        self.disk.builds().filter(|digest| !named.contains(digest)).copied().collect()
    }

    /// What it has tried of a model, for people.
    #[must_use]
    pub fn told(&self, model: &ModelName) -> String {
        let saved = self.saved().unwrap_or_default();
        let Some(kept) = saved.models.get(model) else { return "it knows nothing of the model".to_owned() };
        let slots: Vec<String> = kept.slots.iter().map(|slot| slot.build.version.to_string()).collect();
        let attempts = kept.attempts.iter().map(|tried| {
            let attempt = &tried.attempt;
            let why = attempt.failure.as_ref().map(|failure| format!(" ({})", failure.detail));
            format!("{:?} {:?}{}", attempt.rollout, attempt.phase, why.unwrap_or_default())
        });
        format!("builds {}; {}", slots.join(", "), attempts.collect::<Vec<_>>().join(", "))
    }

    /// Its own clock.
    #[must_use]
    pub fn clock(&self, now: Time) -> Time {
        Time(now.0.saturating_add_signed(self.clock_ahead_ms))
    }

    /// Starts the process from what the folder holds.
    pub fn start(&mut self, lent: &mut Lent<'_>) -> Vec<Wish> {
        if self.process.is_some() {
            return Vec::new();
        }
        // Never 0, which stands for an agent that tells none.
        self.identity.instance = lent.chance.next_u64() as u32 | 1;
        let held = self.held_plans(lent);
        let (saved, windows) = self.disk.read();
        let readable = !saved.models.is_empty();
        let agent = Agent::new(self.identity.clone(), self.limits, saved, windows);
        self.tidied = readable;
        if readable {
            let digests = agent.digests();
            self.disk.keep_only(&digests);
        }
        self.process = Some(Process {
            agent,
            pending: VecDeque::new(),
            loaded: BTreeSet::new(),
            recorders: BTreeMap::new(),
            watches: BTreeMap::new(),
            fetches: BTreeMap::new(),
            link: Link::default(),
            held,
            unwritten: false,
            numbers: 0,
            wake: 0,
            wake_at: None,
        });
        let mut wishes = vec![
            Wish::After(drawn(lent.chance, RECONNECT_MAX_MS), DeviceEvent::Knock),
            Wish::After(TICK_MAX_MS, DeviceEvent::Tick),
        ];
        self.feed(Input::Started { boot: Some(self.boot.to_string()) }, lent, &mut wishes);
        wishes
    }

    /// The process ends at once. Returns the connection that it leaves behind.
    pub fn kill(&mut self) -> Option<Connection> {
        let process = self.process.take()?;
        self.run += 1;
        self.ends += 1;
        self.shown.clear();
        for (model, _) in std::mem::take(&mut self.serving) {
            self.deeds.push(Deed::Serves(model, None));
        }
        process.link.connection
    }

    /// The machine loses its power.
    pub fn lose_power(&mut self, chance: &mut Chance) -> Option<Connection> {
        let salt = chance.next_u64();
        self.disk.lose_power(|digest| (u64::from(digest.0[0]) ^ salt) & 1 == 0);
        self.boot += 1;
        self.kill()
    }

    /// Something that it had planned happens.
    pub fn happens(&mut self, event: DeviceEvent, lent: &mut Lent<'_>) -> Vec<Wish> {
        let mut wishes = Vec::new();
        match event {
            DeviceEvent::Start => return self.start(lent),
            DeviceEvent::Wake(number) => {
                let process = self.process.as_mut().filter(|process| process.wake == number);
                if let Some(process) = process {
                    process.wake_at = None;
                    self.feed(Input::Wake, lent, &mut wishes);
                }
            }
            DeviceEvent::FetchEnded(digest, number, download) => {
                self.fetch_ended(digest, number, download, lent, &mut wishes);
            }
            DeviceEvent::PlansDue(connection) => self.send_held_plans(connection, lent, &mut wishes),
            DeviceEvent::Tick => self.tick(lent, &mut wishes),
            DeviceEvent::Answer(input) => self.answer(*input, lent, &mut wishes),
            DeviceEvent::Knock => self.feed(Input::Connecting, lent, &mut wishes),
            DeviceEvent::Crash => wishes.push(Wish::Died(self.kill())),
        }
        wishes
    }

    /// Requests come in until now, windows that have ended are closed.
    fn tick(&mut self, lent: &mut Lent<'_>, wishes: &mut Vec<Wish>) {
        let now = self.clock(lent.now);
        let Some(process) = &mut self.process else { return };
        let mut inputs = Vec::new();
        for ((model, role), recorder) in &mut process.recorders {
            let Some(watch) = process.watches.get(&(model.clone(), *role)) else { continue };
            let Some(build) = watch.build.as_ref() else { continue };
            let answers =
                *role == Role::Shadow || self.serving.get(model).is_some_and(|b| b.digest == build.digest);
            recorder.available(now, answers);
            if answers {
                let nature = Nature::of(build);
                for _ in 0..REQUESTS_A_WINDOW {
                    let errs = self.lies.unwrap_or(nature.errs(lent.chance));
                    recorder.record(&prediction(errs));
                    *self.answered.entry(build.digest).or_default() += u64::from(!errs);
                    if let Some(shown) = self.shown.get_mut(model).filter(|_| *role == Role::Live) {
                        shown.errors += u64::from(errs);
                    }
                }
            }
            inputs.extend(recorder.tick(now));
        }
        let window_ms = process.watches.values().map(|watch| watch.window_ms).filter(|ms| *ms > 0).min();
        let wait_ms = window_ms.map_or(TICK_MAX_MS, |ms| ms - now.0 % ms).min(TICK_MAX_MS);
        wishes.push(Wish::After(wait_ms.max(1), DeviceEvent::Tick));
        if !self.disk.full {
            inputs.push(Input::RoomOnDisk);
        }
        for input in inputs {
            self.feed(input, lent, wishes);
        }
    }

    fn fetch_ended(
        &mut self,
        digest: Digest,
        number: u64,
        download: Download,
        lent: &mut Lent<'_>,
        wishes: &mut Vec<Wish>,
    ) {
        let Some(process) = &mut self.process else { return };
        if process.fetches.get(&digest) != Some(&number) {
            return;
        }
        process.fetches.remove(&digest);
        let failed = |code, detail: &str, retry| Input::FetchFailed {
            digest,
            failure: Failure::new(code, detail),
            retry,
        };
        let input = match download.failure() {
            None if self.disk.write_build(digest) => Input::Fetched { digest, details: None },
            None => failed(FailureCode::DiskFull, "no room", Retry::Never),
            Some((code, detail, retry)) => failed(code, detail, retry),
        };
        self.feed(input, lent, wishes);
    }

    /// An answer has come; what was loaded stays so until it is used or dropped.
    fn answer(&mut self, input: Input, lent: &mut Lent<'_>, wishes: &mut Vec<Wish>) {
        if let (Some(process), Input::Admitted { digest, .. }) = (&mut self.process, &input) {
            process.loaded.insert(*digest);
        }
        self.feed(input, lent, wishes);
    }

    /// Feeds an input and all that follows from it.
    fn feed(&mut self, input: Input, lent: &mut Lent<'_>, wishes: &mut Vec<Wish>) {
        let now = self.clock(lent.now);
        let Some(process) = &mut self.process else { return };
        process.pending.push_back(input);
        let mut steps = 0;
        while let Some(process) = &mut self.process {
            let Some(input) = process.pending.pop_front() else { return };
            steps += 1;
            if steps > STEPS_MAX {
                self.deeds.push(Deed::NeverRests(short(&input)));
                return;
            }
            let asked = self.traced.then(|| short(&input));
            // Steady clocks begin anywhere.
            let moment = Moment { wall: now, steady_ms: lent.now.0 };
            let Step { outputs, wake } = process.agent.step(moment, input);
            if let Some(asked) = asked {
                let outputs: Vec<String> = outputs.iter().map(short).collect();
                self.trace.push(format!("{asked} -> [{}] wake {wake:?}", outputs.join(", ")));
            }
            if let Some((at, _)) = wake {
                let wait_ms = at.since_ms(now);
                let true_at = lent.now.after_ms(wait_ms);
                // Most steps ask for the same moment once more.
                if process.wake_at.replace(true_at) != Some(true_at) {
                    process.numbers += 1;
                    process.wake = process.numbers;
                    wishes.push(Wish::After(wait_ms, DeviceEvent::Wake(process.wake)));
                }
            }
            let cut = happens(lent.chance, lent.kill_ppm)
                .then(|| drawn(lent.chance, outputs.len() as u64) as usize);
            let mut written = true;
            for output in outputs.into_iter().take(cut.unwrap_or(usize::MAX)) {
                probes::note_output(&mut self.reached, &output);
                if output == Output::Save(Record::Control) {
                    written = self.save_control();
                } else if written || !output.depends_on_record() {
                    self.carry_out(output, lent, wishes);
                }
            }
            if cut.is_some() {
                return wishes.push(Wish::Died(self.kill()));
            }
        }
    }

    fn save_control(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        let saved = process.agent.saved();
        let written = self.disk.write_control(&saved);
        self.deeds.push(Deed::Writes(Box::new(saved), self.shown.clone()));
        let failed_before = std::mem::replace(&mut process.unwritten, !written);
        match (written, failed_before) {
            (true, true) => process.pending.push_front(Input::Saved),
            (true, false) => {}
            (false, _) => process.pending.push_front(Input::NotSaved),
        }
        written
    }
}

/// The beginning of what a thing is, for people.
fn short(thing: &impl std::fmt::Debug) -> String {
    format!("{thing:?}").chars().take(160).collect()
}

fn prediction(errs: bool) -> Prediction<'static> {
    Prediction {
        key: 0,
        latency_ns: 1_000_000,
        outcome: if errs { Outcome::Error } else { Outcome::Answered },
        confidence: None,
        positive: None,
        answer: Default::default(),
        features: &[],
    }
}
