//! One rollout from its first decision to its end.

use modelfleet_evidence::{Asked, LookPlan, Moment};
use modelfleet_number::chance::Chance;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{
    Action, Facts, Intent, PauseCause, Phase, Policy, PolicyError, Production, State, VersionFact, decide,
    plan_view,
};

use crate::fleet::{Fleet, Order};
use crate::harm::Tables;
use crate::outcome::{Notes, Outcome};
use crate::scenario::{Scenario, ScenarioError};
use crate::setup::{Rule, Setup};
use crate::story::{Happened, LookStory, Story, StoryLine};
use crate::verdict::{Judged, Scene};

/// How soon after a draw it is looked at again, milliseconds.
const DRAW_SEEN_MS: u64 = 1_000;
/// Times that failures are looked at within a window.
const SLICES: u32 = 16;
/// The same for fleets that take long to look at.
const SLICES_LARGE: u32 = 4;
/// Devices from which on a fleet takes long to look at.
const LARGE_DEVICES: usize = 50_000;
/// Windows after which a rollout that waits for a person is taken as held.
const HELD_WINDOWS: u32 = 48;
/// The version under way, and the one before.
const PRIOR: &str = "0.0.0";

/// One asking of the judge, as it is recorded.
pub type Look<'a> = Asked<'a>;

/// A rollout over a scenario, ready to be run many times.
#[derive(Debug)]
pub struct Simulation {
    setup: Setup,
    tables: Tables,
    horizon_windows: u32,
}

impl Simulation {
    /// Prepares it.
    ///
    /// # Errors
    /// When the scenario has a number that cannot be used.
    pub fn new(setup: Setup, scenario: &Scenario) -> Result<Simulation, ScenarioError> {
        scenario.check()?;
        let tables = Tables::new(&setup, scenario);
        let horizon_windows = setup.horizon_windows();
        Ok(Simulation { setup, tables, horizon_windows })
    }

    /// Runs it once; `told` hears every asking of the judge. The same `seed` and `run` give the same outcome.
    ///
    /// # Errors
    /// When the rollout cannot work.
    pub fn run(&self, seed: u64, run: u64, told: &mut dyn FnMut(&Look<'_>)) -> Result<Outcome, PolicyError> {
        Ok(self.course(seed, run, Story::default(), told)?.0)
    }

    /// Runs it once and tells what happened. The outcome is that of [`Simulation::run`].
    ///
    /// # Errors
    /// When the rollout cannot work.
    pub fn tell(&self, seed: u64, run: u64) -> Result<(Outcome, Vec<StoryLine>), PolicyError> {
        self.course(seed, run, Story::kept(), &mut |_| {})
    }

    fn course(
        &self,
        seed: u64,
        run: u64,
        story: Story,
        told: &mut dyn FnMut(&Look<'_>),
    ) -> Result<(Outcome, Vec<StoryLine>), PolicyError> {
        let mut parts = self.setup.parts.clone();
        parts.uid = format!("simulated-{seed}-{run}");
        let policy = Policy::new(parts)?;
        let own = Chance::fork(Chance::fork(seed, 0).next_u64(), run).next_u64();
        let mut course = Course::new(&self.setup, &policy, Fleet::new(&self.tables, own), told);
        course.story = story;
        let end = self.tables.start.saturating_add(self.horizon_windows);
        while course.window < end && !course.is_over() {
            course.live_window();
        }
        Ok(course.outcome())
    }

    /// What it was made from.
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.tables.scenario
    }

    /// The rollout.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }
}

/// A run under way.
struct Course<'a> {
    setup: &'a Setup,
    policy: &'a Policy,
    fleet: Fleet<'a>,
    told: &'a mut dyn FnMut(&Look<'_>),
    state: State,
    judged: Judged,
    facts: Facts,
    /// The window that is lived through next.
    window: u32,
    now: Time,
    held_windows: u32,
    notes: Notes,
    /// What the last decision waited for, for people.
    lacks: String,
    story: Story,
}

