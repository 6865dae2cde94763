//! What a device does in the situations that its owners fear.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::{Input, Output, Retry};
use modelfleet_protocol::generated::{Counters, Report};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::overrides::{ModelOverride, Override, OverrideAction};
use modelfleet_protocol::plan::{Mode, Order};
use modelfleet_protocol::state::{Attempt, FailureCode, ModelState, Phase};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;
use world::{WINDOW_MS, World, build, candidate, digest, identity, model, plan, signed};

fn said(world: &World) -> &ModelState {
    world.state.as_ref().unwrap().model(&model()).unwrap()
}

fn attempt(world: &World) -> &Attempt {
    said(world).candidate.as_ref().unwrap()
}

fn code(world: &World) -> Option<FailureCode> {
    attempt(world).failure.as_ref().map(|f| f.code)
}

/// A device that runs stable build 1, confirmed.
fn with_stable() -> World {
    let mut world = World::new();
    world.connect();
    world.plan(plan(1, Some(1), None, &[]));
    world.pass(120_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(1)));
    assert!(said(&world).running.as_ref().unwrap().confirmed);
    world
}

/// The same, with candidate 2 active and on probation.
fn on_probation() -> World {
    let mut world = with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.answer_all();
    assert_eq!((world.serving, attempt(&world).phase), (Some(digest(2)), Phase::Activated));
    world
}

fn switched_to(outputs: &[Output]) -> Vec<Option<Digest>> {
    let to = |o: &Output| match o {
        Output::Switch { build, .. } => Some(build.as_ref().map(|b| b.digest)),
        _ => None,
    };
    outputs.iter().filter_map(to).collect()
}

#[test]
fn a_good_candidate_is_confirmed_and_promoted_without_a_second_switch() {
    let mut world = on_probation();
    world.healthy();
    assert_eq!(attempt(&world).phase, Phase::Confirmed);
    assert_eq!(said(&world).spare, Some(digest(1)));
    world.log.clear();
    world.plan(plan(3, Some(2), None, &[]));
    world.settle();
    assert_eq!(switched_to(&world.log), [], "promotion changes a word, not what runs");
    assert_eq!((attempt(&world).rollout.as_str(), attempt(&world).phase), ("r", Phase::Confirmed));
}

#[test]
fn a_rejected_build_is_left_at_once_and_offline_and_is_not_fetched_again() {
    let mut world = on_probation();
    world.healthy();
    world.feed(Input::Disconnected);
    let outputs = world.plan(plan(3, Some(1), None, &[2]));
    assert_eq!(switched_to(&outputs), [Some(digest(1))]);
    world.answer_all();
    assert!(!world.files.contains(&digest(2)), "its bytes go, once it does not answer any more");
    world.connect();
    assert_eq!(attempt(&world).phase, Phase::RolledBack);
    world.plan(plan(4, Some(1), Some(candidate(2, "r")), &[2]));
    world.settle();
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn without_contact_a_device_goes_back_by_itself_and_tries_the_attempt_no_more() {
    let mut world = on_probation();
    world.feed(Input::Disconnected);
    world.feed(Input::Health { model: model(), digest: digest(2), answered: 50, errors: 0 });
    world.pass(601_000);
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)));
    world.connect();
    assert_eq!((attempt(&world).phase, code(&world)), (Phase::Reverted, Some(FailureCode::ContactLost)));
    assert_eq!(said(&world).reverts, 1);
    world.plan(plan(3, Some(1), Some(candidate(2, "r")), &[]));
    world.settle();
    assert_eq!(world.serving, Some(digest(1)));
    world.plan(plan(4, Some(1), Some(candidate(2, "r-2")), &[]));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)), "another attempt is another chance");
}

#[test]
fn errors_silence_and_memory_end_probation() {
    let mut world = on_probation();
    world.feed(Input::Health { model: model(), digest: digest(2), answered: 9, errors: 4 });
    assert_eq!(code(&world), Some(FailureCode::ProbationErrors));
    let mut world = on_probation();
    world.pass(601_000);
    assert_eq!(code(&world), Some(FailureCode::ContactLost), "nobody asked it, and nobody was heard");
    let mut world = on_probation();
    world.feed(Input::BrokerHeard);
    world.feed(Input::Health { model: model(), digest: digest(2), answered: 0, errors: 1 });
    world.pass(601_000);
    assert_eq!(code(&world), Some(FailureCode::ProbationTimeout), "it was asked and did not answer");
    let mut world = on_probation();
    world.feed(Input::Memory { exceeded: true });
    assert_eq!(code(&world), Some(FailureCode::MemoryExceeded));
}

#[test]
fn a_build_that_takes_the_process_down_is_left_at_the_third_restart() {
    let mut world = on_probation();
    for _ in 0..2 {
        world.crash();
        world.answer_all();
        assert_eq!(world.serving, Some(digest(2)));
    }
    world.crash();
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)), "without a connection");
    world.connect();
    assert_eq!((attempt(&world).phase, code(&world)), (Phase::Reverted, Some(FailureCode::CrashLoop)));
}

