//! One rollout's turn: what is seen of the fleet, what the judge says, what the core decides. No client.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use modelfleet_crds::Rollout;
use modelfleet_judge::StageState;
use modelfleet_protocol::draw::open_stage;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{
    Action, Decision, Evidence, Facts, FleetView, Intent, Phase, PlanView, Queue, State, VersionFact, decide,
    plan_view,
};

use crate::assess::{Answer, Question, Recording, assess};
use crate::context::{Field, Link};
use crate::facts;
use crate::index::view::{FailedDevice, Lens, Sight};
use crate::ledger::Key;
use crate::observe::World;
use crate::problem::Problem;
use crate::queue::{Entry, places};
use crate::status::memory::Memory;
use crate::status::recall;
use crate::status::time::from_k8s;
use crate::validate::Valid;

/// A rollout with its spec read.
pub struct Read {
    /// The object.
    pub rollout: Arc<Rollout>,
    /// Its spec, or what is wrong with it.
    pub valid: Result<Valid, Problem>,
}

/// A rollout after its turn.
pub struct Turn {
    /// The object, as it was read.
    pub rollout: Arc<Rollout>,
    /// What came out.
    pub outcome: Result<Box<Decided>, Problem>,
    /// Where it stood before.
    pub phase_before: Phase,
}

/// What came out of a turn.
pub struct Decided {
    /// Its spec.
    pub valid: Valid,
    /// What to remember.
    pub memory: Memory,
    /// Who is drawn.
    pub membership: Membership,
    /// The core's decision; its state has moved to `memory`.
    pub decision: Decision,
    /// What the plan says on its behalf.
    pub view: PlanView,
    /// What was seen of the fleet, when it was looked at.
    pub seen: Option<Seen>,
    /// The judge's answer, when it was asked.
    pub answer: Option<Answer>,
}

/// What was seen of the fleet.
pub struct Seen {
    /// Counts.
    pub view: FleetView,
    /// Matching devices that are connected.
    pub online: u64,
    /// Some failed devices.
    pub failures: Vec<FailedDevice>,
}

/// What all turns of one model share.
struct Table<'a> {
    key: &'a Key,
    world: &'a World,
    builds: &'a BTreeMap<String, ModelBuild>,
    field: &'a mut Field,
    link: Link,
    now: Time,
}

/// Takes every rollout of a model through its turn.
pub fn take(
    key: &Key,
    world: &World,
    builds: &BTreeMap<String, ModelBuild>,
    reads: Vec<Read>,
    field: &mut Field,
    now: Time,
) -> Vec<Turn> {
    let recalled: Vec<(Memory, Option<Membership>)> =
        reads.iter().map(|read| recall(read.rollout.status.as_ref())).collect();
    let entries = reads.iter().zip(&recalled).map(|(read, (memory, _))| entry(world, read, memory));
    let places = places(entries.collect());
    let states = recalled.iter().map(|(memory, _)| &memory.state);
    let any_active = states.clone().any(|state| state.phase.is_active());
    let last_ended = states.filter(|s| s.phase.is_terminal()).map(|s| s.figures.ended_at).max().flatten();
    let link = field.link;
    let mut table = Table { key, world, builds, field, link, now };
    let mut turns = Vec::with_capacity(reads.len());
    for (read, (memory, membership)) in reads.into_iter().zip(recalled) {
        let place = places.get(&read.rollout.name_any()).cloned().flatten();
        let state = &memory.state;
        let looks = match state.phase {
            phase if phase.is_active() => true,
            phase if phase.is_terminal() => !any_active && state.figures.ended_at == last_ended,
            _ => place.is_none(),
        };
        turns.push(table.turn(read, memory, membership, place, looks));
    }
    turns
}

/// A rollout that cannot start, because its spec or its version is wrong, keeps nobody else waiting.
fn entry(world: &World, read: &Read, memory: &Memory) -> Entry {
    let created = read.rollout.metadata.creation_timestamp.as_ref();
    let spec = &read.rollout.spec;
    let fact = facts::version_fact(world, &spec.version);
    let token = spec.retry_token.as_ref().filter(|token| Some(*token) != memory.state.retry_token.as_ref());
    let may_start = match fact {
        VersionFact::Missing | VersionFact::Unverifiable(_) => false,
        VersionFact::Rejected { .. } => token.is_some(),
        VersionFact::Registered | VersionFact::Verified | VersionFact::Production | VersionFact::Archived => {
            true
        }
    };
    let phase = memory.state.phase;
    let waits = phase == Phase::Queued && may_start && read.valid.is_ok();
    Entry {
        name: read.rollout.name_any(),
        created: created.map_or(Time::ZERO, from_k8s),
        phase: if phase == Phase::Queued && !waits { Phase::Refused } else { phase },
        deleted: read.rollout.metadata.deletion_timestamp.is_some(),
    }
}