impl<'a> Course<'a> {
    fn new(
        setup: &'a Setup,
        policy: &'a Policy,
        fleet: Fleet<'a>,
        told: &'a mut dyn FnMut(&Look<'_>),
    ) -> Course<'a> {
        let window = fleet.tables.start;
        let now = Time(u64::from(window).saturating_mul(setup.window_ms()));
        let facts = Facts {
            version: VersionFact::Verified,
            production: Production::of_all(PRIOR),
            broker_connected: true,
            view_complete: true,
            heard_at: Some(now),
            ..Facts::default()
        };
        let (state, judged, notes) = (State::default(), Judged::default(), Notes::default());
        let lacks = String::new();
        Course {
            setup,
            policy,
            fleet,
            told,
            state,
            judged,
            facts,
            window,
            now,
            held_windows: 0,
            notes,
            lacks,
            story: Story::default(),
        }
    }

    /// Decides at the window's beginning, then lives through it.
    fn live_window(&mut self) {
        self.now = Time(u64::from(self.window).saturating_mul(self.setup.window_ms()));
        if self.fleet.heard {
            self.facts.heard_at = Some(self.now);
        }
        // A draw is seen a moment later; then the stage's clock begins to run.
        while self.turn() {
            self.now = self.now.after_ms(DRAW_SEEN_MS);
        }
        if self.is_over() {
            return;
        }
        self.activate();
        let order = self.order();
        self.fleet.pass(self.window, order);
        self.window += 1;
        let waits = matches!(self.state.phase, Phase::Paused(cause) if cause != PauseCause::Incident);
        self.held_windows = if waits { self.held_windows + 1 } else { 0 };
    }

    /// One decision; whether a stage was drawn.
    fn turn(&mut self) -> bool {
        let moment = self.moment();
        let drawn = self.state.drawn.map(|drawn| drawn.stage);
        let view = self.fleet.view(drawn, self.window, &moment);
        let phase = self.state.phase;
        let watched =
            phase.is_active() && phase != Phase::RollingBack && self.state.stage_opened_at.is_some();
        let just_opened = self.state.stage_opened_at == Some(self.now);
        if watched && !just_opened {
            let (setup, policy, state, fleet) = (self.setup, self.policy, &self.state, &self.fleet);
            let scene = Scene { setup, policy, state, fleet, window: self.window, moment };
            let stage = &self.policy.stage(self.state.stage).name;
            let (told, story, now) = (&mut *self.told, &mut self.story, self.now);
            self.judged.refresh(scene, &mut |asked| {
                told(asked);
                story.add(now, stage, || Happened::Look(LookStory::of(asked)));
            });
        }
        let stage = self.state.stage;
        let evidence = &self.judged.evidence;
        let decision = decide(self.policy, &self.state, &view, evidence, &self.intent(), self.now);
        if decision.state.passed.len() > self.state.passed.len() && self.judged.on_exposure {
            self.notes.on_exposure += 1;
        }
        self.lacks = decision.reasons.into_iter().next().map_or_else(String::new, |reason| reason.message);
        let state_before = std::mem::replace(&mut self.state, decision.state);
        self.notes.see(self.state.phase);
        if self.state.quarantined.len() > state_before.quarantined.len() {
            self.fleet.exclude(&self.state.quarantined);
        }
        let mut opened = false;
        for action in decision.actions {
            match action {
                Action::OpenStage { salt, share, .. } => {
                    self.fleet.draw(&salt, &share, self.setup.controls);
                    self.fleet.watch(&self.policy.stage(self.state.stage).watch_by);
                    self.fleet.begin_stage(self.setup.rule != Rule::Judge);
                    self.judged.begin_stage();
                    opened = true;
                }
                Action::Promote { production } => {
                    self.facts.version = VersionFact::Production;
                    self.facts.production = production;
                }
                Action::GiveBack { production } => self.facts.production = production,
                Action::MarkRejected { message, .. } => {
                    self.facts.version = VersionFact::Rejected { reason: message, at: self.now };
                }
                Action::Event { kind, message } => {
                    let stage = &self.policy.stage(self.state.stage).name;
                    self.story.add(self.now, stage, || Happened::Event { kind, message });
                }
                Action::MarkVerified { .. } => {}
            }
        }
        if state_before.stage_opened_at != self.state.stage_opened_at {
            let plan = LookPlan::of(self.policy.stage(self.state.stage), self.setup.window_ms());
            let settling = plan.settling(self.setup.settling_windows);
            self.fleet.open_stage(self.state.stage_opened_at.unwrap_or(Time(u64::MAX)), settling);
        }
        debug_assert!(!opened || self.state.stage >= stage);
        opened
    }

    fn moment(&self) -> Moment {
        Moment {
            now: self.now,
            silent_after_ms: self.setup.silent_after_ms,
            probation_ms: self.setup.parts.probation.timeout_ms,
            back_since: self.state.rollback.as_ref().map(|back| back.started_at),
            ..Moment::default()
        }
    }

    /// A person who agrees at once to what is proven.
    fn intent(&self) -> Intent {
        let next = self.state.next_stage();
        let asks = self.state.phase == Phase::AwaitingApproval && next <= self.policy.last_stage();
        let promote = asks.then(|| self.policy.stage(next).name.clone());
        Intent { promote, facts: self.facts.clone(), ..Intent::default() }
    }

    /// Members take the candidate, each at its moment; failures are looked at on the way.
    fn activate(&mut self) {
        let order = self.order();
        if !order.candidate || !plan_view(self.policy, &self.state).admit {
            return;
        }
        let due = self.fleet.due(self.window, order);
        let slices = if self.fleet.devices.len() > LARGE_DEVICES { SLICES_LARGE } else { SLICES };
        let width = u32::MAX / slices;
        let began = self.now;
        for slice in due.chunk_by(|a, b| a.0 / width == b.0 / width) {
            let mut failed = false;
            for (_, slot) in slice {
                failed |= !self.fleet.activate(*slot, self.window);
            }
            if failed {
                let part = slice.last().map_or(0, |(moment, _)| u64::from(moment / width) + 1);
                let passed = self.setup.window_ms().saturating_mul(part) / (u64::from(slices) + 1);
                self.now = began.after_ms(passed);
                self.turn();
                if !plan_view(self.policy, &self.state).admit {
                    return;
                }
            }
        }
    }

    fn order(&self) -> Order {
        let view = plan_view(self.policy, &self.state);
        let window_ms = self.setup.window_ms();
        let windows = |ms: u64| u32::try_from(ms / window_ms).unwrap_or(u32::MAX / 4);
        let succeeded = self.state.phase == Phase::Succeeded;
        Order {
            candidate: view.candidate || succeeded,
            spread_windows: view.fetch.spread_ms as f64 / window_ms as f64,
            probation_windows: windows(view.probation.timeout_ms),
        }
    }

    fn is_over(&self) -> bool {
        self.state.phase.is_terminal() || self.held_windows >= HELD_WINDOWS
    }

    fn outcome(self) -> (Outcome, Vec<StoryLine>) {
        let spent_ppb = self.judged.evidence.spent_ppb;
        let peak_millionths = self.judged.peak.map(|peak| (peak * 1e6) as i64);
        let outcome = Outcome::of(&self.state, self.notes, &self.lacks, self.now, spent_ppb);
        (Outcome { peak_millionths, ..outcome }, self.story.into_lines())
    }
}
