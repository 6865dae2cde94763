//! The rollouts of a model, one by one: what is read of the fleet, what the judge says, what the core decides.

mod fleet_reading;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_crds::ResourceExt;
use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::AlarmAction;
use modelfleet_fleet::census::{Missing, WAIT_MS};
use modelfleet_fleet::windows::Counting;
use modelfleet_fleet::{Fleet, Link};
use modelfleet_judge::StageState;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{
    Action, Decision, Evidence, Facts, FleetView, Intent, LaterTrust, MissingDevices, Phase, PlanView,
    Production, Queue, State, VersionFact, decide, plan_view,
};
use modelfleet_spec::{Problem, Valid, silent_after_ms};

use crate::assess::Answer;
use crate::decide_model::Snapshot;
use crate::inputs::{RolloutInput, Spec};
use crate::interventions::intervenes;
use crate::known_devices;
use crate::objects::ModelObjects;
use crate::production;
use crate::queue::{Entry, others_wait, places};
use crate::security_floor::Floor;
use crate::status::memory::Memory;
use crate::status::time::from_k8s;
use crate::watch::Watched;

pub use fleet_reading::FleetReading;

/// A rollout and what was decided about it.
pub struct RolloutOutcome {
    /// The object, as it was read.
    pub rollout: Arc<Rollout>,
    /// What came out.
    pub result: Result<Box<Decided>, Problem>,
    /// Where it stood before.
    pub phase_before: Phase,
}

/// What was decided about a rollout.
pub struct Decided {
    /// Its spec, or what stands in for it.
    pub valid: Valid,
    /// Why something stands in for it.
    pub problem: Option<Problem>,
    /// It has ended, and its mark alone says so: its status was lost.
    pub restored: bool,
    /// What to remember.
    pub memory: Memory,
    /// Who is drawn.
    pub membership: Membership,
    /// The core's decision; its state has moved to `memory`.
    pub decision: Decision,
    /// What the plan says on its behalf.
    pub view: PlanView,
    /// What was seen of the fleet, when it was looked at.
    pub seen: Option<Arc<FleetReading>>,
    /// The judge's answer, when it was asked.
    pub answer: Option<Answer>,
    /// What the watch over the version says, when the version is in production and was looked at.
    pub watched: Option<Watched>,
}

impl Decided {
    /// Whether devices go back, or have gone: that is never refused.
    #[must_use]
    pub fn goes_back(&self) -> bool {
        matches!(self.memory.state.phase, Phase::RollingBack | Phase::RolledBack)
    }
}

/// Which report samples a fleet shall keep of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Those of this candidate, while its rollout is under way.
    Rollout(Digest, Counting),
    /// Fewer, after its rollout has succeeded.
    Succeeded(Digest, Counting),
}

/// What the decisions about all rollouts of one model share.
struct Shared<'a> {
    snapshot: &'a Snapshot,
    objects: &'a ModelObjects,
    builds: &'a BTreeMap<String, ModelBuild>,
    floor: Floor<'a>,
    production: Production,
    alarm_holds: Option<String>,
    link: Link,
    recalling: bool,
    later_trust: Option<LaterTrust>,
    sampling: Option<Sampling>,
    now: Time,
}

/// What decisions about the rollouts of a model rest on beside the snapshot.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// The newest plan, or the one that a device has sent back.
    pub held: Option<&'a Plan>,
    /// A device is still to send back the plan that broker and statuses have lost.
    pub recalling: bool,
    /// Many devices hold a later trust document than the controller.
    pub later_trust: Option<LaterTrust>,
}

