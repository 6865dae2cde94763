//! One run: a fleet of devices, a broker and an author of plans, under the faults of a seed.

mod control;
mod convergence;
mod rollouts;
mod strikes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use modelfleet_agent_core::interface::Identity;
use modelfleet_agent_core::trust::TrustAnchor;
use modelfleet_number::chance::Chance;
use modelfleet_protocol::ids::{ModelName, Namespace};
use modelfleet_protocol::state::{Capabilities, EngineInfo};
use modelfleet_protocol::time::Time;

use crate::author::Author;
use crate::broker::{Broker, Connection, Frame, Note, Sent};
use crate::controller::ControllerEvent;
pub use crate::device::Defect;
use crate::device::{Device, DeviceEvent, Lent, Wish};
use crate::faults::{Fault, Faults};
use crate::habits::Habits;
use crate::laws::{self, LOOK_MS, Watched};
use crate::network::{Fate, Network, Quality, Way, drawn};
use crate::object_store::Store;
use crate::probes::Reached;
use crate::scale::Scale;
use crate::schedule::Schedule;
use control::Control;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// When every run begins.
const START: Time = Time(1_800_000_000_000);
/// More events than this in one second are a loop that never ends.
const EVENTS_MAX: u32 = 2_000;
/// A broker that lost a plan is given it again within this time, milliseconds.
const REPUBLISH_MS: u64 = 60_000;

/// From this seed on plans are written by controllers, below it by an author whose plans are wilder.
pub const CONTROLLED: u64 = 1_000_000;

/// What is to happen.
#[derive(Debug)]
enum Event {
    Device(usize, u64, DeviceEvent),
    ToBroker(Connection, Frame),
    ToClient(Connection, Note),
    Will(String, Arc<[u8]>),
    Controller(usize, u64, ControllerEvent),
    /// What a controller that stood still has not taken from its socket yet.
    ToController(usize, u64, Connection, Note),
    Operator,
    Author,
    Republish,
    Backup,
    Snapshot,
    Fault(Fault),
    Restore(usize, Trouble),
    Look,
}

/// What a device has for a while.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// No way to the broker.
    Unlinked,
    /// A full disk.
    Full,
    /// No way to the API server, for a controller.
    NoApi,
    /// A store of builds that fails, which all have.
    Store,
    /// A broker that keeps or sends too little, which all have.
    Retained,
    /// It was left out because of a copy, which is gone.
    Copied,
}

/// What a run was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The law that was broken, and when; none: the run is good.
    pub broken: Option<String>,
    /// What happened, for people.
    pub story: Vec<String>,
    /// A digest of the end, to compare two runs of a seed.
    pub end: String,
    /// Device-hours that were played.
    pub device_hours: u64,
    /// Situations that were reached: [`crate::probes`].
    pub reached: Reached,
}

/// One run.
pub struct World {
    scale: Scale,
    schedule: Schedule<Event>,
    chance: Chance,
    faults: Faults,
    broker: Broker,
    network: Network,
    author: Author,
    /// Who writes plans; none: the author does.
    control: Option<Control>,
    devices: Vec<Device>,
    watched: Vec<Watched>,
    models: Vec<ModelName>,
    unlinked: BTreeSet<usize>,
    store: Store,
    /// Of which device the last of the devices is a copy now.
    copied: Option<usize>,
    /// The order of the plan of each model since the fleet was healed, and since when.
    held: BTreeMap<ModelName, ((u64, u64), Time)>,
    healing: bool,
    healed_at: Option<Time>,
    defect: Option<Defect>,
    story: Vec<String>,
    /// Situations that the world was in.
    reached: Reached,
    broken: Option<String>,
}

/// Plays a seed with the faults that it draws.
#[must_use]
pub fn play(seed: u64) -> Outcome {
    play_with(seed, Faults::drawn_by(seed))
}

/// Plays a seed with other faults than it draws.
#[must_use]
pub fn play_with(seed: u64, faults: Faults) -> Outcome {
    World::new(seed, faults, Habits::drawn_by(seed)).run()
}

/// The same with other habits of people than the seed draws.
#[must_use]
pub fn play_among(seed: u64, faults: Faults, habits: Habits) -> Outcome {
    World::new(seed, faults, habits).run()
}

/// The same with a defect planted in every device's shell.
#[must_use]
pub fn play_with_defect(seed: u64, faults: Faults, defect: Defect) -> Outcome {
    let mut world = World::new(seed, faults, Habits::drawn_by(seed));
    world.defect = Some(defect);
    world.run()
}