impl Table<'_> {
    fn turn(
        &mut self,
        read: Read,
        memory: Memory,
        membership: Option<Membership>,
        place: Option<Queue>,
        looks: bool,
    ) -> Turn {
        let Read { rollout, valid } = read;
        let phase_before = memory.state.phase;
        let outcome = valid.map(|valid| {
            let intent = self.intent(&rollout, &memory.state, place);
            Box::new(self.decided(valid, memory, membership, &intent, looks))
        });
        Turn { rollout, outcome, phase_before }
    }

    fn intent(&self, rollout: &Rollout, state: &State, queue: Option<Queue>) -> Intent {
        let spec = &rollout.spec;
        // While an attempt is under way its version counts, not one that the spec may name by now.
        let version = if state.version.is_empty() { &spec.version } else { &state.version };
        let version = if state.phase.is_active() { version } else { &spec.version };
        let fleet = self.field.index.fleet(&self.key.0);
        Intent {
            paused: spec.paused,
            abort: spec.abort,
            promote: spec.promote.clone(),
            retry_token: spec.retry_token.clone(),
            facts: Facts {
                version: facts::version_fact(self.world, version),
                production: facts::production(self.world),
                queue,
                deleted: rollout.metadata.deletion_timestamp.is_some(),
                broker_connected: self.link.connected,
                view_complete: self.link.settled,
                heard_at: fleet.and_then(crate::index::Fleet::heard_at),
            },
        }
    }

    fn decided(
        &mut self,
        valid: Valid,
        memory: Memory,
        membership: Option<Membership>,
        intent: &Intent,
        looks: bool,
    ) -> Decided {
        let view = plan_view(&valid.policy, &memory.state);
        let mut membership = membership.filter(|stored| stored.salt == view.salt).unwrap_or_default();
        membership.exclude.clone_from(&memory.state.quarantined);
        let (seen, answer) = match looks {
            true => self.look(&valid, &memory, &membership, &view),
            false => (None, None),
        };
        let fleet = seen.as_ref().map_or_else(FleetView::default, |seen| seen.view);
        let evidence = answer.as_ref().map_or_else(Evidence::default, |a| a.evidence.clone());
        let mut decision = decide(&valid.policy, &memory.state, &fleet, &evidence, intent, self.now);
        membership.exclude.clone_from(&decision.state.quarantined);
        for action in &decision.actions {
            if let Action::OpenStage { salt, share, .. } = action {
                membership = self.draw(membership, salt, share, self.builds.get(&decision.state.version));
            }
        }
        membership.exclude.clear();
        let memory = remember(memory, std::mem::take(&mut decision.state), answer.as_ref());
        let view = plan_view(&valid.policy, &memory.state);
        Decided { valid, memory, membership, decision, view, seen, answer }
    }

    fn look(
        &mut self,
        valid: &Valid,
        memory: &Memory,
        membership: &Membership,
        plan: &PlanView,
    ) -> (Option<Seen>, Option<Answer>) {
        let state = &memory.state;
        let build = self.builds.get(if state.version.is_empty() { &plan.version } else { &state.version });
        let candidate = build.map_or(Digest([0; 32]), |build| build.digest);
        let observe_id = plan.observe.id();
        if state.phase.is_active() {
            self.field.index.fleet_mut(&self.key.0).watch(&self.key.1, candidate, observe_id);
        }
        let Some(fleet) = self.field.index.fleet(&self.key.0) else { return (None, None) };
        let stage = valid.policy.stage(state.stage);
        let lens = Lens {
            model: &self.key.1,
            attempt: &plan.attempt,
            candidate,
            selector: &stage.selector,
            spread_by: &stage.spread_by,
            membership,
            drawn: state.drawn.filter(|_| membership.salt == plan.salt).map(|drawn| drawn.stage),
            silent_after_ms: valid.silent_after_ms,
            connected_since: self.link.since,
            now: self.now,
        };
        let watched = state.phase.is_active() && state.phase != Phase::RollingBack;
        let asks = (watched || state.phase == Phase::Succeeded)
            && state.stage_opened_at.is_some()
            && self.link.settled;
        let Sight { view, online, subjects, failures } = fleet.look(&lens, asks);
        let before = (memory.judged == (state.attempt, state.stage))
            .then(|| StageState::from_text(&memory.judge).ok())
            .flatten()
            .unwrap_or_default();
        let question = Question {
            valid,
            state,
            before: &before,
            observe_id,
            profile: build.and_then(|build| build.profile.as_ref()),
            subjects: &subjects,
            samples: fleet.samples(&self.key.1),
            recording: self.recording(&valid.policy.parts().rollout),
        };
        let answer = asks.then(|| assess(&question));
        (Some(Seen { view, online, failures }), answer)
    }

    fn recording(&self, rollout: &str) -> Recording<'_> {
        let name = (self.key.0.as_str().to_owned(), rollout.to_owned());
        self.field.marks.as_ref().map_or(Recording::Off, |marks| Recording::Unless(marks.get(&name)))
    }

    fn draw(
        &self,
        membership: Membership,
        salt: &str,
        share: &modelfleet_protocol::draw::Share,
        build: Option<&ModelBuild>,
    ) -> Membership {
        let exclude = membership.exclude.clone();
        let fresh = || Membership { salt: salt.to_owned(), exclude, ..Membership::default() };
        let base = if membership.salt == salt { membership } else { fresh() };
        let fleet = self.field.index.fleet(&self.key.0);
        let drawable = fleet.zip(build).map(|(fleet, build)| fleet.drawable(&share.selector, build));
        open_stage(&base, share, drawable.unwrap_or_default())
    }
}

/// What is remembered after a decision: the judge's text stays with its attempt and stage.
fn remember(before: Memory, state: State, answer: Option<&Answer>) -> Memory {
    let judged = (state.attempt, state.stage);
    let judge = match answer {
        Some(answer) if (answer.evidence.attempt, answer.evidence.stage) == judged => {
            answer.assessment.state.to_text()
        }
        _ if before.judged == judged => before.judge,
        _ => String::new(),
    };
    Memory { state, judge, judged }
}