#[test]
fn a_build_that_kills_the_process_while_it_is_admitted_is_found_out() {
    let mut world = with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.answer(0);
    for _ in 0..3 {
        world.crash();
        world.answer_all();
        world.connect();
    }
    assert_eq!((attempt(&world).phase, code(&world)), (Phase::Failed, Some(FailureCode::CrashLoop)));
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn what_cannot_run_is_said_before_a_byte_is_fetched() {
    type Change = fn(&mut modelfleet_protocol::model::ModelBuild);
    let cases: [(FailureCode, Change); 5] = [
        (FailureCode::EngineMissing, |b| b.engines = vec!["OnnxRuntime".to_owned()]),
        (FailureCode::OpsetMissing, |b| b.opsets = [("ai.onnx".to_owned(), 22)].into()),
        (FailureCode::MemoryShort, |b| b.memory_bytes = 1 << 40),
        (FailureCode::LabelMissing, |b| b.device_labels = [("gpu".to_owned(), "yes".to_owned())].into()),
        (FailureCode::FormatUnknown, |b| b.format = modelfleet_protocol::model::Format::Unknown),
    ];
    for (expected, change) in cases {
        let mut world = with_stable();
        world.log.clear();
        let mut c = candidate(2, "r");
        change(&mut c.build);
        world.plan(plan(2, Some(1), Some(c), &[]));
        world.settle();
        assert_eq!((attempt(&world).phase, code(&world)), (Phase::Incompatible, Some(expected)));
        assert!(!world.log.iter().any(|o| matches!(o, Output::Fetch { .. })));
    }
}

#[test]
fn nothing_new_is_started_while_paused_expired_or_disconnected() {
    let mut paused = candidate(2, "r");
    paused.admit = false;
    let mut expired = plan(2, Some(1), Some(candidate(2, "r")), &[]);
    expired.order.expires = Time(world::START.0 + 1);
    for plan in [plan(2, Some(1), Some(paused), &[]), expired] {
        let mut world = with_stable();
        world.plan(plan);
        world.settle();
        assert_eq!((world.serving, attempt(&world).phase), (Some(digest(1)), Phase::Offered));
    }
    let mut world = with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.answer(0);
    world.feed(Input::Disconnected);
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)), "admitted, but activated only with a connection");
    world.connect();
    world.answer_all();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn what_runs_keeps_running_when_nothing_targets_it() {
    let mut world = with_stable();
    world.plan(plan(2, None, None, &[]));
    world.settle();
    assert_eq!(world.serving, Some(digest(1)), "stable stays");
    let mut world = on_probation();
    world.healthy();
    let mut c = candidate(2, "r");
    c.membership = Membership::default();
    world.plan(plan(3, Some(1), Some(c), &[]));
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)), "no longer a member");
    assert_eq!(attempt(&world).phase, Phase::RolledBack);
}

#[test]
fn the_first_candidate_ever_has_the_fallback_to_go_back_to() {
    let mut world = World::new();
    world.connect();
    world.plan(plan(1, None, Some(candidate(2, "r")), &[]));
    world.answer_all();
    assert_eq!(world.serving, Some(digest(2)));
    let outputs = world.plan(plan(2, None, None, &[2]));
    assert_eq!(switched_to(&outputs), [None]);
}

#[test]
fn a_download_is_given_up_after_its_tries_and_taken_up_after_the_long_pause() {
    let mut world = with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    for _ in 0..world.limits.fetch_tries_max {
        world.pass(3_600_000);
        world.refuse(0, Retry::Later);
    }
    assert_eq!((attempt(&world).phase, code(&world)), (Phase::Failed, Some(FailureCode::DownloadExhausted)));
    world.pass(20 * 3_600_000);
    assert!(world.pending.is_empty());
    world.pass(12 * 3_600_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
    let mut world = with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.refuse(0, Retry::Never);
    world.pass(48 * 3_600_000);
    assert_eq!((world.pending.len(), code(&world)), (0, Some(FailureCode::SignatureInvalid)));
}

#[test]
fn in_shadow_the_stable_build_answers_and_the_candidate_is_reported() {
    let mut world = with_stable();
    let mut c = candidate(2, "r");
    c.mode = Mode::Shadow;
    world.plan(plan(2, Some(1), Some(c.clone()), &[]));
    world.answer_all();
    assert_eq!((world.serving, attempt(&world).phase), (Some(digest(1)), Phase::Activated));
    c.mode = Mode::Live;
    world.plan(plan(3, Some(1), Some(c), &[]));
    world.settle();
    assert_eq!((world.serving, attempt(&world).phase), (Some(digest(2)), Phase::Confirmed));
}

fn order(revision: u64, action: OverrideAction) -> Input {
    let order = Order { epoch: 1, revision, issued: Time(0), expires: Time(u64::MAX) };
    let models = vec![ModelOverride { model: model(), action }];
    let id = identity();
    Input::Override(signed(Box::new(Override { namespace: id.namespace, device: id.device, order, models })))
}

#[test]
fn an_override_stands_above_the_plan_and_a_rejection_above_both() {
    let mut world = on_probation();
    world.healthy();
    world.feed(order(1, OverrideAction::Pin(Box::new(build(3)))));
    world.pass(120_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(3)));
    world.plan(plan(3, Some(1), Some(candidate(2, "r")), &[3]));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)), "the pinned build is rejected: the plan holds");
    world.feed(order(2, OverrideAction::Hold));
    world.plan(plan(4, Some(1), None, &[]));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)), "held");
    world.feed(order(1, OverrideAction::Release));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)), "an older order is not obeyed");
    world.feed(order(3, OverrideAction::Release));
    world.settle();
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn older_plans_are_refused_across_restarts() {
    let mut world = on_probation();
    world.plan(plan(5, Some(1), None, &[2]));
    world.answer_all();
    world.crash();
    world.connect();
    world.plan(plan(4, Some(1), Some(candidate(2, "r-9")), &[]));
    world.settle();
    assert_eq!(world.serving, Some(digest(1)));
    let mut next_leader = plan(1, Some(1), Some(candidate(2, "r-9")), &[]);
    next_leader.order.epoch = 2;
    world.plan(next_leader);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)), "a new epoch begins to count anew");
}

