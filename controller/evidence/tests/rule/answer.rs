use std::cell::Cell;
use std::sync::LazyLock;

use modelfleet_evidence::{
    Facts, Measured, Names, Question, Wording, device_number, evidence, merged_window, put_names, stage_seed,
    verdict,
};
use modelfleet_judge::{
    Advice, Arm, Assessment, Counts, Few, FewKind, HardAction, HardRule, HardStop, Looks, OnBreach,
    SilenceRule, SloRule, SloVerdict, StageState, Verdict as Judged,
};
use modelfleet_protocol::draw::Target;
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{Fetch, Mode, Probation};
use modelfleet_protocol::selector::{Labels, Selector};
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{
    Amount, Approval, Coverage, Limits, OnUndecided, Policy, PolicyParts, RollbackPolicy, Stage, State,
    Verdict,
};

use super::{Made, OPENED, WINDOW_MS, canary, control, gathered, moment, stage};

pub fn rollout_stage(bake_ms: u64, min_windows: u32) -> Stage {
    Stage {
        name: "canary".into(),
        target: Target::Ppm(1_000_000),
        selector: Selector::default(),
        spread_by: Vec::new(),
        watch_by: Vec::new(),
        bake_ms,
        approval: Approval::Automatic,
        limits: Limits {
            max_failed: Amount::Ppm(50_000),
            max_unreachable: Amount::Ppm(500_000),
            min_devices: 3,
            min_windows,
            min_reporting_ppm: 800_000,
        },
        rollback_deadline_ms: 1_000,
        max_wait_ms: 1_000_000,
        mode: Mode::Live,
        margin_ppm: None,
        floors: Vec::new(),
    }
}

pub fn policy() -> Policy {
    let first = Stage { target: Target::Count(5), margin_ppm: Some(1_250_000), ..rollout_stage(60_000, 5) };
    let last = Stage { name: "full".into(), ..rollout_stage(60_000, 5) };
    Policy::new(PolicyParts {
        rollout: "r".into(),
        uid: "u".into(),
        version: "1.0.0".into(),
        set_aside: Vec::new(),
        stages: vec![first, last],
        on_undecided: OnUndecided::Hold,
        rollback: RollbackPolicy::Automatic,
        holdback_ppm: 0,
        probation: Probation { timeout_ms: 10_000, min_predictions: 1, max_errors: 5 },
        fetch: Fetch::default(),
        observe: Observe { window_ms: WINDOW_MS, ..Observe::default() },
        error_budget_ppm: 10_000,
        stale_after_ms: 300_000,
    })
    .unwrap()
}

#[test]
fn the_judge_is_asked_by_the_stage_and_the_budget_that_is_left() {
    let (policy, arms, stage) = (policy(), gathered(&[canary(1, OPENED), control(2)]), stage());
    let rules = [SloRule::statistical("errors", 50_000)];
    let asked = |stage_number: u32| {
        let state = State { attempt: 3, stage: stage_number, spent_ppb: 77, ..State::default() };
        let question = Question {
            policy: &policy,
            state: &state,
            before: &StageState::new(),
            rules: &rules,
            hard: HardRule::default(),
            silence: SilenceRule::default(),
            arms: &arms,
            windows: &stage,
            merged: &[],
            now: moment().now,
        };
        let answer = question.ask(|asked| {
            let observations = asked.observations;
            let margin = observations.slos[0].margin_ppm;
            (
                asked.place.to_owned(),
                margin,
                observations.budget,
                observations.needs,
                observations.seed,
                observations.looks,
            )
        });
        assert_eq!(answer.looks, answer.told.5);
        answer.told
    };
    let (place, margin, budget, needs, seed, looks) = asked(0);
    assert_eq!((place.as_str(), margin), ("r, attempt 3, canary", Some(1_250_000)));
    assert_eq!((budget.total_ppm, budget.spent_ppb, budget.stages_left), (10_000, 77, 2));
    assert_eq!((needs.min_devices, needs.min_windows, needs.min_reporting_ppm), (3, 5, 800_000));
    assert_eq!(looks, Looks { reached: 1, planned: 6 });
    let (place, margin, budget, _, other_seed, _) = asked(1);
    assert_eq!((place.as_str(), margin, budget.stages_left), ("r, attempt 3, full", None, 1));
    assert_ne!(seed, other_seed, "each stage has permutations of its own");
}

#[test]
fn numbers_and_seeds_stay_the_same_for_good() {
    // The first bytes of SHA-256 over `u/3/1` and `pump-000`.
    let state = State { attempt: 3, stage: 1, ..State::default() };
    assert_eq!(stage_seed("u", &state), 0xd991_8055_7fe8_4851);
    assert_eq!(device_number(&"pump-000".parse().unwrap()), 0x404c_8c7d);
}

#[test]
fn a_merged_window_is_beyond_its_bound_on_the_bad_side() {
    let breached = |value, bad_below| {
        let measured = Measured { value, threshold: 5_000, bad_below, samples: 9 };
        let window = merged_window(1, Arm::Control, 7, measured, Counts::new(4, 1));
        assert_eq!((window.slo, window.arm, window.window, window.samples), (1, Arm::Control, 7, 9));
        assert_eq!((window.value_milli, window.threshold_milli), (value as i64 / 1_000, 5));
        window.breached
    };
    assert_eq!([4_999, 5_000, 5_001].map(|value| breached(value, false)), [false, false, true]);
    assert_eq!([4_999, 5_000, 5_001].map(|value| breached(value, true)), [true, false, false]);
}

