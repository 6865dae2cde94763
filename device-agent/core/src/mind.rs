//! What the agent knows of the device as a whole, and how an input goes through it.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::plan::Order;
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::time::Time;

use crate::deeds;
use crate::deletions::Deletions;
use crate::fetch_turns;
use crate::memory::Memory;
use crate::roster::Roster;
use crate::runs::Runs;
use crate::saved::{SAVED_VERSION, Saved, Sequence};
use crate::state;
use crate::turn::{Turn, passed_ms};
use crate::words::{Identity, Input, Limits, Moment, Output, Record, Step, Why};
use crate::writing::Writing;

#[derive(Clone, Debug)]
pub(crate) struct Mind {
    pub roster: Roster,
    state_sequence: Sequence,
    connection: Sequence,
    override_seen: Order,
    runs: Runs,
    writing: Writing,
    deletions: Deletions,
    memory: Memory,
    connected: bool,
    /// What the broker takes.
    payload_bytes_max: usize,
    /// A state is to be published as soon as that may be.
    publish: bool,
    /// When the last step was, and when it wanted to be woken.
    last: Option<(Moment, Option<Time>)>,
}

impl Mind {
    pub fn restored(
        saved: Saved,
        windows: &BTreeMap<ModelName, Vec<u8>>,
        identity: &Identity,
        limits: &Limits,
    ) -> Mind {
        let Saved { version: _, state_sequence, connection, override_seen, models, run, seen } = saved;
        Mind {
            roster: Roster::restored(models, seen, windows, identity, limits),
            state_sequence,
            connection,
            override_seen,
            runs: Runs::after(run),
            writing: Writing::default(),
            deletions: Deletions::default(),
            memory: Memory::default(),
            connected: false,
            payload_bytes_max: usize::MAX,
            publish: false,
            last: None,
        }
    }

