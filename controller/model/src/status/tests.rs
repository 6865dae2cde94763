use std::collections::VecDeque;

use modelfleet_crds::{ModelVersionSpec, Rollout, RolloutSpec};
use modelfleet_protocol::draw::Target;
use modelfleet_protocol::membership::{Bound, Clause, Stratum};
use modelfleet_protocol::selector::{Operator, Requirement, Selector};
use modelfleet_rollout::{
    Breach, Cause, Drawn, Figures, Harm, Passed, PassedStage, Production, Rejection, Rollback, StageClock,
};

use super::trust::TrustReading;
use super::*;
use modelfleet_fleet::other_plan::Holds;
use modelfleet_fleet::wrong_clocks::Offset;
use modelfleet_spec::{Problem, validate};

fn north() -> Selector {
    Selector { match_labels: [("site".to_owned(), "north".to_owned())].into(), ..Selector::default() }
}

fn full_state() -> State {
    State {
        phase: Phase::RollingBack,
        attempt: 3,
        version: "1.2.0".into(),
        stage: 1,
        prior: Production::of_all("1.1.0").with(&north(), "1.1.1"),
        started_at: Some(Time(1_000)),
        stage_opened_at: Some(Time(2_000)),
        drawn: Some(Drawn { stage: 1, target: Target::AllBut(20_000), at: Time(2_000), set_aside: 0 }),
        clock: StageClock { banked_ms: 77, running_since: Some(Time(3_000)) },
        approval_asked_at: Some(Time(4_000)),
        phase_since: Time(5_000),
        harm: Some(Harm {
            at: Time(6_000),
            cause: Cause::HardStop,
            sentence: "2 of 5 failed".into(),
            statistics: "p = 0.001".into(),
        }),
        rollback: Some(Rollback {
            cause: Cause::HardStop,
            sentence: "2 of 5 \"failed\"".into(),
            by_person: true,
            started_at: Time(6_000),
            deadline: Time(9_000),
            overdue: true,
        }),
        breach_waived: true,
        breach: Some(Breach { at: Time(6_500), sentence: "7 of 9 are \"slow\"".into() }),
        alarm: Some(Breach { at: Time(6_600), sentence: "too many errors".into() }),
        quarantined: vec!["pump-001".parse().unwrap(), "pump-002".parse().unwrap()],
        promote_stale: Some("broad".into()),
        retry_token: Some("again".into()),
        rejection: Some(Rejection { at: Some(Time(5_500)), lifted: true }),
        spent_ppb: 123_456,
        passed: vec![PassedStage {
            name: "canary".into(),
            opened_at: Time(1_500),
            passed_at: Time(1_900),
            how: Passed::OnTrust,
        }],
        figures: Figures {
            first_exposed_at: Some(Time(1_600)),
            exposed_devices: 12,
            detected_at: Some(Time(6_000)),
            safe_at: None,
            to_follow: 1,
            ended_at: None,
        },
        log: VecDeque::from([LogEntry {
            at: Time(6_000),
            stage: "early-adopter".into(),
            kind: EventKind::RollbackStarted,
            message: "takes 1.2.0 back".into(),
        }]),
    }
}

fn membership() -> Membership {
    let clause = |spread_by: &[&str], strata: &[(&[&str], u64)], other| Clause {
        selector: Selector {
            match_labels: [("site".to_owned(), "north".to_owned())].into(),
            match_expressions: vec![Requirement {
                key: "age".into(),
                operator: Operator::NotIn,
                values: vec!["x".into()],
            }],
        },
        spread_by: spread_by.iter().map(ToString::to_string).collect(),
        strata: strata
            .iter()
            .map(|(key, below)| Stratum {
                key: key.iter().map(ToString::to_string).collect(),
                below: Bound(*below),
            })
            .collect(),
        other_below: Bound(other),
        devices: vec!["pump-007".parse().unwrap()],
        ranks: String::from("AAAAAAAH________").try_into().unwrap(),
    };
    Membership {
        salt: "uid/3".into(),
        clauses: vec![
            clause(&["age"], &[(&["new"], 5), (&["old"], u64::MAX)], 4),
            clause(&["age", "load"], &[(&["", ""], 9)], 0),
            clause(&[], &[(&[], 9)], 3),
            clause(&[], &[(&[], 9)], 0),
        ],
        exclude: vec![],
    }
}

