//! The agent: one step from an input to outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::overrides::{Override, OverrideAction};
use modelfleet_protocol::plan::{Order, Plan};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::state::MODELS_MAX;
use modelfleet_protocol::time::Time;

use crate::aim::Aim;
use crate::observation::Observation;
use crate::plan_intake;
use crate::saved::{Kept, SAVED_VERSION, Saved, Sequence};
use crate::state;
use crate::turn::{Turn, passed_ms};
use crate::unit::Unit;
use crate::words::{Identity, Input, Limits, Output, Record, Step};

/// The pure agent of one device.
#[derive(Clone, Debug)]
pub struct Agent {
    identity: Identity,
    limits: Limits,
    units: BTreeMap<ModelName, Unit>,
    state_sequence: Sequence,
    connection: Sequence,
    override_seen: Order,
    connected: bool,
    /// When the last step was, and when it wanted to be woken.
    last: Option<(Time, Option<Time>)>,
}

impl Agent {
    /// An agent that continues from what it saved; both are empty on a new device. Windows that cannot be read
    /// are left out: they are evidence, not safety.
    #[must_use]
    pub fn new(
        identity: Identity,
        limits: Limits,
        saved: Saved,
        windows: &BTreeMap<ModelName, Vec<u8>>,
    ) -> Agent {
        let Saved { version: _, state_sequence, connection, override_seen, models } = saved;
        let unit = |(model, kept): (ModelName, Kept)| {
            let mut unit = Unit::new(model.clone(), kept);
            unit.aim = Aim::of(&unit.kept, &identity, &limits);
            unit.observation =
                windows.get(&model).map_or_else(Observation::default, |b| Observation::from_bytes(b));
            (model, unit)
        };
        let units = models.into_iter().take(MODELS_MAX).map(unit).collect();
        Agent {
            identity,
            limits,
            units,
            state_sequence,
            connection,
            override_seen,
            connected: false,
            last: None,
        }
    }

    /// Takes one input and says what to do. Total: no input is an error, and none panics.
    pub fn step(&mut self, now: Time, input: Input) -> Step {
        let Agent { identity, limits, units, connected, last, .. } = self;
        let mut turn = Turn {
            now,
            passed_ms: last.map_or(0, |(last, wake)| passed_ms(last, wake, now)),
            connected: match input {
                Input::Connected => true,
                Input::Disconnected => false,
                _ => *connected,
            },
            fetching: units.values().any(|unit| unit.work.fetching.is_some()),
            identity,
            limits,
            outputs: Vec::new(),
            wake: None,
            save: false,
            publish: false,
        };
        *connected = turn.connected;
        match input {
            Input::Started => units.values_mut().for_each(|unit| {
                unit.observe_anew(&turn);
                unit.restarted(&mut turn);
            }),
            Input::Connecting => {
                let (connection, write) = self.connection.take();
                turn.save |= write;
                turn.emit(Output::Connect { will: Presence { online: false, since: now, connection } });
            }
            Input::Connected => {
                let presence = Presence { online: true, since: now, connection: self.connection.last() };
                turn.emit(Output::PublishPresence(presence));
                turn.publish = true;
                units.values_mut().for_each(|unit| unit.heard(&mut turn));
            }
            Input::BrokerHeard if turn.connected => {
                units.values_mut().for_each(|unit| unit.heard(&mut turn));
            }
            Input::Plan(plan) => take_plan(units, plan, &mut turn),
            Input::Override(order) => take_override(units, &mut self.override_seen, &order, &mut turn),
            input => fold(units, input, &mut turn),
        }
        for unit in units.values_mut() {
            unit.settle(&mut turn);
        }
        let Turn { outputs, wake, save, publish, .. } = turn;
        self.finish(outputs, wake, save, publish, now)
    }

    fn finish(
        &mut self,
        mut outputs: Vec<Output>,
        wake: Option<(Time, crate::words::Why)>,
        mut save: bool,
        publish: bool,
        now: Time,
    ) -> Step {
        // Two models may share their bytes: what one of them still needs stays.
        outputs.retain(|output| match output {
            Output::Delete { digest } => !self.units.values().any(|unit| unit.slot(digest).is_some()),
            _ => true,
        });
        if publish && self.connected {
            let (sequence, write) = self.state_sequence.take();
            save |= write;
            let state = state::compose(&self.identity, sequence, now, self.units.values());
            outputs.push(Output::PublishState(Box::new(state)));
        }
        if save {
            outputs.insert(0, Output::Save(Record::Control));
        }
        self.last = Some((now, wake.map(|(at, _)| at)));
        Step { outputs, wake }
    }

    /// The content of [`Record::Control`].
    #[must_use]
    pub fn saved(&self) -> Saved {
        Saved {
            version: SAVED_VERSION,
            state_sequence: self.state_sequence,
            connection: self.connection,
            override_seen: self.override_seen,
            models: self.units.iter().map(|(model, unit)| (model.clone(), unit.kept.clone())).collect(),
        }
    }

