//! What one rollout reads of the fleet, what the judge makes of it, and which devices a stage selects.

use modelfleet_judge::StageState;
use modelfleet_protocol::draw::{Share, open_stage};
use modelfleet_protocol::ids::{DeviceId, Digest};
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::plan::Order;
use modelfleet_protocol::selector::Selector;
use modelfleet_rollout::{FleetView, Phase, PlanView};
use modelfleet_spec::Valid;

use super::{Sampling, Shared};
use crate::assess::{Answer, Judged, Recording, assess};
use crate::status::memory::Memory;
use crate::status::trust::TrustReading;
use crate::watch::{Watched, watch};
use modelfleet_fleet::fleet::Fleet;
use modelfleet_fleet::left_out::Omitted;
use modelfleet_fleet::other_plan::OtherPlan;
use modelfleet_fleet::view::{FailedDevice, Lens, Survey};
use modelfleet_fleet::windows::Counting;
use modelfleet_fleet::wrong_clocks::WrongClocks;

/// What was seen of the fleet.
#[derive(Clone, Debug)]
pub struct FleetReading {
    /// All that devices had told is here. Before that the counts are too low, and must not be used.
    pub whole: bool,
    /// Counts.
    pub view: FleetView,
    /// Devices that the rollout is for.
    pub eligible: u64,
    /// Those of them that are connected.
    pub online: u64,
    /// Some failed devices.
    pub failures: Vec<FailedDevice>,
    /// Some connected devices that run the candidate.
    pub exposed: Vec<DeviceId>,
    /// Devices of the fleet whose state cannot be taken.
    pub omitted: Omitted,
    /// Order and lifetime of the newest plan.
    pub plan_order: Option<Order>,
    /// Devices of the fleet whose clocks are wrong.
    pub wrong_clocks: WrongClocks,
    /// Connected devices that hold another plan than the newest.
    pub other_plan: OtherPlan,
    /// The trust document that counts, and how many devices hold it.
    pub trust: TrustReading,
    /// Why devices cannot run the candidate, while none runs it.
    pub unable_why: String,
}

impl Shared<'_> {
    pub(super) fn look(
        &mut self,
        valid: &Valid,
        (memory, watch_text): (&Memory, Option<&str>),
        membership: &Membership,
        plan: &PlanView,
        (judged, whole): (bool, bool),
    ) -> (Option<FleetReading>, Option<Answer>, Option<Watched>) {
        let state = &memory.state;
        let build = self.builds.get(if state.version.is_empty() { &plan.version } else { &state.version });
        let candidate = build.map_or(Digest([0; 32]), |build| build.digest);
        let counting = Counting { observe_id: plan.observe.id(), window_ms: plan.observe.window_ms };
        let Some(fleet) = &self.snapshot.fleet else { return (None, None, None) };
        let sampling = sampling(state.phase, candidate, counting).filter(|_| judged);
        self.sampling = sampling.or(self.sampling);
        let stage = valid.policy.stage(state.stage);
        let back = state.rollback.as_ref().filter(|_| state.phase == Phase::RollingBack);
        let same = |version: &str| self.builds.get(version).is_some_and(|build| build.digest == candidate);
        let prior = state.prior.entries().iter().map(|one| (one.selector.clone(), same(&one.version)));
        let prior: Vec<(Selector, bool)> = prior.collect();
        let lens = Lens {
            model: &self.snapshot.key.1,
            attempt: &plan.attempt,
            candidate,
            scope: &valid.scope,
            selector: &stage.selector,
            watch_by: &stage.watch_by,
            membership,
            set_aside: &valid.policy.parts().set_aside,
            drawn: state.drawn.filter(|_| membership.salt == plan.salt).map(|drawn| drawn.stage),
            probation_ms: plan.probation.timeout_ms,
            silent_after_ms: valid.silent_after_ms,
            window_ms: plan.observe.window_ms,
            connected_since: self.link.since,
            prior: &prior,
            back_since: back.map(|back| back.started_at),
            plan: self.snapshot.plan.as_deref(),
            now: self.now,
        };
        let asks = sampling.is_some() && state.stage_opened_at.is_some() && whole;
        let Survey { mut view, eligible, online, subjects, failures, exposed, other_plan } =
            fleet.survey(&lens, asks);
        // Once a device runs it, that none can is no question any more.
        let begins = view.activated == 0 && !state.phase.is_terminal() && state.phase != Phase::RollingBack;
        let unable = build.filter(|_| begins).map(|build| fleet.unable(&lens, build)).unwrap_or_default();
        view.unable = unable.devices;
        let before = judged_before(memory);
        let judged = Judged {
            valid,
            state,
            before: &before,
            counting,
            profile: build.and_then(|build| build.profile.as_ref()),
            subjects: &subjects,
            samples: fleet.samples(&self.snapshot.key.1),
            fleet: Some(fleet),
            recording: self.recording(&valid.policy.parts().rollout),
            moment: lens.moment(),
        };
        let answer = asks.then(|| assess(&judged));
        let watched = if asks { watch(&judged, watch_text) } else { None };
        let (omitted, wrong_clocks) = (fleet.omitted(), fleet.wrong_clocks());
        let seen = FleetReading {
            whole,
            view,
            eligible,
            online,
            failures,
            exposed,
            omitted,
            plan_order: self.snapshot.plan.as_ref().map(|plan| plan.order),
            wrong_clocks,
            other_plan,
            trust: self.trust(fleet),
            unable_why: unable.why,
        };
        (Some(seen), answer, watched)
    }

    fn trust(&self, fleet: &Fleet) -> TrustReading {
        let document = self.snapshot.trust.clone();
        let held = document.as_ref().map(|document| fleet.trust_held(document.version)).unwrap_or_default();
        TrustReading { document, held }
    }

    fn recording(&self, rollout: &str) -> Recording<'_> {
        let name = (self.snapshot.key.0.as_str().to_owned(), rollout.to_owned());
        self.snapshot.recorded.as_ref().map_or(Recording::Off, |marks| Recording::Unless(marks.get(&name)))
    }

    pub(super) fn draw(
        &self,
        membership: Membership,
        salt: &str,
        share: &Share,
        build: Option<&ModelBuild>,
    ) -> Membership {
        let exclude = membership.exclude.clone();
        let fresh = || Membership { salt: salt.to_owned(), exclude, ..Membership::default() };
        let base = if membership.salt == salt { membership } else { fresh() };
        let fleet = self.snapshot.fleet.as_ref();
        let drawable = fleet.zip(build).map(|(fleet, build)| fleet.drawable(&share.selector, build));
        open_stage(&base, share, drawable.unwrap_or_default())
    }
}

/// What the judge keeps of the looks of this stage.
fn judged_before(memory: &Memory) -> StageState {
    if memory.judged == (memory.state.attempt, memory.state.stage) {
        StageState::from_text(&memory.judge).unwrap_or_else(|_| StageState::unreadable())
    } else {
        StageState::default()
    }
}

/// The report samples that a rollout in this phase is judged by. What all devices suffer from after success is told by the
/// same windows.
fn sampling(phase: Phase, candidate: Digest, counting: Counting) -> Option<Sampling> {
    match phase {
        Phase::Succeeded => Some(Sampling::Succeeded(candidate, counting)),
        Phase::RollingBack => None,
        phase if phase.is_active() => Some(Sampling::Rollout(candidate, counting)),
        _ => None,
    }
}
