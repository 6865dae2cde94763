//! Laws, on random worlds: any state, any counts, any wish, any judgement.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::selector::Selector;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{
    Action, Alarm, AlarmAction, Approval, Coverage, Decision, Drawn, Evidence, Figures, FleetView, HardStop,
    Intent, OnUndecided, PauseCause, Phase, Production, Queue, ReasonCode, RollbackPolicy, State, Verdict,
    VersionFact, plan_view,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use world::{BEGIN, MINUTE, World};

fn phase() -> impl Strategy<Value = Phase> {
    use PauseCause as C;
    let causes = [
        C::User,
        C::Incident,
        C::SloBreach,
        C::TooManyFailed,
        C::ContactLost,
        C::Undecided,
        C::ApprovalTimedOut,
        C::Degraded,
        C::InvalidSpec,
    ];
    prop_oneof![
        1 => Just(Phase::Queued),
        1 => Just(Phase::Refused),
        3 => Just(Phase::Progressing),
        1 => Just(Phase::AwaitingApproval),
        3 => prop::sample::select(causes.to_vec()).prop_map(Phase::Paused),
        1 => Just(Phase::RollingBack),
        1 => Just(Phase::RolledBack),
        1 => Just(Phase::Succeeded),
    ]
}

fn counts() -> impl Strategy<Value = FleetView> {
    let count = || prop_oneof![Just(0_u64), 0..300_u64, Just(u64::MAX)];
    let all = prop::collection::vec(count(), 24);
    (prop::option::of(0..4_u32), all).prop_map(|(drawn, n)| FleetView {
        drawn,
        matching: n[0],
        members: n[1],
        eligible: n[2],
        reachable: n[3],
        offered: n[4],
        downloaded: n[5],
        activated: n[6],
        confirmed: n[7],
        failed: n[8],
        incompatible: n[9],
        silent_after_activation: n[10],
        unreachable: n[11],
        still_exposed: n[12],
        still_exposed_unreachable: n[13],
        exposed_ever: n[14],
        still_exposed_mute: n[15],
        unasked: n[16],
        unproven: n[17],
        unable: n[18],
        unmarked: n[19],
        lost: n[20],
        others: n[21],
        others_lost: n[22],
        own_trouble: n[23],
        ..FleetView::default()
    })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let verdict = prop_oneof![
        Just(Verdict::Healthy),
        Just(Verdict::Exposed),
        Just(Verdict::Undecided),
        Just(Verdict::Degraded)
    ];
    let said = || prop::option::weighted(0.2, Just("something".to_owned()));
    let devices: Vec<DeviceId> = vec!["b".parse().unwrap(), "a".parse().unwrap(), "b".parse().unwrap()];
    let stop = prop::option::weighted(
        0.2,
        prop_oneof![
            Just(HardStop::RollBackAll { reason: "loads nowhere".to_owned(), statistics: String::new() }),
            Just(HardStop::Quarantine { devices, reason: "these only".to_owned() }),
        ],
    );
    let coverage = prop_oneof![Just(Coverage::Met), Just(Coverage::default())];
    (0..3_u32, 0..4_u32, verdict, said(), said(), stop, coverage, any::<u64>()).prop_map(
        |(attempt, stage, verdict, incident, pause, hard_stop, coverage, spent_ppb)| Evidence {
            attempt,
            stage,
            verdict,
            incident,
            pause,
            hard_stop,
            coverage,
            cures: spent_ppb % 2 == 0,
            final_look: false,
            sentence: "\u{e9}".repeat(400),
            statistics: String::new(),
            spent_ppb,
            alarm: alarm(spent_ppb / 2),
        },
    )
}

/// None, or one of each action.
fn alarm(number: u64) -> Option<Alarm> {
    use AlarmAction as A;
    let action =
        [A::Observe, A::Notify, A::Pause, A::RollBack, A::Retrain].get(usize::try_from(number % 10).ok()?)?;
    Some(Alarm { sentence: "something drifts".to_owned(), action: *action })
}

