//! Controllers, API server and people in a run.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use modelfleet_model::restore::RESTORED;
use modelfleet_number::chance::Chance;
use modelfleet_protocol::envelope::open_plan;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::{Channel, Topic};
use modelfleet_rollout::{Phase, State};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{Event, HOUR_MS, World};
use crate::api_server::{Shared, Stored, locked};
use crate::broker::{Connection, Frame, Note};
use crate::controller::{Controller, ControllerEvent, ControllerLent, ControllerWish};
use crate::faults::{Fault, Faults};
use crate::fleet_laws::{FleetLaws, Known, Moment, number, state};
use crate::habits::Habits;
use crate::network::drawn;
use crate::operator::{Operator, Pace, name};
use crate::probes::{self, Reached};

/// Longest time until a watch shows a change, milliseconds.
const WATCH_LAG_MS: u64 = 50;
/// The same where watches lag.
const WATCH_LAG_LONG_MS: u64 = 600_000;
/// A watch is begun again after this time while the API server is away, milliseconds.
const WATCH_AGAIN_MS: u64 = 60_000;
/// Chance of a million that a watch begins anew.
const WATCH_EXPIRES_PPM: u32 = 50_000;

/// Controllers, API server and people.
pub struct Control {
    pub(super) server: Shared,
    pub(super) controllers: Vec<Controller>,
    pub(super) operator: Operator,
    laws: FleetLaws,
    /// What statuses have shown.
    pub(super) reached: Reached,
    runtime: Runtime,
    key: SigningKey,
    /// Controllers whose watch is told of changes already.
    watch_planned: Vec<bool>,
}

impl Control {
    pub(super) fn new(
        models: &[ModelName],
        pace: Pace,
        habits: &Habits,
        faults: &Faults,
        chance: &mut Chance,
    ) -> Control {
        let key = SigningKey::from_bytes(&[7; 32]);
        let server = Shared::default();
        let mut operator = Operator::default();
        operator.pace = pace;
        operator.habits = habits.clone();
        operator.begin(&server, models);
        locked(&server).stored.clear();
        let count = 1 + chance.below(3) as usize;
        let controllers = (0..count).map(|who| Controller::new(who, &server, key.clone())).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Control {
            controllers,
            operator,
            laws: FleetLaws::new(faults),
            reached: Reached::new(),
            runtime: runtime.expect("a runtime of one thread needs nothing"),
            key,
            watch_planned: vec![false; count],
            server,
        }
    }
}

impl Control {
    /// What the objects came to, as one text.
    pub(super) fn end(&self) -> String {
        let server = locked(&self.server);
        let objects = ["rollouts", "modelversions"].into_iter().flat_map(|kind| server.all(kind));
        objects.map(|object| format!("{} {}", name(object), object["status"])).collect::<Vec<_>>().join("\n")
    }
}

impl World {
    /// From now on backups and files are what there is now.
    pub(super) fn back_up(&mut self) {
        if let Some(control) = &mut self.control {
            locked(&control.server).back_up();
            control.operator.note_yesterday();
        }
        self.schedule.in_ms(2 * self.scale.between_ms, Event::Backup);
    }

    /// What people still hold is taken back, so that everything can end.
    pub(super) fn abort_open_rollouts(&mut self) {
        let Some(control) = &mut self.control else { return };
        locked(&control.server).now = self.schedule.now();
        control.operator.abort_all(&control.server);
        self.hold_laws_of_writes(usize::MAX);
        self.plan_watches();
    }

    /// Every process runs, every server answers, every clock is right.
    pub(super) fn heal_control(&mut self) {
        let now = self.schedule.now();
        let Some(control) = &mut self.control else { return };
        let mut server = locked(&control.server);
        server.now = now;
        server.trouble.clear();
        drop(server);
        control.operator.resume_all(&control.server);
        for controller in &mut control.controllers {
            controller.set_ahead_ms(0);
            controller.frozen_until = None;
        }
        self.hold_laws_of_writes(usize::MAX);
        self.plan_watches();
    }