/// What the judge answers to a stage of ten canaries and twenty controls without a rule.
fn assessment() -> Assessment {
    let devices: Vec<Made> = (0..10).map(|n| canary(n, OPENED)).chain((10..30).map(control)).collect();
    let (policy, arms, stage) = (policy(), gathered(&devices), stage());
    let question = Question {
        policy: &policy,
        state: &State::default(),
        before: &StageState::new(),
        rules: &[],
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        arms: &arms,
        windows: &stage,
        merged: &[],
        now: moment().now,
    };
    question.ask(|_| ()).assessment
}

#[test]
fn only_what_is_shown_is_told_as_good_or_bad() {
    let advices = [Advice::RollBack, Advice::Advance, Advice::Wait, Advice::Pause];
    let told = advices.map(|advice| verdict(advice, Judged::Healthy));
    assert_eq!(told, [Verdict::Degraded, Verdict::Healthy, Verdict::Undecided, Verdict::Undecided]);
    let told = advices.map(|advice| verdict(advice, Judged::Exposed));
    assert_eq!(told, [Verdict::Degraded, Verdict::Exposed, Verdict::Undecided, Verdict::Undecided]);
    let arms = gathered(&[]);
    let names = Names { id: &|_| None, labels: &|_| None };
    let state = State { attempt: 2, stage: 1, ..State::default() };
    let looks = |reached| Looks { reached, planned: 6 };
    let pausing =
        Assessment { advice: Advice::Pause, sentence: "it is worse".into(), spent_ppb: 9, ..assessment() };
    let told = evidence(
        &state,
        &arms,
        looks(5),
        &pausing,
        &Wording { shared: "All 3 are a=b", set_aside: None, names },
    );
    assert_eq!((told.attempt, told.stage, told.spent_ppb, told.final_look), (2, 1, 9, false));
    assert_eq!(told.pause.as_deref(), Some("it is worse. All 3 are a=b"));
    assert_eq!((told.incident, told.hard_stop), (None, None));
    assert_eq!(told.coverage, Coverage::Met);
    let waiting = Assessment { advice: Advice::Wait, ..pausing };
    let told = evidence(&state, &arms, looks(6), &waiting, &Wording { shared: "", set_aside: None, names });
    assert_eq!((told.pause, told.final_look, told.sentence.as_str()), (None, true, "it is worse"));
}

#[test]
fn the_devices_to_set_aside_are_named_once_and_their_failure_by_its_name() {
    let failed =
        Facts { phase: Some(Phase::Failed), code: Some(FailureCode::LoadRefused), ..canary(1, OPENED).facts };
    let set_aside = Facts { member: false, set_aside: true, ..failed };
    let made = |facts, number| Made { facts, number, ..canary(number, Time::ZERO) };
    let arms = gathered(&[made(failed, 1), made(set_aside, 2), canary(3, OPENED)]);
    let code = FailureCode::LoadRefused as u16;
    let stop = HardStop {
        action: HardAction::Quarantine(vec![1, 2, 3]),
        failed: 2,
        attempted: 3,
        control_failed: 0,
        controls: 0,
        p_value_ppb: 0,
        threshold_ppb: 0,
        codes: vec![(code, 2)],
        sentence: format!("code {code} on 2 of 3"),
        statistics: String::new(),
    };
    let answer = Assessment { hard_stop: Some(stop), ..assessment() };
    let asked = Cell::new(0);
    let id = |subject: &modelfleet_evidence::Subject| {
        asked.set(asked.get() + 1);
        format!("pump-{}", subject.number).parse().ok()
    };
    let wording = Wording { shared: "", set_aside: None, names: Names { id: &id, labels: &|_| None } };
    let told = evidence(&State::default(), &arms, Looks { reached: 0, planned: 6 }, &answer, &wording);
    let expected = modelfleet_rollout::HardStop::Quarantine {
        devices: vec!["pump-1".parse().unwrap()],
        reason: "LoadRefused on 2 of 3".into(),
    };
    assert_eq!((told.hard_stop, asked.get()), (Some(expected), 1));
    assert_eq!(SilenceRule::default().on_breach, OnBreach::RollBack, "as the rest of this file takes it");
}

#[test]
fn a_watched_group_is_told_by_its_label() {
    let arms = gathered(&[canary(1, OPENED), canary(2, OPENED), control(3), control(4)]);
    let watched: Vec<_> = arms.outcomes().iter().map(|outcome| outcome.watched[1]).collect();
    assert_eq!(watched, [2, 1, 2, 1]);
    let kind = FewKind::Watched { label: 1, value: 2, canary: Counts::new(9, 3), control: Counts::new(9, 0) };
    let few = Some(Few { kind, found: true, canaries: 0, controls: 0, named: vec![] });
    let sentence = "too many errors in group 1/2: bad in 33 %".to_owned();
    let before = assessment();
    let record = SloVerdict { few, sentence: sentence.clone(), ..before.silence.clone().unwrap() };
    let mut answer = Assessment { per_slo: vec![record], sentence, ..before };
    let labels = |subject: &modelfleet_evidence::Subject| {
        let odd = subject.number % 2 == 1;
        Some(if odd { &*LABELS[0] } else { &*LABELS[1] })
    };
    let names = Names { id: &|_| None, labels: &labels };
    let stage = Stage { watch_by: vec!["site".into(), "firmware".into()], ..rollout_stage(60_000, 5) };
    put_names(&mut answer, &arms, names, &stage);
    let told = "too many errors where firmware=7.1: bad in 33 %";
    assert_eq!((answer.sentence.as_str(), answer.per_slo[0].sentence.as_str()), (told, told));
}

static LABELS: [LazyLock<Labels>; 2] = [
    LazyLock::new(|| [("firmware".to_owned(), "7.1".to_owned())].into()),
    LazyLock::new(|| [("firmware".to_owned(), "7.2".to_owned())].into()),
];
