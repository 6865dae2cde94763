//! Asks the judge where its answer can change, and puts the answer into the core's words as the controller does.

use modelfleet_judge as judge;
use modelfleet_judge::{Advice, Arm, EvidenceKind, HardAction, MergedWindow, SloRule, StageState};
use modelfleet_protocol::ids::Digest;
use modelfleet_rollout::{Coverage, Evidence, HardStop, PauseCause, Phase, Policy, State, Verdict};

use crate::arms::{Arms, Lens, looks};
use crate::device::{Fact, Standing};
use crate::fleet::Fleet;
use crate::setup::{Rule, Setup};
use crate::today::Today;

/// Devices in the smaller arm from which on the judge tests at any time.
const ANY_TIME_DEVICES: usize = judge::decide::anytime_layer::FEWEST_DEVICES;
/// Windows between two looks of such a test.
const ANY_TIME_WINDOWS: u32 = 4;
/// Windows after which the judge is asked in any case, so that the sizes of the arms stay known.
const ASKED_WINDOWS: u32 = 24;

/// What the judge was asked and answered.
pub struct Asked<'a> {
    /// Rollout, attempt and stage, for people.
    pub place: &'a str,
    /// The question.
    pub evidence: &'a judge::Evidence<'a>,
    /// What it carried from the look before.
    pub before: &'a StageState,
    /// The answer.
    pub assessment: &'a judge::Assessment,
}

/// What is carried from look to look within a stage.
#[derive(Debug, Default)]
pub struct Judged {
    arms: Arms,
    state: StageState,
    today: Today,
    /// The newest answer, for the core.
    pub evidence: Evidence,
    /// The stage passes on exposure: it has too few events to rule anything out.
    pub on_exposure: bool,
    looks_reached: u16,
    failed: usize,
    asked_at: Option<u32>,
    final_look: bool,
}

impl Judged {
    /// Forgets the stage before.
    pub fn begin_stage(&mut self) {
        let arms = std::mem::take(&mut self.arms);
        *self = Judged { arms, ..Judged::default() };
    }