    /// The number of a controller among the clients of the network, if it is one.
    pub(super) fn controller_of(&self, client: usize) -> Option<usize> {
        client.checked_sub(self.devices.len())
    }

    pub(super) fn begin_control(&mut self) {
        let Some(control) = &mut self.control else { return };
        let count = control.controllers.len();
        for c in 0..count {
            let wait_ms = drawn(&mut self.chance, 60_000);
            self.schedule.in_ms(wait_ms, Event::Controller(c, 0, ControllerEvent::Start));
            if self.faults.has(Fault::ControllerClocks) {
                let ahead_ms = super::ahead(&mut self.chance, 400 * super::DAY_MS);
                control.controllers[c].set_ahead_ms(ahead_ms);
            }
        }
        self.schedule.in_ms(HOUR_MS, Event::Operator);
    }

    pub(super) fn with_controller(
        &mut self,
        c: usize,
        work: impl FnOnce(&mut Controller, &mut ControllerLent<'_>) -> Vec<ControllerWish>,
    ) {
        let now = self.schedule.now();
        let on = |fault: Fault| self.faults.has(fault) && !self.healing;
        let (lost, dies) = (on(Fault::ApiAnswersLost), on(Fault::ControllerKillsInSteps));
        let Some(control) = &mut self.control else { return };
        {
            let mut server = locked(&control.server);
            server.now = now;
            let trouble = server.trouble.entry(c).or_default();
            trouble.answer_lost_ppm = if lost { 20_000 } else { 0 };
            trouble.dies_after = (dies && self.chance.below(50) == 0).then(|| self.chance.below(8));
        }
        let Control { controllers, runtime, .. } = control;
        controllers[c].set_now(now);
        let mut lent = ControllerLent { chance: &mut self.chance, runtime, store: self.store };
        let wishes = work(&mut controllers[c], &mut lent);
        self.grant(c, wishes);
        self.hold_laws_of_writes(usize::MAX);
        self.plan_watches();
    }

    fn grant(&mut self, c: usize, wishes: Vec<ControllerWish>) {
        let mut held = 0;
        for wish in wishes {
            let Some(control) = &self.control else { return };
            let (run, client) = (control.controllers[c].run, self.devices.len() + c);
            match wish {
                ControllerWish::After(wait_ms, event) => {
                    self.schedule.in_ms(wait_ms, Event::Controller(c, run, event));
                }
                ControllerWish::Connect(frame) => self.connect_controller(c, client, frame),
                ControllerWish::Publish { frame, after } => {
                    let fresh = after.saturating_sub(held);
                    self.hold_laws_of_writes(fresh);
                    held += fresh;
                    self.plan_is_sent(&frame);
                    if let Some(connection) = self.network.connection_of(client) {
                        self.send(connection, frame);
                    }
                }
                ControllerWish::Send(frame) => {
                    if let Some(connection) = self.network.connection_of(client) {
                        self.send(connection, frame);
                    }
                }
                ControllerWish::Died(left) => self.controller_died(c, left, 60_000),
                ControllerWish::Say(line) => self.say(|| line),
                ControllerWish::Broken(text) => {
                    let name = format!("controller-{c}");
                    self.break_law(&format!("{name}: {text}"));
                }
            }
        }
    }

    fn connect_controller(&mut self, c: usize, client: usize, frame: Frame) {
        if let Some(old) = self.network.connection_of(client) {
            self.cut(old);
        }
        let connection = self.network.open(client);
        if let Some(control) = &mut self.control {
            control.controllers[c].opened(connection);
        }
        if self.unlinked.contains(&client) {
            return self.cut(connection);
        }
        self.send(connection, frame);
    }

    /// A process has ended; something starts it again.
    pub(super) fn controller_died(&mut self, c: usize, left: Option<Connection>, back_ms: u64) {
        if let Some(left) = left {
            self.cut(left);
        }
        let Some(control) = &mut self.control else { return };
        control.watch_planned[c] = false;
        let run = control.controllers[c].run;
        let wait_ms = 1_000 + drawn(&mut self.chance, back_ms);
        self.schedule.in_ms(wait_ms, Event::Controller(c, run, ControllerEvent::Start));
    }

    pub(super) fn controller_happens(&mut self, c: usize, run: u64, event: ControllerEvent) {
        let Some(control) = &mut self.control else { return };
        if control.controllers[c].run != run {
            return;
        }
        if let Some(until) = control.controllers[c].frozen_until {
            if self.schedule.now() < until {
                return self.schedule.at(until, Event::Controller(c, run, event));
            }
            control.controllers[c].frozen_until = None;
        }
        if event == ControllerEvent::Watch {
            control.watch_planned[c] = false;
            let expires = self.faults.has(Fault::WatchExpires) && !self.healing;
            if expires && self.chance.below(1_000_000) < WATCH_EXPIRES_PPM {
                control.controllers[c].expire_watch();
            }
        }
        self.with_controller(c, |controller, lent| controller.happens(event, lent));
    }

    pub(super) fn controller_noted(&mut self, c: usize, to: Connection, note: Note) {
        let Some(control) = &self.control else { return };
        let (run, frozen) = (control.controllers[c].run, control.controllers[c].frozen_until);
        if let Some(until) = frozen.filter(|until| self.schedule.now() < *until) {
            return self.schedule.at(until, Event::ToController(c, run, to, note));
        }
        self.with_controller(c, |controller, lent| controller.noted(to, note, lent));
    }

    /// A controller that stood still takes what has lain in its socket since, also from a connection that is gone.
    pub(super) fn controller_thaws(&mut self, c: usize, run: u64, from: Connection, note: Note) {
        if self.control.as_ref().is_some_and(|control| control.controllers[c].run == run) {
            self.controller_noted(c, from, note);
        }
    }

    /// Watches are told what has changed, after a while.
    pub(super) fn plan_watches(&mut self) {
        let lags = self.faults.has(Fault::WatchLags) && !self.healing;
        let most_ms = if lags && self.chance.below(4) == 0 { WATCH_LAG_LONG_MS } else { WATCH_LAG_MS };
        let Some(control) = &mut self.control else { return };
        for (c, controller) in control.controllers.iter().enumerate() {
            if !control.watch_planned[c] && controller.is_behind() {
                control.watch_planned[c] = true;
                let away = locked(&control.server).trouble.get(&c).is_some_and(|trouble| trouble.away);
                let wait_ms = if away { WATCH_AGAIN_MS } else { 1 + drawn(&mut self.chance, most_ms) };
                self.schedule.in_ms(wait_ms, Event::Controller(c, controller.run, ControllerEvent::Watch));
            }
        }
    }

    fn say_version(&mut self, write: &Stored) {
        let stage = |object: &Value| object["status"]["stage"].as_str().unwrap_or("new").to_owned();
        let (before, after) = (write.before.as_ref().map(|object| stage(object)), stage(&write.after));
        if write.by.is_some() && write.place.0 == "modelversions" && before.as_ref() != Some(&after) {
            let message = write.after["status"]["message"].as_str().unwrap_or_default().to_owned();
            self.say(|| format!("version {}: {after} ({message})", write.place.1));
        }
    }

    /// Holds the laws of the first `count` writes that were not looked at yet.
    fn hold_laws_of_writes(&mut self, count: usize) {
        let Some(control) = &mut self.control else { return };
        let writes: Vec<Stored> = {
            let stored = &mut locked(&control.server).stored;
            let count = count.min(stored.len());
            stored.drain(..count).collect()
        };
        for write in writes {
            let Some(control) = &mut self.control else { return };
            let now = self.schedule.now();
            let model = write.after["spec"]["model"].clone();
            let active: Vec<String> = locked(&control.server)
                .all("rollouts")
                .filter(|one| one["spec"]["model"] == model && is_active(one, now))
                .map(|one| name(one))
                .collect();
            let told = |device: &&crate::device::Device| {
                let state = Channel::State(device.identity.device.clone());
                let topic = Topic { namespace: device.identity.namespace.clone(), channel: state };
                self.broker.retained(&topic.name()).is_some()
            };
            let fleet = &self.devices[..self.scale.devices as usize];
            let unknown = fleet.len() - fleet.iter().filter(told).count();
            // A broker that sends a part of what it has leaves a controller without the rest.
            let known = write.by.and_then(|c| control.controllers[c].devices_known());
            let unknown = unknown.max(known.map_or(0, |known| fleet.len().saturating_sub(known)));
            // One that was killed with this write has nothing to be asked any more.
            let knows = |c: usize| !control.controllers[c].leads() || control.controllers[c].is_settled();
            let settled = write.by.is_none_or(knows);
            let promotions: Vec<(String, i64)> = locked(&control.server)
                .all("modelversions")
                .filter(|one| one["spec"]["model"] == model)
                .filter_map(|one| Some((name(one), number(one)?)))
                .collect();
            let confirmed =
                |digest: &Digest| self.watched.iter().any(|w| w.records.confirmed.contains(digest));
            let moment = Moment {
                active: &active,
                unknown,
                devices: fleet.len(),
                settled,
                promotions: &promotions,
                confirmed: &confirmed,
                now: self.schedule.now(),
            };
            let broken = control.laws.stored(&write, &moment);
            if write.by.is_some() && write.place.0 == "rollouts" {
                probes::note_status(&mut control.reached, &write.after["status"]);
            }
            if write.place.0 == "modelversions" && write.after["status"]["reason"] == RESTORED {
                control.reached.insert("version restored".to_owned());
            }
            let (before, after) = (write.before.as_ref().map(|object| phase(object)), phase(&write.after));
            if write.by.is_some() && write.place.0 == "rollouts" && before.as_ref() != Some(&after) {
                let message = write.after["status"]["message"].as_str().unwrap_or_default().to_owned();
                self.say(|| format!("rollout {}: {after} ({message})", write.place.1));
            }
            let index = |object: &Value| object["status"]["stage"]["index"].as_u64();
            let entered =
                index(&write.after).filter(|now| write.before.as_deref().and_then(index) < Some(*now));
            if let Some(entered) = entered.filter(|entered| *entered > 0) {
                let why = write.after["status"]["verdicts"][0]["sentence"].as_str().unwrap_or_default();
                self.say(|| format!("rollout {}: enters stage {entered} ({why})", write.place.1));
            }
            self.say_version(&write);
            if let Some(broken) = broken.or_else(|| self.ended_too_soon(&write)) {
                self.break_law(&broken);
            }
        }
    }

    /// Where all is well, a rollback ends when no connected device runs the version.
    fn ended_too_soon(&self, write: &Stored) -> Option<String> {
        let ends = write.place.0 == "rollouts" && phase(&write.after) == "RolledBack";
        let before = state(write.before.as_deref()?)?;
        let late = before
            .rollback
            .as_ref()
            .is_none_or(|rollback| rollback.overdue || rollback.deadline <= self.schedule.now());
        if !ends || !self.healing || late || before.phase != Phase::RollingBack {
            return None;
        }
        let model = write.after["spec"]["model"].as_str()?;
        let version = &before.version;
        let runs = |i: &usize| {
            let serves = self.devices[*i]
                .serving
                .iter()
                .any(|(of, build)| of.as_str() == model && build.version.to_string() == *version);
            serves
                && self.network.connection_of(*i).is_some()
                && self.watched[*i].has_been_on(self.schedule.now())
        };
        let found = (0..self.fleet_size()).find(runs)?;
        let device = &self.devices[found].identity.device;
        Some(format!("{} has ended while {device} runs {version}", write.place.1))
    }

    /// Holds the laws of a plan that a controller sends.
    fn plan_is_sent(&mut self, frame: &Frame) {
        let Frame::Publish { topic, payload, .. } = frame else { return };
        let Some(control) = self.control.as_mut() else { return };
        let Ok(Topic { channel: Channel::Plan(_), .. }) = Topic::parse(topic) else { return };
        let Ok(plan) = open_plan(&[control.key.verifying_key()], payload) else { return };
        let known: Vec<Known<'_>> = self.devices[..self.scale.devices as usize]
            .iter()
            .map(|device| Known { id: &device.identity.device, labels: &device.identity.labels })
            .collect();
        if let Some(broken) = control.laws.sent(&plan, &known) {
            self.break_law(&broken);
        }
    }

    /// Holds the laws of a plan that a controller has sent, when it has reached the broker.
    pub(super) fn plan_arrives(&mut self, from: Connection, frame: &Frame) {
        let Frame::Publish { topic, payload, .. } = frame else { return };
        let is_controller = self.network.client(from).is_some_and(|client| client >= self.devices.len());
        let Some(control) = self.control.as_mut().filter(|_| is_controller) else { return };
        let Ok(Topic { channel: Channel::Plan(_), .. }) = Topic::parse(topic) else { return };
        let Ok(plan) = open_plan(&[control.key.verifying_key()], payload) else { return };
        let broken = control.laws.arrived(&plan);
        let (order, candidate) = (plan.order, plan.candidate.as_ref().map(|c| c.build.version.to_string()));
        let stable = plan.stable.as_ref().map(|build| build.version.to_string());
        let (epoch, revision) = (order.epoch, order.revision);
        self.say(|| {
            format!("plan {epoch}/{revision} of {}: stable {stable:?}, candidate {candidate:?}", plan.model)
        });
        if let Some(broken) = broken {
            self.break_law(&broken);
        }
    }

    pub(super) fn operator_acts(&mut self) {
        if self.healing {
            return;
        }
        let Some(control) = &mut self.control else { return };
        locked(&control.server).now = self.schedule.now();
        let said = control.operator.act(&control.server, &self.models, &mut self.chance);
        self.say(|| said);
        self.hold_laws_of_writes(usize::MAX);
        self.plan_watches();
        let wait_ms = 60_000 + drawn(&mut self.chance, self.scale.acts_ms);
        self.schedule.in_ms(wait_ms, Event::Operator);
    }

    /// Statuses were lost, or the cluster went back in time.
    pub(super) fn restore_backup(&mut self, statuses: bool) {
        let Some(control) = &mut self.control else { return };
        let mut server = locked(&control.server);
        server.now = self.schedule.now();
        server.restore(statuses);
        server.stored.clear();
        drop(server);
        control.laws.restored();
        self.plan_watches();
    }

    /// The newest plan of a model at the broker.
    pub(super) fn plan_at_broker(&self, model: &ModelName) -> Option<Plan> {
        let control = self.control.as_ref()?;
        let namespace = self.devices.first()?.identity.namespace.clone();
        let topic = Topic { namespace, channel: Channel::Plan(model.clone()) };
        let payload: &Arc<[u8]> = self.broker.retained(&topic.name())?;
        open_plan(&[control.key.verifying_key()], payload).ok()
    }

    /// A device lies from now on: what its reports prove may be wrong.
    pub(super) fn lied(&mut self) {
        if let Some(control) = &mut self.control {
            control.laws.lied();
        }
    }

    /// Whether no object says what is in production of a model.
    pub(super) fn production_is_deleted(&self, model: &ModelName) -> bool {
        let Some(control) = &self.control else { return false };
        let server = locked(&control.server);
        !server.all("modelversions").any(|version| {
            version["spec"]["model"] == model.as_str() && version["status"]["stage"] == "Production"
        })
    }
}

pub(super) fn phase(object: &Value) -> String {
    object["status"]["phase"].as_str().unwrap_or("new").to_owned()
}

/// Whether a rollout is under way, by the state that decides. A rollback whose deadline is over keeps no other waiting.
fn is_active(object: &Value, now: Time) -> bool {
    let late = |state: &State| state.rollback.as_ref().is_some_and(|rollback| rollback.deadline <= now);
    state(object).is_some_and(|state| state.phase.is_active() && !late(&state))
}
