//! Asks the judge where its answer can change, by the shipped evidence rule.

use modelfleet_evidence::{
    Arms, Asked, LookPlan, MERGED_WINDOWS_MAX, Measured, Moment, Names, Question, Subject, Wording, evidence,
    merged_window, put_names, stage_seed,
};
use modelfleet_judge as judge;
use modelfleet_judge::{Arm, JudgedBy, MergedWindow, SloRule, StageState};
use modelfleet_rollout::{Evidence, PauseCause, Phase, Policy, State};

use crate::compared::Compared;
use crate::device::Standing;
use crate::fleet::Fleet;
use crate::observed::Observer;
use crate::setup::{Rule, Setup};

/// Devices in the smaller arm from which on the judge tests at any time.
const ANY_TIME_DEVICES: usize = judge::decide::anytime_layer::FEWEST_DEVICES;
/// Windows between two looks of such a test.
const ANY_TIME_WINDOWS: u32 = 4;
/// Windows after which the judge is asked in any case, so that the sizes of the arms stay known.
const ASKED_WINDOWS: u32 = 24;

/// What is carried from look to look within a stage.
#[derive(Debug, Default)]
pub struct Judged {
    arms: Arms,
    state: StageState,
    compared: Compared,
    /// The newest answer, for the core.
    pub evidence: Evidence,
    /// The stage passes on exposure: it has too few events to rule anything out.
    pub on_exposure: bool,
    /// The most that has spoken against the candidate in any stage, by a method that takes the judge's place.
    pub peak: Option<f64>,
    /// At the last asking: looks of the stage, and by objective.
    looks_reached: Vec<u16>,
    failed: usize,
    asked_at: Option<u32>,
    final_look: bool,
}

/// What the judge may be asked about.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The rollout.
    pub setup: &'a Setup,
    /// The same for the core.
    pub policy: &'a Policy,
    /// How far it got.
    pub state: &'a State,
    /// The devices.
    pub fleet: &'a Fleet<'a>,
    /// The window that begins now.
    pub window: u32,
    /// Now.
    pub moment: Moment,
}

impl Judged {
    /// Forgets the stage before.
    pub fn begin_stage(&mut self) {
        let arms = std::mem::take(&mut self.arms);
        let state = self.state.next_stage();
        *self = Judged { arms, state, peak: self.peak, ..Judged::default() };
    }