    /// Asks anew where the answer can have changed. `window`: the one that begins now.
    pub fn refresh(
        &mut self,
        setup: &Setup,
        policy: &Policy,
        state: &State,
        fleet: &Fleet,
        window: u32,
        told: &mut dyn FnMut(&Asked<'_>),
    ) {
        let failed = fleet.devices.iter().filter(|d| d.standing == Standing::Failed).count();
        let stage = policy.stage(state.stage);
        let windows =
            stage.bake_ms.div_ceil(setup.window_ms()).max(u64::from(stage.limits.min_windows)).max(1);
        let waits = stage.max_wait_ms / setup.window_ms();
        let every = Setup::judge_every_windows(fleet.devices.len() as u64, windows, waits);
        if failed == self.failed && self.asked_at.is_some_and(|at| window < at.saturating_add(every)) {
            return;
        }
        let warmup = u32::try_from(setup.warmup_windows).unwrap_or(u32::MAX);
        let mut reached = looks(fleet, &setup.looks, windows, warmup, 0);
        if setup.rule != Rule::Judge {
            self.evidence = self.today.judge(setup, state, fleet, window, reached);
            return;
        }
        let rests = |windows: u32| self.asked_at.is_some_and(|at| window < at.saturating_add(windows));
        let patience = if any_time(self.arms.sizes()) { ANY_TIME_WINDOWS } else { ASKED_WINDOWS };
        let lens = Lens {
            window,
            warmup_windows: warmup,
            silent_windows: silent_windows(setup),
            controls: setup.controls,
            seed: seed(&policy.parts().uid, state),
        };
        if mostly_silent(fleet, lens) {
            self.arms.look(fleet, lens);
            if judge::gone_quiet(&self.arms.outcomes()) {
                reached = looks(fleet, &setup.looks, windows, warmup, window);
            }
        }
        let asks = setup.ask_always
            || reached.reached > self.looks_reached
            || failed != self.failed
            || self.final_look
            || !rests(patience)
            || troubled(setup, state, fleet);
        if !asks {
            return;
        }
        self.looks_reached = reached.reached;
        self.failed = failed;
        self.asked_at = Some(window);
        self.final_look = reached.is_final();
        self.arms.look(fleet, lens);
        self.ask(setup, policy, state, fleet, reached, told);
    }

    fn ask(
        &mut self,
        setup: &Setup,
        policy: &Policy,
        state: &State,
        fleet: &Fleet,
        looks: judge::Looks,
        told: &mut dyn FnMut(&Asked<'_>),
    ) {
        let stage = policy.stage(state.stage);
        let rules: Vec<SloRule<'_>> = setup.objectives.iter().map(|o| rule(o, stage.margin_ppm)).collect();
        let merged = merged(setup, fleet);
        let parts = policy.parts();
        let limits = &stage.limits;
        let stages_left = policy.stage_count() - state.stage.min(policy.last_stage());
        let evidence = judge::Evidence {
            slos: &rules,
            devices: &self.arms.outcomes(),
            merged: &merged,
            needs: judge::Needs {
                min_devices: u32::try_from(limits.min_devices).unwrap_or(u32::MAX),
                min_windows: limits.min_windows,
                min_reporting_ppm: limits.min_reporting_ppm,
            },
            hard: setup.hard,
            silence: setup.silence,
            budget: judge::Budget {
                total_ppm: parts.error_budget_ppm,
                spent_ppb: state.spent_ppb,
                stages_left: u16::try_from(stages_left).unwrap_or(u16::MAX),
            },
            looks,
            seed: seed(&parts.uid, state),
        };
        let assessment = judge::assess(&evidence, &self.state);
        let place = format!("{}, attempt {}, {}", parts.rollout, state.attempt, stage.name);
        told(&Asked { place: &place, evidence: &evidence, before: &self.state, assessment: &assessment });
        self.evidence = for_core(state, &assessment, looks, fleet);
        self.on_exposure = assessment.advice == Advice::Advance
            && assessment.per_slo.iter().any(|record| record.promised && record.margin_ppm == u64::MAX);
        self.state = assessment.state;
    }
}

/// Windows without a report after which a device is silent.
pub fn silent_windows(setup: &Setup) -> u32 {
    u32::try_from(setup.silent_after_ms / setup.window_ms()).unwrap_or(u32::MAX)
}

/// Enough running canaries are silent for [`judge::gone_quiet`] to be asked.
fn mostly_silent(fleet: &Fleet, lens: Lens) -> bool {
    let running = fleet.devices.iter().filter(|d| d.is(Fact::Member) && d.runs());
    let (all, silent) = running.fold((0_u64, 0_u64), |(all, silent), device| {
        (all + 1, silent + u64::from(!fleet.is_heard(device, lens.window, lens.silent_windows)))
    });
    all > 0 && 2 * silent >= all
}

/// Both arms are large enough for a test in every window, or only canaries are left.
fn any_time((canaries, controls): (usize, usize)) -> bool {
    canaries.min(controls) >= ANY_TIME_DEVICES || (controls == 0 && canaries > 0)
}

/// The newest windows look as in an outage, or a plain rule has to be read.
fn troubled(setup: &Setup, state: &State, fleet: &Fleet) -> bool {
    let paused = Phase::Paused(PauseCause::Incident);
    let plain = setup.objectives.iter().any(|o| o.evidence != EvidenceKind::Statistical);
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

fn rule(objective: &crate::setup::Objective, margin_ppm: Option<u64>) -> SloRule<'_> {
    SloRule {
        name: &objective.name,
        on_breach: objective.on_breach,
        evidence: objective.evidence,
        margin_ppm,
        min_samples: objective.min_samples,
        ..SloRule::statistical("", objective.allowance_ppm)
    }
}

/// As the controller: fixed for an attempt and stage.
fn seed(uid: &str, state: &State) -> u64 {
    let digest = Digest::of(format!("{uid}/{}/{}", state.attempt, state.stage).as_bytes());
    digest.0.iter().take(8).fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

fn merged(setup: &Setup, fleet: &Fleet) -> Vec<MergedWindow> {
    let per_window = u64::from(fleet.tables.scenario.fleet.predictions_per_window);
    let mut windows = Vec::new();
    for (slo, objective) in setup.objectives.iter().enumerate() {
        for arm in [Arm::Canary, Arm::Control] {
            for cell in fleet.windows.of(arm, slo) {
                let samples = u64::from(cell.known) * per_window;
                let share_ppm = cell.errors.min(samples) * 1_000_000 / samples.max(1);
                windows.push(MergedWindow {
                    slo: u32::try_from(slo).unwrap_or(u32::MAX),
                    arm,
                    window: u64::from(cell.window),
                    breached: share_ppm > u64::from(objective.breach_share_ppm),
                    value_milli: i64::try_from(share_ppm / 1_000).unwrap_or(i64::MAX),
                    threshold_milli: i64::from(objective.breach_share_ppm / 1_000),
                    devices: cell.counts(),
                    samples,
                });
            }
        }
    }
    windows
}

fn for_core(state: &State, answer: &judge::Assessment, looks: judge::Looks, fleet: &Fleet) -> Evidence {
    let pauses = answer.advice == Advice::Pause;
    Evidence {
        attempt: state.attempt,
        stage: state.stage,
        verdict: match answer.advice {
            Advice::RollBack => Verdict::Degraded,
            Advice::Advance => Verdict::Healthy,
            Advice::Wait | Advice::Pause => Verdict::Undecided,
        },
        incident: answer.incident.as_ref().filter(|_| pauses).map(|i| i.sentence.clone()),
        pause: (pauses && answer.incident.is_none()).then(|| answer.sentence.clone()),
        hard_stop: answer.hard_stop.as_ref().map(|stop| match &stop.action {
            HardAction::RollBackAll => {
                HardStop::RollBackAll { reason: stop.sentence.clone(), statistics: stop.statistics.clone() }
            }
            HardAction::Quarantine(slots) => HardStop::Quarantine {
                devices: slots.iter().filter_map(|slot| fleet.id(*slot)).collect(),
                reason: stop.sentence.clone(),
            },
        }),
        coverage: match answer.coverage.met {
            true => Coverage::Met,
            false => Coverage::Missing(answer.coverage.sentence.clone()),
        },
        final_look: looks.is_final(),
        sentence: answer.sentence.clone(),
        statistics: answer.statistics.clone(),
        spent_ppb: answer.spent_ppb,
    }
}