#[test]
fn damaged_bytes_of_what_runs_are_fetched_again() {
    let mut world = with_stable();
    world.crash();
    for _ in 0..3 {
        world.pass(11_000);
        world.refuse(0, Retry::Later);
    }
    assert_eq!(world.serving, None);
    world.connect();
    world.pass(120_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn a_clock_that_is_set_ends_no_probation() {
    let mut world = on_probation();
    world.now = world.now.after_ms(400 * 24 * 3_600_000);
    world.feed(Input::Wake);
    assert_eq!(attempt(&world).phase, Phase::Activated);
    world.now = Time(0);
    world.feed(Input::Wake);
    assert_eq!(attempt(&world).phase, Phase::Activated);
    world.pass(700_000);
    assert_eq!(attempt(&world).phase, Phase::Reverted);
}

fn window(world: &mut World, digest: Digest, index: u64, errors: u64) {
    let counters = Counters { requests: 100, errors, ..Counters::default() };
    let window = Box::new(WindowSummary { index, span: 1, counters, ..WindowSummary::default() });
    world.feed(Input::WindowClosed { model: model(), digest, window_ms: WINDOW_MS, window });
}

#[test]
fn history_is_the_stable_builds_past_before_the_rollout_on_candidates_and_controls_alike() {
    let base = world::START.window_index(WINDOW_MS);
    let since = Time((base + 100) * WINDOW_MS);
    let run = |with_candidate: bool| {
        let mut world = with_stable();
        // Ten windows before the rollout, two of them bad; two more after it began.
        (0..12).for_each(|i| window(&mut world, digest(1), base + 90 + i, if i < 2 { 50 } else { 0 }));
        let mut next = plan(2, Some(1), with_candidate.then(|| candidate(2, "r")), &[]);
        next.observe.since = since;
        next.observe.indicators.truncate(1);
        world.plan(next);
        world.settle();
        let digest = world.serving.unwrap();
        (0..80).for_each(|i| window(&mut world, digest, base + 102 + i, 0));
        world.pass(600_000);
        world.reports.last().unwrap().clone()
    };
    let (treated, control) = (run(true), run(false));
    assert_eq!((treated.rollout.as_str(), control.rollout.as_str()), ("r", ""));
    for report in [&treated, &control] {
        let history = report.history.as_ref().unwrap();
        let tally = history.tally.as_ref().unwrap();
        assert_eq!((&history.digest[..], history.through_index), (&[1; 32][..], base + 99));
        assert_eq!((&tally.known[..], &tally.bad[..]), (&[10][..], &[2][..]));
    }
    let windows = |report: &Report| report.windows.iter().map(|w| w.span).sum::<u32>();
    assert_eq!((windows(&treated), windows(&control)), (80, 82));
    assert!(control.windows.len() <= 64);
}

#[test]
fn a_stable_build_stays_though_nobody_calls_and_returns_soon_after_a_crash_loop() {
    let mut world = World::new();
    world.connect();
    world.plan(plan(1, Some(1), None, &[]));
    world.pass(120_000);
    world.answer_all();
    world.feed(Input::Disconnected);
    world.pass(3_600_000);
    assert_eq!(world.serving, Some(digest(1)));
    let mut world = World::new();
    world.connect();
    world.plan(plan(1, Some(1), None, &[]));
    world.pass(120_000);
    world.answer_all();
    (0..3).for_each(|_| world.crash());
    world.answer_all();
    world.connect();
    assert_eq!(world.serving, None, "there is nothing to go back to");
    world.pass(2 * 3_600_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(1)));
}