fn valid() -> (Rollout, Valid) {
    let mut rollout = Rollout::new("r", RolloutSpec::new("m", "1.2.0"));
    rollout.metadata.uid = Some("uid".into());
    let valid = validate(&rollout, None::<&ModelVersionSpec>).unwrap();
    (rollout, valid)
}

fn told(state: State, before: Option<&RolloutStatus>, now: Time) -> RolloutStatus {
    told_of(state, before, now, None)
}

fn told_of(
    state: State,
    before: Option<&RolloutStatus>,
    now: Time,
    seen: Option<FleetNumbers<'_>>,
) -> RolloutStatus {
    let (_, valid) = valid();
    let memory = Memory { judged: (state.attempt, state.stage), state, judge: "judge1;0".into() };
    let inputs = StatusInputs {
        valid: &valid,
        memory: &memory,
        membership: &membership(),
        reasons: &[],
        fleet: seen,
        answer: None,
        watched: None,
        plan: Some((4, 17)),
        restored: false,
        generation: Some(2),
        now,
    };
    status_from(&inputs, before)
}

#[test]
fn what_decides_comes_back_from_the_status_exactly() {
    let status = told(full_state(), None, Time(7_000));
    let wire: RolloutStatus = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
    let (memory, drawn) = recall(Some(&wire));
    assert_eq!(memory.state, full_state());
    assert_eq!((memory.judge.as_str(), memory.judged), ("judge1;0", (3, 1)));
    assert_eq!(drawn, Some(membership()));
    let phases = [
        Phase::Queued,
        Phase::Refused,
        Phase::Succeeded,
        Phase::RolledBack,
        Phase::AwaitingApproval,
        Phase::Paused(PauseCause::SloBreach),
        Phase::Paused(PauseCause::ApprovalTimedOut),
        Phase::Paused(PauseCause::InvalidSpec),
    ];
    for phase in phases {
        let state = State { phase, ..State::default() };
        assert_eq!(recall(Some(&told(state.clone(), None, Time(1)))).0.state, state, "{phase:?}");
    }
}

#[test]
fn the_largest_memory_fits_its_field() {
    let mut state = full_state();
    state.quarantined = (0..64).map(|i| format!("{i:0>64}").parse().unwrap()).collect();
    // Quotes take two bytes each where the text is written.
    state.harm.as_mut().unwrap().sentence = "\"".repeat(320);
    state.harm.as_mut().unwrap().statistics = "\"".repeat(200);
    state.rollback.as_mut().unwrap().sentence = "\"".repeat(320);
    let memory = Memory { state, judge: "x".repeat(1_200), judged: (1, 1) };
    assert!(memory.to_text().len() <= 8_192, "{}", memory.to_text().len());
}

#[test]
fn a_memory_that_is_too_large_loses_sentences_before_anything_that_decides() {
    let mut state = full_state();
    state.quarantined = (0..64).map(|i| format!("{i:0>64}").parse().unwrap()).collect();
    // In JSON each character takes two.
    let sentence = "\"".repeat(2_000);
    state.harm = state.harm.map(|harm| Harm { sentence: sentence.clone(), ..harm });
    state.rollback = state.rollback.map(|back| Rollback { sentence: sentence.clone(), ..back });
    assert!(state.harm.is_some() && state.rollback.is_some());
    for judge in [1_200, 20_000] {
        let memory = Memory { state: state.clone(), judge: "x".repeat(judge), judged: (1, 1) };
        let text = memory.to_text();
        assert!(text.chars().count() <= 8_192, "{}", text.chars().count());
        let way_back = told(state.clone(), None, Time(7_000)).way_back;
        let read = Memory::read(&text, &[], way_back.as_deref()).unwrap();
        assert_eq!((read.state.phase, read.state.quarantined), (state.phase, state.quarantined.clone()));
        assert_eq!(read.judge == memory.judge, judge == 1_200);
        let told = modelfleet_judge::StageState::from_text(&read.judge);
        assert!(judge == 1_200 || told.is_err(), "the judge does not take it for a text of its own");
    }
}

#[test]
fn a_damaged_status_starts_anew_instead_of_guessing() {
    let mut status = told(full_state(), None, Time(7_000));
    for text in ["", "modelfleet2 {", "modelfleet2 {}", "modelfleet9 {}", "judge1;0"] {
        status.judge.as_mut().unwrap().state = text.into();
        assert_eq!(recall(Some(&status)).0.state, State::default(), "{text}");
    }
}