/// The same, and the story has all that goes into one device and comes out of it.
#[must_use]
pub fn play_watching(seed: u64, faults: Faults, habits: Habits, device: &str) -> Outcome {
    let mut world = World::new(seed, faults, habits);
    let watched = world.devices.iter_mut().filter(|other| other.identity.device.as_str() == device);
    watched.for_each(|device| device.traced = true);
    world.run()
}

impl World {
    fn new(seed: u64, faults: Faults, habits: Habits) -> World {
        let mut chance = Chance::fork(seed, 2);
        let namespace: Namespace = "plant".parse().expect("a DNS label");
        let scale = Scale::of(seed, &mut chance).among(&habits);
        let name = |i| format!("model-{i}").parse().expect("a DNS label");
        let models: Vec<ModelName> = (0..scale.models).map(name).collect();
        let devices: Vec<Device> =
            // The last is switched off until it becomes a copy of another.
            (0..scale.devices + u32::from(faults.has(Fault::Copies)))
                .map(|i| Device::new(identity(&namespace, i), scale.limits()))
                .collect();
        let author = Author::new(namespace, &models, START);
        let control = (seed >= CONTROLLED)
            .then(|| Control::new(&models, scale.pace, &habits, &faults, &mut Chance::fork(seed, 3)));
        let on = |fault, ppm| if faults.has(fault) { ppm } else { 0 };
        let network = Network::of(Quality {
            cut_ppm: on(Fault::Cuts, 10_000),
            stall_ppm: on(Fault::Stalls, 20_000),
            twice_ppm: on(Fault::Duplicates, 100_000),
            retained_late: faults.has(Fault::RetainedLate),
            ..Quality::default()
        });
        let watched = devices.iter().map(|_| Watched::default()).collect();
        World {
            scale,
            schedule: Schedule::starting_at(START),
            chance,
            faults,
            broker: Broker::default(),
            network,
            author,
            control,
            devices,
            watched,
            models,
            unlinked: BTreeSet::new(),
            store: Store::Sound,
            copied: None,
            held: BTreeMap::new(),
            healing: false,
            healed_at: None,
            defect: None,
            story: Vec::new(),
            reached: Reached::new(),
            broken: None,
        }
    }

    fn run(mut self) -> Outcome {
        let Scale { trouble_ms, healing_ms, patience_ms, .. } = self.scale;
        self.begin();
        self.until(START.after_ms(trouble_ms));
        self.heal();
        self.until(START.after_ms(trouble_ms + patience_ms));
        self.abort_open_rollouts();
        self.until(START.after_ms(trouble_ms + healing_ms));
        if self.broken.is_none() {
            self.broken = self.unconverged();
        }
        let hours = u64::from(self.scale.devices) * (trouble_ms + healing_ms) / HOUR_MS;
        let mut reached = Reached::new();
        self.devices.iter_mut().for_each(|device| reached.append(&mut device.reached));
        if let Some(control) = &mut self.control {
            reached.append(&mut control.reached);
            control.controllers.iter_mut().for_each(|one| reached.append(&mut one.reached));
        }
        reached.append(&mut self.reached);
        Outcome {
            broken: self.broken.take(),
            end: self.end(),
            story: self.story,
            device_hours: hours,
            reached,
        }
    }

    fn begin(&mut self) {
        for i in 0..self.fleet_size() {
            let wait_ms = drawn(&mut self.chance, 60_000);
            self.schedule.in_ms(wait_ms, Event::Device(i, 0, DeviceEvent::Start));
        }
        if self.faults.has(Fault::ClockSkew) {
            for device in &mut self.devices {
                device.clock_ahead_ms = ahead(&mut self.chance, 6 * HOUR_MS);
            }
        }
        match &self.control {
            Some(_) => self.begin_control(),
            None => {
                self.schedule.in_ms(0, Event::Republish);
                self.schedule.in_ms(HOUR_MS, Event::Author);
            }
        }
        self.schedule.in_ms(1_000, Event::Look);
        self.schedule.in_ms(self.scale.between_ms, Event::Backup);
        self.schedule.in_ms(HOUR_MS, Event::Snapshot);
        for fault in self.faults.0.clone() {
            let wait_ms = drawn(&mut self.chance, self.scale.between_ms);
            self.schedule.in_ms(wait_ms, Event::Fault(fault));
        }
    }

    /// Devices of the fleet, copies not counted.
    fn fleet_size(&self) -> usize {
        self.scale.devices as usize
    }

