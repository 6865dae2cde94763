//! The state of the device as a whole, and how one input passes through it.

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::plan::Order;
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::state::Overridden;
use modelfleet_protocol::time::Time;

use super::context::{Effects, StepContext, passed_ms};
use super::deletions::Deletions;
use super::memory::MemoryLimit;
use super::models::ModelTable;
use super::runs::ProcessRuns;
use crate::download::turns;
use crate::interface::{Identity, Input, Limits, Moment, Output, Record, Step, WakeReason};
use crate::model::ManagedModel;
use crate::persist::record_writes::RecordWrites;
use crate::persist::sequence::Sequence;
use crate::plan::build::Build;
use crate::report::device_state;
use crate::saved::{SAVED_VERSION, Saved, SeenOrders};
use crate::trust::TrustRules;

/// The state of the device as a whole.
#[derive(Clone, Debug)]
pub(crate) struct AgentState {
    models: ModelTable,
    state_sequence: Sequence,
    connection: Sequence,
    override_seen: SeenOrders,
    runs: ProcessRuns,
    record_writes: RecordWrites,
    deletions: Deletions,
    memory: MemoryLimit,
    connected: bool,
    /// Largest payload that the broker accepts.
    payload_bytes_max: usize,
    /// A state is to be published as soon as possible.
    publish: bool,
    /// A message was refused because of a key since the connection was made.
    refused_for_key: bool,
    /// When the last step was, and when it asked to be woken.
    last: Option<(Moment, Option<Time>)>,
}

impl AgentState {
    pub fn restored(
        saved: Saved,
        windows: &BTreeMap<ModelName, Vec<u8>>,
        identity: &Identity,
        limits: &Limits,
        trust: &TrustRules,
    ) -> AgentState {
        let Saved { version: _, state_sequence, connection, override_seen, models, run, seen, trust: _ } =
            saved;
        AgentState {
            models: ModelTable::restored((models, seen), windows, identity, limits, trust),
            state_sequence,
            connection,
            override_seen: override_seen.attributed(trust.start_keys()),
            runs: ProcessRuns::after(run),
            record_writes: RecordWrites::default(),
            deletions: Deletions::default(),
            memory: MemoryLimit::default(),
            connected: false,
            payload_bytes_max: usize::MAX,
            publish: false,
            refused_for_key: false,
            last: None,
        }
    }