    /// Asks anew where the answer can have changed.
    pub fn refresh(&mut self, scene: Scene<'_>, told: &mut dyn FnMut(&Asked<'_>)) {
        let Scene { setup, policy, state, fleet, window, moment } = scene;
        let failed = fleet.devices.iter().filter(|d| d.standing == Standing::Failed).count();
        let stage = policy.stage(state.stage);
        let plan = LookPlan::of(stage, setup.window_ms());
        let waits = stage.max_wait_ms / setup.window_ms();
        let every = Setup::judge_every_windows(fleet.devices.len() as u64, plan.windows(), waits);
        if failed == self.failed && self.asked_at.is_some_and(|at| window < at.saturating_add(every)) {
            return;
        }
        let observer = Observer::new(fleet, setup.controls, window);
        if let Rule::Other { method, bar } = setup.rule {
            let looks = plan.reached(observer.progress().half(0).compared);
            self.evidence = self.compared.judge((method, bar), state, fleet, window, &plan, looks);
            self.peak = self.compared.peak.into_iter().chain(self.peak).reduce(f64::max);
            return;
        }
        let rests = |windows: u32| self.asked_at.is_some_and(|at| window < at.saturating_add(windows));
        let patience = if any_time(self.arms.sizes()) { ANY_TIME_WINDOWS } else { ASKED_WINDOWS };
        let seed = stage_seed(&policy.parts().uid, state);
        let quiet = observer.may_be_quiet(&moment);
        let reported = if quiet {
            self.arms.gather(observer.devices(), fleet.tables.indicators, &fleet.stage, &moment, seed);
            self.arms.reported(&self.arms.outcomes(), &fleet.stage, moment.now)
        } else {
            observer.progress().half(0)
        };
        let by_objective =
            setup.objectives.iter().map(|o| plan.reached_by_objective(reported, o.late_windows));
        let looks = std::iter::once(plan.reached(reported.compared)).chain(by_objective);
        let reached: Vec<u16> = looks.map(|looks| looks.reached).collect();
        let more = |(i, reached): (usize, &u16)| self.looks_reached.get(i).is_none_or(|seen| reached > seen);
        let asks = setup.ask_always
            || (reached.iter().any(|&looks| looks > 0) && reached.iter().enumerate().any(more))
            || failed != self.failed
            || self.final_look
            || (quiet && self.arms.cut_off().holds_stage())
            || !rests(patience)
            || troubled(setup, state, fleet);
        if !asks {
            return;
        }
        if !quiet {
            self.arms.gather(observer.devices(), fleet.tables.indicators, &fleet.stage, &moment, seed);
        }
        self.failed = failed;
        self.looks_reached = reached;
        self.asked_at = Some(window);
        self.ask(scene, told);
    }

    fn ask(&mut self, scene: Scene<'_>, told: &mut dyn FnMut(&Asked<'_>)) {
        let Scene { setup, policy, state, fleet, moment, .. } = scene;
        let rules: Vec<SloRule<'_>> = setup.objectives.iter().map(|objective| objective.rule()).collect();
        let question = Question {
            policy,
            state,
            before: &self.state,
            rules: &rules,
            hard: setup.hard,
            silence: setup.silence,
            arms: &self.arms,
            windows: &fleet.stage,
            merged: &merged(setup, fleet),
            now: moment.now,
        };
        let answer = question.ask(told);
        let mut assessment = answer.assessment;
        let id = |subject: &Subject| fleet.id(subject.number);
        let stage = policy.stage(state.stage);
        let labels = |subject: &Subject| {
            let device = fleet.devices.get(subject.number as usize)?;
            fleet.tables.labels.get(usize::from(device.stratum))
        };
        let names = Names { id: &id, labels: &labels };
        put_names(&mut assessment, &self.arms, names, stage);
        let wording = Wording { shared: "", set_aside: None, names };
        self.evidence = evidence(state, &self.arms, answer.looks, &assessment, &wording);
        self.final_look = answer.looks.is_final();
        self.on_exposure = assessment.verdict == judge::Verdict::Exposed;
        self.state = assessment.state;
    }
}

/// Both arms are large enough for a test in every window, or only canaries are left.
fn any_time((canaries, controls): (usize, usize)) -> bool {
    canaries.min(controls) >= ANY_TIME_DEVICES || (controls == 0 && canaries > 0)
}

/// The newest windows look as in an outage, or a plain rule has to be read.
fn troubled(setup: &Setup, state: &State, fleet: &Fleet) -> bool {
    let paused = Phase::Paused(PauseCause::Incident);
    let plain = setup.objectives.iter().any(|o| o.judged_by != JudgedBy::Statistical);
    if plain || state.phase == paused || state.phase == Phase::Paused(PauseCause::SloBreach) {
        return true;
    }
    // An incident needs the last three windows of controls over the allowance: without that the judge finds none.
    setup.objectives.iter().enumerate().any(|(indicator, objective)| {
        let newest = fleet.windows.newest::<3>(Arm::Control, indicator);
        newest.iter().all(|cell| {
            u64::from(cell.bad) * 1_000_000 > u64::from(objective.allowance_ppm) * u64::from(cell.known)
        })
    })
}

fn merged(setup: &Setup, fleet: &Fleet) -> Vec<MergedWindow> {
    let per_window = u64::from(fleet.tables.scenario.fleet.predictions_per_window);
    let mut windows = Vec::with_capacity(setup.objectives.len() * 2 * MERGED_WINDOWS_MAX as usize);
    for (slo, objective) in setup.objectives.iter().enumerate() {
        for arm in [Arm::Canary, Arm::Control] {
            for cell in fleet.windows.of(arm, slo) {
                let samples = u64::from(cell.known) * per_window;
                let measured = Measured {
                    value: cell.errors.min(samples) * 1_000_000 / samples.max(1),
                    threshold: u64::from(objective.breach_share_ppm),
                    bad_below: false,
                    samples,
                };
                windows.push(merged_window(slo, arm, u64::from(cell.window), measured, cell.counts()));
            }
        }
    }
    windows
}