#[test]
fn times_of_conditions_change_with_their_status_only() {
    let first = told(full_state(), None, Time(7_000));
    let later = told(full_state(), Some(&first), Time(99_000));
    assert_eq!(first.conditions, later.conditions);
    assert!(first.conditions.iter().all(|c| c.observed_generation == Some(2)));
    assert_eq!(first.conditions.len(), 7);
    let ended = told(State { phase: Phase::RolledBack, ..full_state() }, Some(&later), Time(99_000));
    let changed: Vec<&str> = ended
        .conditions
        .iter()
        .filter(|c| c.last_transition_time == to_k8s(Time(99_000)))
        .map(|c| c.type_.as_str())
        .collect();
    assert_eq!(changed, ["Progressing", "RolledBack"]);
    assert!(differs_in_substance(&later, &ended) && !differs_in_substance(&first, &later));
}

#[test]
fn a_problem_stalls_and_keeps_everything_else() {
    let before = told(full_state(), None, Time(7_000));
    let problem = Problem::spec("spec.slos[0].metric", "needs a reference profile");
    let after = problem::tell_problem(&problem, Some(&before), Some(3), Time(8_000));
    assert_eq!((&after.judge, &after.membership), (&before.judge, &before.membership));
    let stalled = after.conditions.iter().find(|c| c.type_ == "Stalled").unwrap();
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "InvalidSpec"));
    assert!(stalled.message.contains("spec.slos[0].metric"));
    assert_eq!(after.observed_generation, Some(3));
}

#[test]
fn a_refused_status_keeps_what_decides() {
    let full = told(full_state(), None, Time(7_000));
    let least = problem::minimal(full.clone());
    let (memory, drawn) = recall(Some(&least));
    let (whole, whole_drawn) = recall(Some(&full));
    assert_eq!((State { log: whole.state.log.clone(), ..memory.state }, drawn), (whole.state, whole_drawn));
    assert_eq!((least.epoch, least.plan_revision), (Some(4), Some(17)));
    assert_eq!((&least.conditions, least.phase), (&full.conditions, full.phase));
    assert!(least.verdicts.is_empty() && least.decisions.is_empty() && least.failures.is_empty());
}

#[test]
fn a_device_that_nothing_is_known_of_is_not_back() {
    let remaining = |safe_at: Option<Time>, view: FleetView| {
        let figures = Figures { exposed_devices: 5, safe_at, ..full_state().figures };
        let state = State { phase: Phase::RolledBack, figures, ..full_state() };
        let (omitted, other_plan) = (Omitted::default(), OtherPlan::default());
        let seen = FleetNumbers {
            view: &view,
            eligible: 0,
            online: 0,
            failures: &[],
            omitted: &omitted,
            wrong_clocks: &WrongClocks::default(),
            plan_order: None,
            other_plan: &other_plan,
            trust: &TrustReading::default(),
        };
        told_of(state, None, Time(9_000), Some(seen)).rollback.unwrap().remaining
    };
    let forgotten = FleetView::default();
    assert_eq!(remaining(None, forgotten), 5, "the broker has lost its memory");
    assert_eq!(remaining(None, FleetView { exposed_ever: 3, still_exposed: 1, ..forgotten }), 3);
    assert_eq!(remaining(None, FleetView { exposed_ever: 5, still_exposed_unreachable: 4, ..forgotten }), 4);
    assert_eq!(remaining(None, FleetView { exposed_ever: 4, unmarked: 1, ..forgotten }), 0);
    assert_eq!(remaining(Some(Time(8_000)), forgotten), 0, "all were back before");
}

#[test]
fn a_stand_in_for_the_spec_leaves_no_trace() {
    let mut before = told(State { phase: Phase::Progressing, ..full_state() }, None, Time(7_000));
    before.judge.as_mut().unwrap().error_budget_ppm = 123;
    before.margins = vec![field::StageMargin {
        stage: "canary".into(),
        margin_ppm: 2_000_000,
        basis: field::MarginBasis::User,
    }];
    let (rollout, _) = valid();
    let valid = modelfleet_spec::stand_in(&rollout, 2);
    let state = State { phase: Phase::Paused(PauseCause::InvalidSpec), ..full_state() };
    let memory = Memory { judged: (state.attempt, state.stage), state, judge: "judge1;0".into() };
    let inputs = StatusInputs {
        valid: &valid,
        memory: &memory,
        membership: &membership(),
        reasons: &[],
        fleet: None,
        answer: None,
        watched: None,
        plan: None,
        restored: false,
        generation: Some(2),
        now: Time(8_000),
    };
    let after = problem::beside_stand_in(status_from(&inputs, Some(&before)), Some(&before));
    assert_eq!((&after.margins, &after.membership), (&before.margins, &before.membership));
    assert_eq!(after.judge.as_ref().unwrap().error_budget_ppm, 123);
    assert_eq!(after.stage.as_ref().map(|s| &s.name), before.stage.as_ref().map(|s| &s.name));
    assert_eq!((after.phase, after.plan_revision), (Some(field::RolloutPhase::Stalled), Some(17)));
}