/// Decides about every rollout of a model. `objects`: those of the snapshot with what their statuses have lost. Returns the
/// decisions in the order of the objects, and the samples that the fleet shall keep, where that changes.
pub(crate) fn decide_rollouts(
    snapshot: &Snapshot,
    Surroundings { held, recalling, later_trust }: Surroundings<'_>,
    objects: &ModelObjects,
    builds: &BTreeMap<String, ModelBuild>,
    rollouts: Vec<RolloutInput>,
    now: Time,
) -> (Vec<RolloutOutcome>, Option<Sampling>) {
    let production = production::production(objects, held);
    let floor = Floor::of(snapshot.trust.as_deref(), &snapshot.key.1);
    let mut entries: Vec<Entry> =
        rollouts.iter().map(|read| entry(objects, floor, &production, read)).collect();
    let states = rollouts.iter().map(|read| &read.memory.state);
    let any_active = states.clone().any(|state| state.phase.is_active());
    let last_ended = states.filter(|s| s.phase.is_terminal()).map(|s| s.figures.ended_at).max().flatten();
    let link = snapshot.link.of_fleet(snapshot.fleet.as_ref().and_then(Fleet::complete_since));
    let alarm_holds = rollouts.iter().find(|read| holds_others(read)).map(|read| read.rollout.name_any());
    let mut shared = Shared {
        snapshot,
        objects,
        builds,
        floor,
        production,
        alarm_holds,
        link,
        recalling,
        later_trust,
        sampling: None,
        now,
    };
    // Rollouts under way first, then those that have ended, the last one first: one that begins to go back right now goes
    // before all that wait.
    let mut order: Vec<(usize, RolloutInput)> = rollouts.into_iter().enumerate().collect();
    order.sort_by_key(|(_, read)| {
        let state = &read.memory.state;
        (!state.phase.is_active(), !state.phase.is_terminal(), Reverse(state.figures.ended_at))
    });
    let mut places_now = places(entries.clone());
    let mut outcomes = Vec::with_capacity(order.len());
    for (at, read) in order {
        let place = places_now.get(&entries[at].name).cloned().flatten();
        let state = &read.memory.state;
        let looks = match state.phase {
            phase if phase.is_active() => true,
            phase if phase.is_terminal() => !any_active && state.figures.ended_at == last_ended,
            _ => place.is_none(),
        };
        let waits = others_wait(&entries, &entries[at].name);
        let outcome = shared.decide_rollout(read, (place, waits), looks);
        // One that begins to go back keeps its place until that is stored: the next one begins on facts that know of it.
        if !entries[at].phase.is_active() && outcome.phase().is_active() {
            entries[at].phase = outcome.phase();
            places_now = places(entries.clone());
        }
        outcomes.push((at, outcome));
    }
    outcomes.sort_by_key(|(at, _)| *at);
    let sampling = shared.sampling;
    (outcomes.into_iter().map(|(_, outcome)| outcome).collect(), sampling)
}

/// An alarm about the version in production keeps other rollouts from starting, where the spec says so.
fn holds_others(read: &RolloutInput) -> bool {
    let alarmed = read.memory.state.phase == Phase::Succeeded && read.memory.state.alarm.is_some();
    alarmed && read.rollout.spec.watch.on_alarm == AlarmAction::Pause
}

/// A rollout that cannot start, because its spec or its version is wrong or a plan has no room for it, keeps no other rollout
/// waiting.
fn entry(objects: &ModelObjects, floor: Floor<'_>, production: &Production, read: &RolloutInput) -> Entry {
    let created = read.rollout.metadata.creation_timestamp.as_ref();
    let spec = &read.rollout.spec;
    let state = &read.memory.state;
    let may_start = match floor.fact(objects, &read.rollout, state, &spec.version) {
        VersionFact::Missing | VersionFact::Unverifiable(_) | VersionFact::Forbidden(_) => false,
        VersionFact::Rejected { at, .. } | VersionFact::Doubtful { at, .. } => {
            !state.is_refused(at, spec.retry_token.as_deref())
        }
        VersionFact::Registered | VersionFact::Verified | VersionFact::Production | VersionFact::Archived => {
            true
        }
    };
    let has_room = |valid: &Valid| production.with(valid.policy.scope(), &spec.version).too_many().is_none();
    let waits = may_start && matches!(&read.spec, Spec::Valid(valid) if has_room(valid));
    Entry {
        name: read.rollout.name_any(),
        created: created.map_or(Time::ZERO, from_k8s),
        phase: if state.phase == Phase::Queued && !waits { Phase::Refused } else { state.phase },
        overdue: state.is_overdue(),
        deleted: read.rollout.metadata.deletion_timestamp.is_some(),
    }
}

impl RolloutOutcome {
    /// Where it stands now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.result.as_ref().map_or(self.phase_before, |decided| decided.memory.state.phase)
    }

    /// Whether devices go back, or have gone: that is never refused.
    #[must_use]
    pub fn goes_back(&self) -> bool {
        self.result.as_ref().is_ok_and(|decided| decided.goes_back())
    }
}