    /// Begins a step: time has passed, and the connection may have come or gone.
    pub fn begin_step<'a>(
        &mut self,
        now: Moment,
        input: &Input,
        identity: &'a Identity,
        limits: &'a Limits,
        trust: &'a TrustRules,
    ) -> StepContext<'a> {
        match input {
            Input::Connected { payload_bytes_max } => {
                (self.connected, self.payload_bytes_max) = (true, *payload_bytes_max);
            }
            Input::Disconnected | Input::Started { .. } => self.connected = false,
            _ => {}
        }
        let written = self.record_writes.retry_succeeded(input);
        let not_saved = *input == Input::NotSaved;
        let passed_ms = self.last.map_or(0, |(last, wake)| passed_ms(last, wake, now));
        let mut ctx = StepContext::new(now.wall, passed_ms, identity, limits, trust);
        ctx.connected = self.connected;
        ctx.payload_bytes_max = self.payload_bytes_max;
        ctx.download_running = self.models.iter().any(|model| model.download().running().is_some());
        ctx.writable = (self.record_writes.is_working() || written) && !not_saved;
        ctx.publish_if(std::mem::take(&mut self.publish));
        if not_saved {
            self.sequences().for_each(Sequence::was_not_written);
        } else {
            if ctx.writable {
                self.sequences().for_each(Sequence::was_written);
            }
            self.models.iter_mut().for_each(|model| model.remember_requests());
        }
        if written {
            for digest in self.record_writes.succeeded() {
                ctx.emit(Output::Delete { digest });
            }
        }
        self.models.iter_mut().for_each(|model| model.elapse(&mut ctx));
        ctx
    }

    fn sequences(&mut self) -> impl Iterator<Item = &mut Sequence> {
        let reports = self.models.iter_mut().map(|model| model.report_sequence());
        reports.chain([&mut self.state_sequence, &mut self.connection])
    }

    /// Takes over what the input says. What follows from it is worked out when the state settles.
    pub fn apply(&mut self, input: Input, ctx: &mut StepContext<'_>) {
        match input {
            Input::Started { boot } => self.started(boot, ctx),
            Input::Stopping => {
                self.runs.stop(ctx);
                self.record_writes.retry_now(ctx.now);
                self.models.iter_mut().for_each(|model| model.save_windows_if_unsaved(ctx));
            }
            Input::NotSaved => {
                self.record_writes.failed(ctx.now);
                self.publish = true;
                self.models.iter_mut().for_each(|model| model.undo_unsaved_requests());
            }
            Input::Connecting => {
                let (connection, write) = self.connection.take();
                ctx.save_if(write);
                let instance = ctx.identity.instance;
                let will = Presence { online: false, since: ctx.now, connection, instance };
                ctx.emit(Output::Connect { will });
            }
            Input::Connected { .. } => {
                let connection = self.connection.last();
                let instance = ctx.identity.instance;
                let presence = Presence { online: true, since: ctx.now, connection, instance };
                ctx.emit(Output::PublishPresence(presence));
                ctx.publish();
                self.runs.connected(ctx.now);
                self.models.iter_mut().for_each(|model| model.broker_heard());
            }
            Input::BrokerHeard if ctx.connected => {
                self.models.iter_mut().for_each(|model| model.broker_heard());
            }
            Input::Disconnected => {
                self.refused_for_key = false; // The next connection brings everything once more.
                self.models.iter_mut().for_each(|model| model.connection_lost());
            }
            Input::Trust(_) => self.trust_changed(ctx),
            Input::Plan(plan) => self.models.take_plan(plan, ctx),
            Input::Override(order) => self.models.take_override(order, &mut self.override_seen, ctx),
            Input::Memory { exceeded } => self.memory.reading(exceeded, &mut self.models, ctx),
            input => self.models.apply_outcome(input, ctx),
        }
    }

    fn started(&mut self, boot: Option<String>, ctx: &mut StepContext<'_>) {
        let ending = self.runs.begin(boot, ctx);
        // A crash has one cause. What no plan has called stable yet is held responsible first, also for another model's build.
        let blames_stable = !self.models.iter().any(ManagedModel::has_crash_suspect);
        let mut left = false;
        for model in self.models.iter_mut() {
            model.update_evidence_basis(ctx);
            left |= model.process_restarted(ending, blames_stable, ctx);
        }
        if left {
            self.runs.crash_cause_removed();
        }
    }

    /// Another trust document counts: what revoked keys have signed ends, and what was refused because of a key may be
    /// accepted now.
    fn trust_changed(&mut self, ctx: &mut StepContext<'_>) {
        if let Some(document) = ctx.trust.document() {
            ctx.log(format!("version {} of the trust document is followed now", document.version));
        }
        let mut ended = self.models.trust_changed(ctx);
        if self.override_seen.forget_revoked(ctx.trust) && !self.override_seen.counts(ctx.trust) {
            self.models.end_directives(ctx);
            ended = true;
        }
        if std::mem::take(&mut self.refused_for_key) || ended {
            ctx.emit(Output::AskForPlans);
        }
        ctx.changed();
    }

    /// Compares what is wanted with what is, and asks the shell for the difference.
    pub fn settle(&mut self, ctx: &mut StepContext<'_>) {
        self.runs.settle(&mut self.models, ctx);
        turns::arbitrate(self.models.iter_mut(), ctx);
        self.models.iter_mut().for_each(|model| model.settle(ctx));
    }

    /// Ends the step: decides whether the record is written and the state is published.
    pub fn finish_step(&mut self, now: Moment, ctx: StepContext<'_>) -> Step {
        let (identity, writable, trust) = (ctx.identity, ctx.writable, ctx.trust);
        let Effects { mut outputs, mut wake, mut save, publish, refused_for_key } = ctx.into_effects();
        self.refused_for_key |= refused_for_key;
        self.deletions.sort_out(&self.models, writable, &mut outputs);
        let publish = publish && self.connected;
        if publish && (writable || !self.state_sequence.is_used_up()) {
            let (sequence, write) = self.state_sequence.take();
            save |= write;
            let models = self.models.iter().map(|model| model.state()).collect();
            let newest = self.override_seen.newest;
            let told = || Overridden {
                epoch: newest.epoch,
                revision: newest.revision,
                models: self.models.directed(),
            };
            let overridden = (newest != Order::default()).then(told);
            let state = device_state::compose(
                identity,
                sequence,
                now.wall,
                self.payload_bytes_max,
                trust.version(),
                models,
                overridden,
            );
            outputs.push(Output::PublishState(Box::new(state)));
        } else if publish {
            self.publish = true;
        }
        // A step that learns of a failed write does not try again at once, whatever the clock says.
        let just_failed = self.record_writes.take_just_failed();
        match self.record_writes.next_write(now.wall, save && writable, &outputs) {
            Some(at) if at <= now.wall && !just_failed => {
                outputs.insert(0, Output::Save(Record::Control));
                let next = self.record_writes.writing_now(now.wall);
                if let Some(at) = next.filter(|at| wake.is_none_or(|(earlier, _)| *at < earlier)) {
                    wake = Some((at, WakeReason::SaveRetry));
                }
            }
            Some(at) if wake.is_none_or(|(earlier, _)| at < earlier) => {
                wake = Some((at, WakeReason::SaveRetry));
            }
            _ => {}
        }
        self.last = Some((now, wake.map(|(at, _)| at)));
        Step { outputs, wake }
    }

    pub fn saved(&self) -> Saved {
        Saved {
            version: SAVED_VERSION,
            state_sequence: self.state_sequence,
            connection: self.connection,
            override_seen: self.override_seen.clone(),
            models: self.models.saved(),
            run: self.runs.saved(),
            seen: self.models.seen_plans().clone(),
            trust: None,
        }
    }

    pub fn saved_windows(&self, model: &ModelName) -> Vec<u8> {
        self.models.get(model).map_or_else(Vec::new, |model| model.windows_record())
    }

    pub fn forbidden(&self) -> Vec<(Build, String)> {
        self.models.iter().filter_map(|model| model.forbidden()).collect()
    }

    /// Builds whose bytes are needed, complete or partial.
    pub fn needed_builds(&self) -> BTreeSet<Digest> {
        let models = self.models.iter();
        models.flat_map(|model| model.slots().digests().chain(model.download().partial())).collect()
    }
}