#[test]
fn the_verdict_on_silence_has_a_name_that_no_objective_can_have() {
    use modelfleet_judge::{Budget, HardRule, Looks, Needs, Observations, SilenceRule, StageState, assess};
    let evidence = Observations {
        slos: &[],
        devices: &[],
        merged: &[],
        needs: Needs::default(),
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
        looks: Looks { reached: 1, planned: 6 },
        seed: 1,
    };
    let (_, valid) = valid();
    let told = verdicts::verdicts(&valid, &assess(&evidence, &StageState::new()), &[], &[], Time(1));
    assert!(told.iter().all(|verdict| verdict.slo == "(silence)"), "{told:?}");
    assert!(!told.is_empty());
}

#[test]
fn devices_that_do_not_take_the_plan_are_a_condition_until_they_do() {
    let (_, valid) = valid();
    let memory = Memory { judged: (1, 0), state: full_state(), judge: String::new() };
    let (view, drawn) = (modelfleet_rollout::FleetView::default(), membership());
    let said = |other_plan: &OtherPlan, before: Option<&RolloutStatus>| {
        let omitted = Omitted::default();
        let seen = FleetNumbers {
            view: &view,
            eligible: 40,
            online: 40,
            failures: &[],
            omitted: &omitted,
            wrong_clocks: &WrongClocks::default(),
            plan_order: None,
            other_plan,
            trust: &TrustReading::default(),
        };
        let inputs = StatusInputs {
            valid: &valid,
            memory: &memory,
            membership: &drawn,
            reasons: &[],
            fleet: Some(seen),
            answer: None,
            watched: None,
            plan: None,
            generation: None,
            restored: false,
            now: Time(1),
        };
        status_from(&inputs, before)
    };
    let found = |status: &RolloutStatus| {
        let found = status.conditions.iter().find(|c| c.type_ == "PlanNotTaken");
        found.map(|c| (c.status.clone(), c.message.clone()))
    };
    let well = OtherPlan::default();
    assert_eq!(found(&said(&well, None)), None);
    let mut ill = OtherPlan::default();
    let numbers = |i| if i < 12 { Holds::Other((85, 192)) } else { Holds::Newest };
    (0..40).for_each(|i| ill.note(&format!("d{i:02}").parse().unwrap(), numbers(i)));
    let told = said(&ill, None);
    let (status, message) = found(&told).unwrap();
    assert!(
        status == "True" && message.starts_with("12 of 40 connected devices still hold plan 85/192"),
        "{message}"
    );
    assert!(message.contains("d00, d01, d02"), "{message}");
    assert_eq!(found(&said(&well, Some(&told))), Some(("False".to_owned(), String::new())));
    ill.note(&"d40".parse().unwrap(), Holds::Later((97, 1)));
    let (_, message) = found(&said(&ill, None)).unwrap();
    assert!(
        message.starts_with(
            "1 of 41 connected devices have taken plans of a later controller (epoch 97 at most)"
        ) && message.contains("for example d40")
            && message.ends_with("--epoch-above=97."),
        "{message}"
    );
}