fn intent() -> impl Strategy<Value = Intent> {
    let version = prop_oneof![
        6 => Just(VersionFact::Verified),
        1 => Just(VersionFact::Missing),
        1 => Just(VersionFact::Registered),
        1 => Just(VersionFact::Unverifiable("digest".to_owned())),
        1 => Just(VersionFact::Production),
        1 => Just(VersionFact::Archived),
        1 => Just(VersionFact::Forbidden("below the floor".to_owned())),
        2 => Just(VersionFact::Rejected { reason: "harm".to_owned(), at: BEGIN }),
    ];
    let name = || prop::option::of(prop::sample::select(vec!["canary", "early", "broad", "full", "no"]));
    let token = prop::option::of(prop::sample::select(vec!["a".to_owned(), "b".to_owned()]));
    let flag = |p| prop::bool::weighted(p);
    let queue = any::<bool>().prop_map(|active| Queue { behind: "other".to_owned(), active, position: 1 });
    let queue = prop::option::weighted(0.1, queue);
    let unreadable = prop::option::weighted(0.1, Just("spec.slos: cannot work".to_owned()));
    let heard = prop::option::weighted(0.9, 0..100_u64);
    let facts = (version, queue, flag(0.1), unreadable, flag(0.1));
    (flag(0.2), flag(0.2), name(), token, facts, flag(0.8), flag(0.9), heard).prop_map(
        |(
            paused,
            abort,
            promote,
            retry_token,
            (version, queue, deleted, unreadable, prior_forbidden),
            broker,
            complete,
            heard,
        )| {
            let mut intent = World::new().intent;
            intent.paused = paused;
            intent.abort = abort;
            intent.promote = promote.map(str::to_owned);
            intent.retry_token = retry_token;
            let facts = &mut intent.facts;
            (facts.version, facts.queue, facts.deleted) = (version, queue, deleted);
            facts.unreadable = unreadable;
            facts.prior_forbidden =
                if prior_forbidden { "below the floor".to_owned() } else { String::new() };
            (facts.broker_connected, facts.view_complete) = (broker, complete);
            facts.heard_at = heard.map(|m| Time(BEGIN.0 - m * MINUTE));
            intent
        },
    )
}

prop_compose! {
    /// A world whose status anybody may have written.
    fn any_world()(
        phase in phase(), fleet in counts(), evidence in evidence(), intent in intent(),
        stage in prop_oneof![0..4_u32, Just(u32::MAX)], attempt in 0..3_u32, opened in prop::option::of(0..60_u64),
        drawn in prop::option::of((0..4_u32, 0..3_u64)), running in prop::option::of(0..60_u64),
        harmed in prop::bool::weighted(0.1), on_undecided in 0..3_u8, manual in any::<bool>(),
        approval in any::<bool>(), asked in prop::option::of(0..60_u64), holdback in prop_oneof![Just(0), Just(20_000)],
        waived in any::<bool>(), prior in any::<bool>(), produced in 0..3_u8, for_some in any::<bool>(),
    ) -> World {
        let mut world = World::new();
        let ago = |minutes: u64| Time(BEGIN.0 - minutes * MINUTE);
        world.parts.on_undecided = [OnUndecided::Hold, OnUndecided::Promote, OnUndecided::RollBack][usize::from(on_undecided)];
        world.parts.rollback = if manual { RollbackPolicy::Manual } else { RollbackPolicy::Automatic };
        world.parts.holdback_ppm = holdback;
        if approval {
            world.parts.stages[0].approval = Approval::Required { timeout_ms: Some(30 * MINUTE) };
            world.parts.stages[2].approval = Approval::Required { timeout_ms: None };
        }
        let north = Selector { match_labels: [("site".into(), "north".into())].into(), ..Selector::default() };
        if for_some {
            world.parts.stages.iter_mut().for_each(|stage| stage.selector = north.clone());
        }
        let policy = world.policy();
        let state = &mut world.state;
        *state = State { phase, attempt, stage, version: "1.1.0".to_owned(), ..State::default() };
        state.stage_opened_at = opened.map(ago);
        state.drawn = drawn.map(|(stage, at)| Drawn { stage, target: policy.target(stage), at: ago(at), set_aside: 0 });
        state.clock.running_since = running.map(ago);
        state.approval_asked_at = asked.map(ago);
        state.breach_waived = waived;
        state.prior = if prior { Production::of_all("1.0.0") } else { Production::default() };
        if harmed {
            state.harm = Some(modelfleet_rollout::Harm {
                at: BEGIN, cause: modelfleet_rollout::Cause::Degraded, sentence: "harm".to_owned(),
                statistics: String::new(),
            });
        }
        state.figures = Figures::default();
        (world.fleet, world.evidence, world.intent) = (fleet, evidence, intent);
        // What any life, ended between any two writes, can leave in production.
        let before = Production::of_all("1.0.0");
        world.intent.facts.production = match (&world.intent.facts.version, produced) {
            (VersionFact::Production, 0) => Production::of_all("1.1.0"),
            (VersionFact::Production, 1) => before.with(&north, "1.1.0"),
            (VersionFact::Production, _) => Production::of_all("1.1.0").with(&north, "1.0.0"),
            (_, 0) => Production::default(),
            (_, _) => before,
        };
        world
    }
}

fn forward(decision: &Decision) -> bool {
    decision.actions.iter().any(|a| matches!(a, Action::OpenStage { .. } | Action::Promote { .. }))
}