impl Shared<'_> {
    /// `place`: its place in the queue, and whether others wait.
    fn decide_rollout(
        &mut self,
        read: RolloutInput,
        place: (Option<Queue>, bool),
        looks: bool,
    ) -> RolloutOutcome {
        let RolloutInput { rollout, memory, membership, spec, restored } = read;
        let phase_before = memory.state.phase;
        let (valid, problem) = match spec {
            Spec::Valid(valid) => (valid, None),
            // No device is judged by what stands in.
            Spec::StandsIn(valid, problem) => (valid, Some(problem)),
            Spec::Unreadable(problem) => {
                return RolloutOutcome { rollout, result: Err(problem), phase_before };
            }
        };
        let mut intent = self.intent(&rollout, &memory.state, place);
        intent.facts.unreadable = problem.as_ref().map(ToString::to_string);
        let missing = self.missing(&rollout, &valid).filter(|_| looks);
        if missing.is_some() {
            (intent.facts.view_complete, intent.facts.missing) = (false, missing);
        }
        intent.facts.prior_forbidden =
            self.floor.forbids_way_back(memory.state.prior.of(valid.policy.scope()));
        let urgent = looks && intervenes(&rollout.spec, intent.deleted(), &memory.state);
        let watch_text = rollout.status.as_ref().and_then(|status| status.watch.as_ref());
        let watch_text = watch_text.map(|watch| watch.state.as_str());
        let mut decided = self.decided(valid, (memory, watch_text), membership, intent, (looks, urgent));
        decided.problem = problem;
        decided.restored = restored;
        let until = missing.map(|missing| missing.until);
        let closes = decided.watched.as_ref().map(|watched| watched.wake_at);
        decided.decision.wake_at = decided.decision.wake_at.into_iter().chain(until).chain(closes).min();
        RolloutOutcome { rollout, result: Ok(Box::new(decided)), phase_before }
    }

    /// The devices that are to be waited for before anything is decided.
    fn missing(&self, rollout: &Rollout, valid: &Valid) -> Option<MissingDevices> {
        let fleet = self.snapshot.fleet.as_ref().filter(|_| self.link.settled)?;
        let Missing { known, seen, enough, until } =
            known_devices::missing(self.objects, rollout, &valid.scope, fleet, self.now)?;
        Some(MissingDevices { known, seen, enough, wait_ms: WAIT_MS, until })
    }

    fn intent(
        &self,
        rollout: &Rollout,
        state: &State,
        (queue, others_wait): (Option<Queue>, bool),
    ) -> Intent {
        let spec = &rollout.spec;
        // While an attempt is under way its version counts, not one that the spec may name by now.
        let version = if state.version.is_empty() { &spec.version } else { &state.version };
        let version = if state.phase.is_active() { version } else { &spec.version };
        let fleet = self.snapshot.fleet.as_ref();
        let plan = self.snapshot.plan.as_deref();
        // Devices speak by the windows of the plan that they follow, and a new one reaches them when it is sent.
        let sent_at = plan.map(|plan| plan.order.issued.min(self.now));
        let heard_at = fleet.and_then(Fleet::heard_at);
        Intent {
            paused: spec.paused,
            abort: spec.abort,
            promote: spec.promote.clone(),
            retry_token: spec.retry_token.clone(),
            facts: Facts {
                version: self.floor.fact(self.objects, rollout, state, version),
                production: self.production.clone(),
                prior_gone: state.prior.entries().iter().any(|one| !self.builds.contains_key(&one.version)),
                prior_forbidden: String::new(),
                queue,
                alarm_holds: self.alarm_holds.clone().filter(|holder| *holder != rollout.name_any()),
                others_wait,
                deleted: rollout.metadata.deletion_timestamp.is_some(),
                unreadable: None,
                broker_connected: self.link.connected,
                view_complete: self.link.settled && !self.recalling && self.later_trust.is_none(),
                plan_lost: self.recalling,
                later_trust: self.later_trust,
                missing: None,
                unable_why: String::new(),
                heard_at: heard_at.map(|at| at.max(sent_at.unwrap_or(at))),
                silent_by_plan_ms: plan
                    .map_or(0, |plan| silent_after_ms(plan.observe.window_ms, plan.observe.report_every_ms)),
                unconfirmed: Vec::new(),
                counts_are_old: false,
            },
        }
    }

    /// `urgent`: a person takes the rollout back or holds it, so that what was seen last is enough to decide by.
    fn decided(
        &mut self,
        valid: Valid,
        (memory, watch_text): (Memory, Option<&str>),
        membership: Option<Membership>,
        intent: Intent,
        (looks, urgent): (bool, bool),
    ) -> Decided {
        let view = plan_view(&valid.policy, &memory.state);
        let mut membership = membership.filter(|stored| stored.salt == view.salt).unwrap_or_default();
        membership.exclude = valid.policy.excluded(&memory.state);
        let quick = urgent.then(|| self.decide_by_last_look(&valid, &memory, &view, &intent)).flatten();
        let mut watched = None;
        let (mut decision, seen, answer) = quick.unwrap_or_else(|| {
            let whole = self.link.settled && intent.facts.missing.is_none();
            let judged = intent.facts.unreadable.is_none();
            let (seen, answer) = match looks {
                true => {
                    let looked =
                        self.look(&valid, (&memory, watch_text), &membership, &view, (judged, whole));
                    watched = looked.2;
                    (looked.0, looked.1)
                }
                false => (None, None),
            };
            let mut evidence = answer.as_ref().map_or_else(Evidence::default, |a| a.evidence.clone());
            evidence.alarm = watched.as_ref().and_then(Watched::evidence);
            (self.decide(&valid, &memory, seen.as_ref(), &evidence, intent), seen.map(Arc::new), answer)
        });
        membership.exclude = valid.policy.excluded(&decision.state);
        for action in &decision.actions {
            if let Action::OpenStage { salt, share, .. } = action {
                membership = self.draw(membership, salt, share, self.builds.get(&decision.state.version));
            }
        }
        membership.exclude.clear();
        let memory = remember(memory, std::mem::take(&mut decision.state), answer.as_ref());
        let view = plan_view(&valid.policy, &memory.state);
        let (problem, restored) = (None, false);
        Decided { valid, problem, restored, memory, membership, decision, view, seen, answer, watched }
    }

    fn decide(
        &self,
        valid: &Valid,
        memory: &Memory,
        seen: Option<&FleetReading>,
        evidence: &Evidence,
        mut intent: Intent,
    ) -> Decision {
        let fleet = seen.map_or_else(FleetView::default, |seen| seen.view);
        intent.facts.unconfirmed = seen.map_or_else(Vec::new, |seen| seen.exposed.clone());
        intent.facts.unable_why = seen.map_or_else(String::new, |seen| seen.unable_why.clone());
        decide(&valid.policy, &memory.state, &fleet, evidence, &intent, self.now)
    }

    /// The way back and a pause need no look: they are decided by what was seen at the last one. `None`: there was none,
    /// or nothing comes of it.
    fn decide_by_last_look(
        &self,
        valid: &Valid,
        memory: &Memory,
        view: &PlanView,
        intent: &Intent,
    ) -> Option<(Decision, Option<Arc<FleetReading>>, Option<Answer>)> {
        let seen = self.snapshot.last_looks.get(&view.attempt)?;
        let mut intent = intent.clone();
        intent.facts.counts_are_old = true;
        let decision = self.decide(valid, memory, Some(seen), &Evidence::default(), intent);
        let moves = decision.state.phase != memory.state.phase;
        moves.then(|| (decision, Some(Arc::clone(seen)), None))
    }
}

/// What is remembered after a decision: the judge's text stays with its attempt and stage.
fn remember(before: Memory, state: State, answer: Option<&Answer>) -> Memory {
    let judged = (state.attempt, state.stage);
    let judge = match answer {
        Some(answer) if (answer.evidence.attempt, answer.evidence.stage) == judged => {
            answer.assessment.state.to_text()
        }
        // What canaries went through in the stage that was left counts on in the one that was opened.
        Some(answer) if answer.evidence.attempt == state.attempt => {
            answer.assessment.state.next_stage().to_text()
        }
        _ if before.judged == judged => before.judge,
        _ if before.judged.0 == state.attempt && !before.judge.is_empty() => {
            StageState::from_text(&before.judge).unwrap_or_default().next_stage().to_text()
        }
        _ => String::new(),
    };
    Memory { state, judge, judged }
}

#[cfg(test)]
mod tests;