    /// The step begins: time has passed, and a connection may have come or gone.
    pub fn turn<'a>(
        &mut self,
        now: Moment,
        input: &Input,
        identity: &'a Identity,
        limits: &'a Limits,
    ) -> Turn<'a> {
        match input {
            Input::Connected { payload_bytes_max } => {
                (self.connected, self.payload_bytes_max) = (true, *payload_bytes_max);
            }
            Input::Disconnected | Input::Started { .. } => self.connected = false,
            _ => {}
        }
        let went_well = self.writing.went_well(input);
        let writable = (self.writing.is_well() || went_well) && *input != Input::NotSaved;
        let mut turn = Turn {
            now: now.wall,
            steady_ms: now.steady_ms,
            passed_ms: self.last.map_or(0, |(last, wake)| passed_ms(last, wake, now)),
            connected: self.connected,
            payload_bytes_max: self.payload_bytes_max,
            next_fetch: None,
            fetching: self.roster.units.values().any(|unit| unit.work.fetching.is_some()),
            writable,
            loading: true,
            identity,
            limits,
            outputs: Vec::new(),
            wake: None,
            save: false,
            publish: std::mem::take(&mut self.publish),
        };
        if *input == Input::NotSaved {
            self.sequences().for_each(Sequence::was_not_written);
        } else {
            if writable {
                self.sequences().for_each(Sequence::was_written);
            }
            self.roster.units.values_mut().for_each(|unit| unit.asked_before = unit.work.asked());
        }
        if went_well {
            let deletes = self.writing.succeeded();
            turn.outputs.extend(deletes.into_iter().map(|digest| Output::Delete { digest }));
        }
        self.roster.units.values_mut().for_each(|unit| unit.elapse(&mut turn));
        turn
    }

    fn sequences(&mut self) -> impl Iterator<Item = &mut Sequence> {
        let reports = self.roster.units.values_mut().map(|unit| &mut unit.kept.report_sequence);
        reports.chain([&mut self.state_sequence, &mut self.connection])
    }

    pub fn take(&mut self, input: Input, turn: &mut Turn<'_>) {
        match input {
            Input::Started { boot } => {
                let ending = self.runs.begin(boot, turn);
                let mut left = false;
                for unit in self.roster.units.values_mut() {
                    unit.observe_anew(turn);
                    left |= unit.restarted(ending, turn);
                }
                if left {
                    self.runs.forgive();
                }
            }
            Input::Stopping => {
                self.runs.stop(turn);
                self.writing.hurry(turn.now);
                self.roster.units.values_mut().for_each(|unit| unit.save_unsaved(turn));
            }
            Input::NotSaved => {
                self.writing.failed(turn.now);
                self.publish = true;
                self.roster.units.values_mut().for_each(crate::unit::Unit::forget_unsaved);
            }
            Input::Connecting => {
                let (connection, write) = self.connection.take();
                turn.save |= write;
                turn.emit(Output::Connect { will: Presence { online: false, since: turn.now, connection } });
            }
            Input::Connected { .. } => {
                let connection = self.connection.last();
                turn.emit(Output::PublishPresence(Presence { online: true, since: turn.now, connection }));
                turn.publish = true;
                self.runs.connected(turn.now);
                self.roster.units.values_mut().for_each(crate::unit::Unit::heard);
            }
            Input::BrokerHeard if turn.connected => {
                self.roster.units.values_mut().for_each(crate::unit::Unit::heard);
            }
            Input::Disconnected => self.roster.units.values_mut().for_each(crate::unit::Unit::unheard),
            Input::Plan(plan) => self.roster.take_plan(plan, turn),
            Input::Override(order) => self.roster.take_override(&order, &mut self.override_seen, turn),
            Input::Memory { exceeded } => self.memory.read(exceeded, &mut self.roster.units, turn),
            input => deeds::fold(&mut self.roster.units, input, turn),
        }
    }

    pub fn settle(&mut self, turn: &mut Turn<'_>) {
        self.runs.settle(&mut self.roster.units, turn);
        fetch_turns::take_turns(&mut self.roster.units, turn);
        for unit in self.roster.units.values_mut() {
            unit.settle(turn);
        }
    }

    pub fn finish(&mut self, turn: Turn<'_>) -> Step {
        let (identity, now, steady_ms) = (turn.identity, turn.now, turn.steady_ms);
        let Turn { mut outputs, mut wake, mut save, publish, writable, .. } = turn;
        self.deletions.sift(&self.roster.units, writable, &mut outputs);
        let publish = publish && self.connected;
        if publish && (writable || !self.state_sequence.is_used_up()) {
            let (sequence, write) = self.state_sequence.take();
            save |= write;
            let most_bytes = self.payload_bytes_max;
            let state = state::compose(identity, sequence, now, most_bytes, self.roster.units.values());
            outputs.push(Output::PublishState(Box::new(state)));
        } else if publish {
            self.publish = true;
        }
        // The step that hears of a failure does not try at once, whatever the clock says.
        let just_failed = self.writing.take_news();
        let retry_at = self.writing.next(now, save && writable, &outputs);
        match retry_at {
            Some(at) if at <= now && !just_failed => {
                outputs.insert(0, Output::Save(Record::Control));
                if let Some(at) = self.writing.tries(now).filter(|at| wake.is_none_or(|(w, _)| *at < w)) {
                    wake = Some((at, Why::SaveRetry));
                }
            }
            Some(at) if wake.is_none_or(|(earlier, _)| at < earlier) => wake = Some((at, Why::SaveRetry)),
            _ => {}
        }
        self.last = Some((Moment { wall: now, steady_ms }, wake.map(|(at, _)| at)));
        Step { outputs, wake }
    }

    pub fn saved(&self) -> Saved {
        let kept = |(model, unit): (&ModelName, &crate::unit::Unit)| (model.clone(), unit.kept.clone());
        Saved {
            version: SAVED_VERSION,
            state_sequence: self.state_sequence,
            connection: self.connection,
            override_seen: self.override_seen,
            models: self.roster.units.iter().map(kept).collect(),
            run: self.runs.saved(),
            seen: self.roster.seen.clone(),
        }
    }
}