/// A quiet world in the first stage, one minute after it opened.
fn in_canary() -> World {
    let mut world = World::new();
    let _ = world.decide();
    world.pass(MINUTE);
    let _ = world.decide();
    world.confirm(5);
    world
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        // Every seed that ever failed is kept and tried first.
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/laws.seeds"
        )))),
        ..ProptestConfig::default()
    })]

    /// Total: with debug assertions a broken invariant panics, so this holds all of them.
    #[test]
    fn any_input_gets_an_answer(world in any_world()) {
        let decision = world.look();
        prop_assert!(!decision.reasons.is_empty());
        prop_assert!(decision.reasons.iter().all(|r| r.message.len() <= 600 && !r.message.is_empty()));
        prop_assert!(decision.reasons.iter().all(|r| r.code != ReasonCode::BrokenInvariant));
    }

    #[test]
    fn the_same_input_gets_the_same_answer(world in any_world()) {
        prop_assert_eq!(world.look(), world.look());
    }

    #[test]
    fn deciding_twice_on_an_unchanged_world_acts_once(world in any_world()) {
        let mut world = world;
        let first = world.look();
        world.state = first.state.clone();
        let second = world.look();
        prop_assert_eq!(&second.actions, &vec![], "after {:?}", first);
        prop_assert_eq!(second.state, first.state);
    }

    /// Dead after any of its actions, before the state was stored: the repetition comes to the same end.
    #[test]
    fn a_state_that_was_not_stored_is_decided_again(world in any_world(), later in 0..3_u64) {
        // What was opened or drawn in this very moment is not looked at before the next one.
        let state = &world.state;
        let just_now = [state.stage_opened_at, state.drawn.map(|drawn| drawn.at)].contains(&Some(world.now));
        let later = if just_now { 0 } else { later };
        let mut whole = world.clone();
        let first = whole.decide();
        whole.settle();
        for done in 0..=first.actions.len() {
            let mut again = world.clone();
            // Who is drawn is stored with the state, and lost with it.
            let kept = first.actions[..done].iter().filter(|a| !matches!(a, Action::OpenStage { .. }));
            kept.for_each(|action| again.carry_out(action));
            again.now = again.now.after_ms(later);
            let _ = again.decide();
            again.settle();
            let (a, b) = (again.end(), whole.end());
            prop_assert_eq!(a, b, "after {} of {:?}", done, first.actions);
        }
    }

    #[test]
    fn abort_reaches_the_way_back_from_every_phase_that_has_not_ended(world in any_world()) {
        let mut world = world;
        world.intent.abort = true;
        prop_assume!(!world.state.phase.is_terminal());
        let phase = world.look().state.phase;
        prop_assert!(matches!(phase, Phase::RollingBack | Phase::RolledBack));
    }

    #[test]
    fn what_is_looked_at_again_is_looked_at_later(world in any_world()) {
        let decision = world.look();
        match decision.wake_at {
            Some(at) => prop_assert!(at > world.now),
            None => prop_assert!(decision.state.phase.is_terminal()),
        }
    }

    #[test]
    fn more_failures_never_advance(world in any_world(), more in 1..1000_u64) {
        let before = world.look();
        let mut world = world;
        world.fleet.failed = world.fleet.failed.saturating_add(more);
        let after = world.look();
        prop_assert!(after.state.stage <= before.state.stage || after.state.attempt < before.state.attempt);
        let succeeds = |d: &Decision| d.state.phase == Phase::Succeeded;
        prop_assert!(!succeeds(&after) || succeeds(&before));
    }

    /// The counts of an earlier look are enough to go back or to stand still by, and for nothing else.
    #[test]
    fn nothing_goes_forward_or_ends_by_the_counts_of_an_earlier_look(world in any_world()) {
        let mut world = world;
        // A state that was never written begins anew.
        world.state.attempt = world.state.attempt.max(1);
        world.intent.facts.counts_are_old = true;
        let decision = world.look();
        prop_assert!(!forward(&decision), "{:?}", decision);
        let (before, after) = (world.state.phase, decision.state.phase);
        let replaced = world.intent.facts.queue.as_ref().is_some_and(|queue| queue.active);
        let ends = before.is_active() && after == Phase::RolledBack;
        prop_assert!(!ends || replaced, "the way back ends by a look of its own: {:?}", decision);
        if !after.is_terminal() {
            prop_assert_eq!(decision.wake_at, Some(world.now.after_ms(1)), "which follows at once");
        }
    }

    #[test]
    fn nothing_goes_forward_on_what_is_not_seen(world in any_world()) {
        let mut world = world;
        world.intent.facts.broker_connected = false;
        let decision = world.look();
        prop_assert!(!forward(&decision));
        // Nor back, unless a person says so or harm was known before.
        let ordered = world.intent.abort || world.intent.facts.deleted || world.state.harm.is_some()
            || matches!(world.intent.facts.version, VersionFact::Rejected { .. });
        let back = decision.actions.iter().any(|a| matches!(a, Action::MarkRejected { .. }));
        prop_assert!(!back || ordered);
    }

    #[test]
    fn unknown_is_never_healthy(world in any_world()) {
        let policy = world.policy();
        let mut world = world;
        world.state.attempt = world.state.attempt.max(1);
        world.state.stage_opened_at = world.state.stage_opened_at.or(Some(Time(1)));
        world.evidence.verdict = Verdict::Undecided;
        world.intent.promote = None;
        world.parts.on_undecided = OnUndecided::Hold;
        let decision = world.look();
        let same = decision.state.attempt == world.state.attempt;
        let stage = world.state.stage.min(policy.last_stage());
        prop_assert!(!same || !world.state.phase.is_active() || decision.state.stage == stage);
        let production = decision.actions.iter().any(|a| matches!(a, Action::Promote { .. }));
        prop_assert!(!production);
    }

    /// Whatever is seen and however late it is: a way back ends only when somebody is back, or nobody is left to come back.
    #[test]
    fn no_way_back_ends_while_nobody_is_back(world in any_world(), had in 1..300_u64) {
        let mut world = world;
        world.state.phase = Phase::RollingBack;
        world.state.attempt = world.state.attempt.max(1);
        world.state.figures.exposed_devices = had;
        world.intent.facts.queue = None;
        let after = world.look().state;
        let (fleet, figures) = (&world.fleet, &after.figures);
        let somebody = fleet.back().saturating_add(fleet.unmarked) > 0;
        let ended = after.phase == Phase::RolledBack;
        prop_assert!(!ended || somebody || fleet.out_of_reach(figures.exposed_devices) == 0);
        prop_assert!(figures.safe_at.is_none() || fleet.out_of_reach(figures.exposed_devices) == 0);
    }

    /// A random life: after Degraded nothing goes forward in the attempt, and its stage only grows before.
    #[test]
    fn a_life_never_advances_after_harm(
        steps in prop::collection::vec((counts(), evidence(), intent(), 0..20_u64), 1..30),
        manual in any::<bool>(),
    ) {
        let mut world = World::new();
        world.parts.rollback = if manual { RollbackPolicy::Manual } else { RollbackPolicy::Automatic };
        let policy = world.policy();
        let mut harmed_in = None;
        for (fleet, evidence, intent, minutes) in steps {
            let drawn = world.fleet.drawn;
            world.fleet = FleetView { drawn, ..fleet };
            world.evidence = evidence;
            world.intent = Intent { facts: intent.facts.clone(), ..intent };
            world.now = world.now.after_ms(minutes * MINUTE);
            if world.heard {
                world.intent.facts.heard_at = Some(world.now);
            }
            let before = world.state.clone();
            let decision = world.decide();
            let after = &world.state;
            let same = before.attempt == after.attempt;
            prop_assert!(!same || after.stage >= before.stage);
            if harmed_in == Some(after.attempt) {
                prop_assert!(!forward(&decision));
                prop_assert!(!plan_view(&policy, after).admit);
            }
            if after.harm.is_some() {
                harmed_in = Some(after.attempt);
            }
        }
    }

    /// While the clock is frozen no time is counted, however long the pause.
    #[test]
    fn a_pause_costs_no_bake_time(minutes in 1..10_000_u64) {
        let mut world = in_canary();
        world.intent.paused = true;
        let _ = world.decide();
        let counted = world.state.clock.elapsed_ms(world.now);
        world.pass(minutes * MINUTE);
        let _ = world.decide();
        prop_assert_eq!(world.state.clock.elapsed_ms(world.now), counted);
    }

    /// A good model needs nobody, however its times fall.
    #[test]
    fn a_good_model_comes_to_production(minutes in 1..29_u64) {
        let mut world = World::new();
        for _ in 0..200 {
            let _ = world.decide();
            world.pass(minutes * MINUTE);
            world.confirm(world.fleet.members);
            let healthy = Evidence { verdict: Verdict::Healthy, coverage: Coverage::Met, ..Evidence::default() };
            world.judge(healthy);
        }
        prop_assert_eq!(world.state.phase, Phase::Succeeded);
    }
}

#[test]
fn the_status_stays_small_in_a_long_life() {
    let mut world = World::new();
    for token in 0..200 {
        world.intent.retry_token = Some(format!("t{token}"));
        let _ = world.decide();
        world.pass(MINUTE);
        let _ = world.decide();
        world.judge(Evidence { verdict: Verdict::Degraded, ..Evidence::default() });
        world.pass(MINUTE);
        let _ = world.decide();
    }
    assert!(world.state.log.len() <= modelfleet_rollout::LOG_MAX);
    assert!(world.state.attempt > 100, "{}", world.state.attempt);
}