#[test]
fn wrong_clocks_are_a_condition_until_they_are_right() {
    let (_, valid) = valid();
    let memory = Memory { judged: (1, 0), state: full_state(), judge: String::new() };
    let (view, drawn) = (modelfleet_rollout::FleetView::default(), membership());
    let said = |wrong_clocks: &WrongClocks, before: Option<&RolloutStatus>| {
        let (omitted, other_plan) = (Omitted::default(), OtherPlan::default());
        let seen = FleetNumbers {
            view: &view,
            eligible: 40,
            online: 40,
            failures: &[],
            omitted: &omitted,
            wrong_clocks,
            plan_order: None,
            other_plan: &other_plan,
            trust: &TrustReading::default(),
        };
        let inputs = StatusInputs {
            valid: &valid,
            memory: &memory,
            membership: &drawn,
            reasons: &[],
            fleet: Some(seen),
            answer: None,
            watched: None,
            plan: None,
            generation: None,
            restored: false,
            now: Time(1),
        };
        status_from(&inputs, before)
    };
    let found = |status: &RolloutStatus| {
        let found = status.conditions.iter().find(|c| c.type_ == "ClocksWrong");
        found.map(|c| (c.status.clone(), c.message.clone()))
    };
    let right = WrongClocks::default();
    assert_eq!(found(&said(&right, None)), None);
    let day_ms = 86_400_000;
    let one = |name: &str, offset| (name.parse().unwrap(), offset);
    let named =
        vec![one("pump-1", Offset::Ahead(3 * day_ms + 5)), one("pump-2", Offset::Behind(90 * 60_000))];
    let told = said(&WrongClocks { count: 2, named: named.clone() }, None);
    assert_eq!(
        found(&told),
        Some((
            "True".to_owned(),
            "The clocks of 2 devices are wrong: pump-1 is 3 days ahead, pump-2 is 1 hour behind. What runs there goes on, and \
             nothing new starts by a plan that has ended by the device's clock; set these clocks."
                .to_owned()
        ))
    );
    let (_, message) = found(&said(&WrongClocks { count: 9, named }, None)).unwrap();
    assert!(message.contains("1 hour behind, and more. What"), "{message}");
    assert_eq!(found(&said(&right, Some(&told))), Some(("False".to_owned(), String::new())));
}

#[test]
fn a_plan_that_is_not_renewed_in_time_is_a_condition_until_it_is() {
    let (_, valid) = valid();
    let memory = Memory { judged: (1, 0), state: full_state(), judge: String::new() };
    let (view, drawn) = (modelfleet_rollout::FleetView::default(), membership());
    let day_ms = 86_400_000;
    let order = Order { epoch: 9, revision: 4, issued: Time(day_ms), expires: Time(8 * day_ms) };
    let said = |now: Time, before: Option<&RolloutStatus>| {
        let (omitted, other_plan) = (Omitted::default(), OtherPlan::default());
        let seen = FleetNumbers {
            view: &view,
            eligible: 40,
            online: 40,
            failures: &[],
            omitted: &omitted,
            wrong_clocks: &WrongClocks::default(),
            plan_order: Some(order),
            other_plan: &other_plan,
            trust: &TrustReading::default(),
        };
        let inputs = StatusInputs {
            valid: &valid,
            memory: &memory,
            membership: &drawn,
            reasons: &[],
            fleet: Some(seen),
            answer: None,
            watched: None,
            plan: None,
            generation: None,
            restored: false,
            now,
        };
        status_from(&inputs, before)
    };
    let found = |status: &RolloutStatus| {
        let found = status.conditions.iter().find(|c| c.type_ == "PlanNotRenewed");
        found.map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
    };
    assert_eq!(found(&said(Time(6 * day_ms), None)), None, "five of seven days");
    let told = said(Time(7 * day_ms), None);
    let (status, reason, message) = found(&told).unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("True", "PlanOld"));
    assert!(
        message.starts_with("Plan 9/4 was issued 6 days ago and ends in 1 day. Plans are renewed"),
        "{message}"
    );
    let (_, _, message) = found(&said(Time(9 * day_ms), None)).unwrap();
    assert!(message.starts_with("Plan 9/4 ended 1 day ago, so devices start nothing"), "{message}");
    assert_eq!(found(&said(Time(2 * day_ms), Some(&told))).unwrap().0, "False");
}

/// One condition more than the schema has room for, and the API server takes no status at all.
#[test]
fn the_schema_has_room_for_every_condition() {
    let (_, valid) = valid();
    let core = modelfleet_rollout::conditions(&valid.policy, &State::default(), &[]).len();
    let most = (core + fleet_conditions::KINDS.len() + [RESTORED].len()) as u64;
    let definitions = modelfleet_crds::definitions::all();
    let kinds = definitions.iter().map(|definition| serde_json::to_value(definition).unwrap());
    let pointer = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/conditions/maxItems";
    let room: Vec<u64> = kinds.filter_map(|kind| kind.pointer(pointer)?.as_u64()).collect();
    assert!(room.len() == 3 && room.iter().all(|room| most <= *room), "{most} conditions, room for {room:?}");
}