    /// The bytes of [`Record::Windows`].
    #[must_use]
    pub fn saved_windows(&self, model: &ModelName) -> Vec<u8> {
        self.units.get(model).map_or_else(Vec::new, |unit| unit.observation.to_bytes())
    }

    /// What answers for a model now, as the shell last said.
    #[must_use]
    pub fn serving(&self, model: &ModelName) -> Option<Digest> {
        self.units.get(model)?.serving
    }

    /// Builds whose bytes are of use, complete or under way; the shell may delete all others when it starts.
    #[must_use]
    pub fn digests(&self) -> BTreeSet<Digest> {
        let unit = |unit: &Unit| {
            let slots: Vec<Digest> = unit.kept.slots.iter().map(|slot| slot.build.digest).collect();
            slots.into_iter().chain(unit.aim.goal().map(|goal| goal.build.digest))
        };
        self.units.values().flat_map(unit).collect()
    }
}

fn take_plan(units: &mut BTreeMap<ModelName, Unit>, plan: Arc<Plan>, turn: &mut Turn<'_>) {
    let seen = units.get(&plan.model).map(|unit| unit.kept.seen).unwrap_or_default();
    if !plan_intake::accepts(&plan, turn.identity, &seen, turn) {
        return;
    }
    if let Some(unit) = unit_of(units, &plan.model, turn) {
        unit.obey(plan, turn);
    }
}

fn take_override(
    units: &mut BTreeMap<ModelName, Unit>,
    seen: &mut Order,
    order: &Override,
    turn: &mut Turn<'_>,
) {
    if !plan_intake::accepts_override(order, seen, turn) {
        return;
    }
    *seen = order.order;
    turn.save = true;
    for said in order.models.iter().filter(|said| matches!(said.action, OverrideAction::Pin(_))) {
        let _ = unit_of(units, &said.model, turn);
    }
    for unit in units.values_mut() {
        let said = order.models.iter().find(|said| said.model == unit.model);
        unit.follow(said, &order.order, turn);
    }
}

fn unit_of<'a>(
    units: &'a mut BTreeMap<ModelName, Unit>,
    model: &ModelName,
    turn: &mut Turn<'_>,
) -> Option<&'a mut Unit> {
    if !units.contains_key(model) && units.len() >= MODELS_MAX {
        turn.emit(Output::Note(format!("{model}: left out, this device has {MODELS_MAX} models already")));
        return None;
    }
    Some(units.entry(model.clone()).or_insert_with(|| Unit::new(model.clone(), Kept::default())))
}

/// What the shell did, or could not do.
fn fold(units: &mut BTreeMap<ModelName, Unit>, input: Input, turn: &mut Turn<'_>) {
    match input {
        Input::FetchProgress { digest, bytes } => {
            units.values_mut().for_each(|unit| unit.fetch_progress(&digest, bytes, turn));
        }
        Input::Fetched { digest } => {
            let mut wanted = false;
            units.values_mut().for_each(|unit| wanted |= unit.fetched(&digest, turn));
            if !wanted {
                turn.emit(Output::Delete { digest });
            }
        }
        Input::FetchFailed { digest, failure, retry } => {
            units.values_mut().for_each(|u| u.fetch_failed(&digest, failure.clone(), retry, turn));
        }
        Input::Admitted { digest, engine, memory_bytes } => {
            let mut asked = false;
            for unit in units.values_mut() {
                asked |= unit.admitted(&digest, engine.clone(), memory_bytes, turn);
            }
            if !asked {
                turn.emit(Output::Unload { digest });
            }
        }
        Input::Refused { digest, failure } => {
            units.values_mut().for_each(|unit| unit.refused(&digest, failure.clone(), turn));
        }
        Input::SlotLost { digest } => units.values_mut().for_each(|unit| unit.slot_lost(&digest, turn)),
        Input::Switched { model, digest, engine } => {
            on(units, &model, |unit| unit.switched(digest, engine, turn));
        }
        Input::SwitchFailed { model, digest, failure } => {
            on(units, &model, |unit| unit.switch_failed(&digest, failure, turn));
        }
        Input::WindowClosed { model, digest, window_ms, window } => {
            on(units, &model, |unit| unit.window_closed(digest, window_ms, &window, turn));
        }
        Input::TruthArrived { model, digest, window_ms, index, counters } => {
            on(units, &model, |unit| unit.truth_arrived(digest, window_ms, index, &counters, turn));
        }
        Input::Health { model, digest, answered, errors } => {
            on(units, &model, |unit| unit.health(&digest, answered, errors));
        }
        Input::MemoryExceeded { model, digest } => {
            on(units, &model, |unit| unit.memory_exceeded(&digest, turn));
        }
        Input::Started
        | Input::Connecting
        | Input::Connected
        | Input::Disconnected
        | Input::BrokerHeard
        | Input::Plan(_)
        | Input::Override(_)
        | Input::Wake => {}
    }
}

fn on(units: &mut BTreeMap<ModelName, Unit>, model: &ModelName, act: impl FnOnce(&mut Unit)) {
    if let Some(unit) = units.get_mut(model) {
        act(unit);
    }
}