    fn until(&mut self, end: Time) {
        let (mut second, mut events) = (0, 0_u32);
        while self.broken.is_none() {
            let Some(event) = self.schedule.next(end) else { return };
            let now = self.schedule.now().0 / 1_000;
            events = if now == second { events + 1 } else { 0 };
            second = now;
            if events > EVENTS_MAX {
                self.break_law(&format!("never comes to rest: {event:?}"));
            }
            self.happens(event);
        }
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        let minutes = self.schedule.now().since_ms(START) / 60_000;
        let line = format!("{:>3} h {:02} min  {}", minutes / 60, minutes % 60, text());
        self.story.push(line);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Device(i, run, event) if self.devices[i].run == run => {
                let wishes = self.with_device(i, |device, lent| device.happens(event, lent));
                self.wish(i, wishes);
            }
            Event::Device(..) => {}
            Event::ToBroker(from, frame) if self.network.client(from).is_some() => {
                self.plan_arrives(from, &frame);
                let sent = self.broker.take(from, frame);
                self.deliver(sent);
            }
            Event::ToClient(to, note) => self.note(to, note),
            Event::ToBroker(..) => {}
            Event::Will(topic, payload) => {
                let sent = self.broker.publish(topic, payload, true);
                self.deliver(sent);
            }
            Event::Controller(c, run, event) => self.controller_happens(c, run, event),
            Event::ToController(c, run, from, note) => self.controller_thaws(c, run, from, note),
            Event::Operator => self.operator_acts(),
            Event::Backup => self.back_up(),
            Event::Author => self.author_acts(),
            Event::Republish => self.republish(),
            Event::Snapshot => {
                self.broker.store_snapshot();
                self.schedule.in_ms(HOUR_MS, Event::Snapshot);
            }
            Event::Fault(_) if self.healing => {}
            Event::Fault(fault) => self.strike(fault),
            Event::Restore(i, trouble) => self.restore(i, trouble),
            Event::Look => self.look(),
        }
    }

    fn with_device(
        &mut self,
        i: usize,
        work: impl FnOnce(&mut Device, &mut Lent<'_>) -> Vec<Wish>,
    ) -> Vec<Wish> {
        let key = self.author.key();
        let on = |fault: Fault, ppm| if self.faults.has(fault) && !self.healing { ppm } else { 0 };
        let mut lent = Lent {
            now: self.schedule.now(),
            kill_ppm: on(Fault::KillsInSteps, 1_000),
            fetch_fails_ppm: on(Fault::DownloadsFail, self.scale.fetch_fails_ppm),
            answer_lost_ppm: on(Fault::AnswersLost, 50_000),
            store: self.store,
            defect: self.defect,
            chance: &mut self.chance,
            key: &key,
        };
        let wishes = work(&mut self.devices[i], &mut lent);
        let now = self.schedule.now();
        for line in std::mem::take(&mut self.devices[i].trace) {
            self.say(|| line);
        }
        let deeds = std::mem::take(&mut self.devices[i].deeds);
        if let Some(broken) = laws::of_deeds(&self.devices[i], &mut self.watched[i], deeds, now) {
            self.fail(i, &broken);
        }
        wishes
    }

    fn fail(&mut self, i: usize, broken: &str) {
        let text = format!("{}: {broken}", self.devices[i].identity.device);
        self.break_law(&text);
    }

    fn break_law(&mut self, text: &str) {
        self.say(|| format!("BROKEN {text}"));
        self.broken.get_or_insert(text.to_owned());
    }

    fn wish(&mut self, i: usize, wishes: Vec<Wish>) {
        for wish in wishes {
            let run = self.devices[i].run;
            match wish {
                Wish::After(wait_ms, event) => self.schedule.in_ms(wait_ms, Event::Device(i, run, event)),
                Wish::Connect(frame) => self.connect(i, frame),
                Wish::Send(frame) => {
                    if let Some(connection) = self.network.connection_of(i) {
                        self.send(connection, frame);
                    }
                }
                Wish::Died(left) => self.died(i, left, 5_000),
            }
        }
    }

    /// A process has ended; something starts it again.
    fn died(&mut self, i: usize, left: Option<Connection>, back_ms: u64) {
        if let Some(left) = left {
            self.cut(left);
        }
        let run = self.devices[i].run;
        let wait_ms = 1_000 + drawn(&mut self.chance, back_ms);
        self.schedule.in_ms(wait_ms, Event::Device(i, run, DeviceEvent::Start));
    }

    fn connect(&mut self, i: usize, frame: Frame) {
        if let Some(old) = self.network.connection_of(i) {
            self.cut(old);
        }
        let connection = self.network.open(i);
        self.devices[i].opened(connection);
        if self.unlinked.contains(&i) {
            return self.cut(connection);
        }
        self.send(connection, frame);
    }

    fn send(&mut self, on: Connection, frame: Frame) {
        match self.network.send(on, Way::ToBroker, self.schedule.now(), &mut self.chance) {
            Fate::Arrives(moments) => {
                moments.into_iter().for_each(|at| self.schedule.at(at, Event::ToBroker(on, frame.clone())));
            }
            Fate::Cut => self.cut(on),
            Fate::Nowhere => {}
        }
    }

    fn deliver(&mut self, sent: Vec<Sent>) {
        for (to, note) in sent {
            let held_back_ms = self.network.held_back_ms(&note, &mut self.chance);
            match self.network.send(to, Way::ToClient, self.schedule.now(), &mut self.chance) {
                Fate::Arrives(moments) => moments.into_iter().for_each(|at| {
                    self.schedule.at(at.after_ms(held_back_ms), Event::ToClient(to, note.clone()));
                }),
                Fate::Cut => self.cut(to),
                Fate::Nowhere => {}
            }
        }
    }

    fn note(&mut self, to: Connection, note: Note) {
        let Some(i) = self.network.client(to) else { return };
        if note == Note::Closed {
            self.network.close(to);
        }
        if let Some(c) = self.controller_of(i) {
            return self.controller_noted(c, to, note);
        }
        let wishes = self.with_device(i, |device, lent| device.noted(to, note, lent));
        self.wish(i, wishes);
    }

    /// A connection breaks: both sides find out.
    fn cut(&mut self, connection: Connection) {
        let Some(i) = self.network.client(connection) else { return };
        self.network.close(connection);
        if self.faults.has(Fault::WillsLate) && !self.healing {
            if let Some((topic, payload)) = self.broker.lose_quietly(connection) {
                let wait_ms = drawn(&mut self.chance, 180_000);
                self.schedule.in_ms(wait_ms, Event::Will(topic, payload));
            }
        } else {
            let sent = self.broker.lose(connection);
            self.deliver(sent);
        }
        if let Some(c) = self.controller_of(i) {
            return self.controller_noted(c, connection, Note::Closed);
        }
        let wishes = self.with_device(i, |device, lent| device.noted(connection, Note::Closed, lent));
        self.wish(i, wishes);
    }

    fn author_acts(&mut self) {
        if self.healing {
            return;
        }
        let said = self.author.act(self.schedule.now(), &mut self.chance);
        self.say(|| said);
        self.hand_over();
        let wait_ms = 60_000 + drawn(&mut self.chance, self.scale.acts_ms / 3 * 2);
        self.schedule.in_ms(wait_ms, Event::Author);
    }

    fn republish(&mut self) {
        self.hand_over();
        self.schedule.in_ms(REPUBLISH_MS, Event::Republish);
    }

    /// Gives the broker the plans that it does not hold.
    fn hand_over(&mut self) {
        let letters: Vec<_> = self.author.letters().collect();
        for letter in letters {
            if self.broker.retained(&letter.topic) != Some(&letter.payload) {
                let sent = self.broker.publish(letter.topic, letter.payload, true);
                self.deliver(sent);
            }
        }
    }

    fn look(&mut self) {
        let now = self.schedule.now();
        for i in 0..self.devices.len() {
            if let Some(broken) = laws::at_rest(&self.devices[i], &mut self.watched[i], now) {
                self.fail(i, &broken);
            }
        }
        if self.healing {
            self.hold_followed();
        }
        self.hold_rollouts();
        self.schedule.in_ms(LOOK_MS, Event::Look);
    }
}

fn identity(namespace: &Namespace, i: u32) -> Identity {
    Identity {
        namespace: namespace.clone(),
        device: format!("device-{i:02}").parse().expect("a name"),
        agent: "swarm".to_owned(),
        trust: TrustAnchor::default(),
        card: None,
        instance: 0,
        labels: [("site".to_owned(), format!("s{}", i % 3))].into(),
        capabilities: Capabilities {
            engines: vec![EngineInfo {
                name: "Rten".to_owned(),
                version: "0.27".to_owned(),
                ir_version: 10,
                opsets: [(String::new(), 21)].into(),
            }],
            memory_bytes: 64 << 20,
            arch: "aarch64".to_owned(),
        },
    }
}

fn ahead(chance: &mut Chance, most_ms: u64) -> i64 {
    // Below would be cut at 32 bits.
    let minutes = drawn(chance, 2 * most_ms / 60_000);
    (i64::try_from(minutes).unwrap_or(0) - i64::try_from(most_ms / 60_000).unwrap_or(0)) * 60_000
}
