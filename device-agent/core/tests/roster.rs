//! Which models a device keeps, what it says of them, and what it does not take.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_agent_core::agent::Agent;
use modelfleet_agent_core::interface::{Input, Limits, Output, Retry};
use modelfleet_agent_core::saved::{SEEN_MAX, Saved};
use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::model::{FeatureProfile, Profile};
use modelfleet_protocol::overrides::{ModelOverride, Override, OverrideAction};
use modelfleet_protocol::plan::{Order, Plan, PlanError};
use modelfleet_protocol::state::{DeviceState, Failure, FailureCode, MODELS_MAX};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;
use world::{START, World, build, candidate, digest, identity, model, plan, signed};

fn named(n: usize) -> ModelName {
    format!("other-{n:03}").parse().unwrap()
}

/// A plan for another model whose candidate this device gets, or does not.
fn other(n: usize, revision: u64, wanted: bool) -> Plan {
    let mut c = candidate(40, "x");
    c.build.model = named(n);
    if !wanted {
        c.membership = Membership::default();
    }
    Plan { model: named(n), ..plan(revision, None, Some(c), &[]) }
}

fn order(revision: u64, model: ModelName, action: OverrideAction) -> Input {
    let order = Order { epoch: 1, revision, issued: Time(0), expires: Time(u64::MAX) };
    let (id, models) = (identity(), vec![ModelOverride { model, action }]);
    Input::Override(signed(Box::new(Override { namespace: id.namespace, device: id.device, order, models })))
}

#[test]
fn models_that_are_not_for_this_device_take_no_room_from_those_that_are() {
    let mut world = World::new();
    world.connect();
    for n in 0..40 {
        world.plan(other(n, 1, false));
    }
    assert!(world.agent.saved().models.is_empty());
    world.plan(plan(1, Some(1), None, &[]));
    world.pass(120_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn a_unit_that_nothing_is_left_of_makes_room_and_its_plans_stay_known() {
    let mut world = World::new();
    world.connect();
    for n in 0..MODELS_MAX {
        world.plan(other(n, 5, true));
    }
    world.plan(plan(1, Some(1), None, &[]));
    assert!(!world.agent.saved().models.contains_key(&model()), "all are in use");
    let mut gone = other(3, 6, false);
    gone.candidate = None;
    world.plan(gone);
    world.plan(plan(1, Some(1), None, &[]));
    let saved = world.agent.saved();
    assert!(saved.models.contains_key(&model()) && !saved.models.contains_key(&named(3)));
    assert_eq!(saved.seen[&named(3)].newest.revision, 6);
    world.crash();
    world.connect();
    world.plan(other(3, 5, true));
    assert!(!world.agent.saved().models.contains_key(&named(3)), "an older plan is refused all the same");
}

#[test]
fn what_is_remembered_of_other_models_is_bounded() {
    let mut world = World::new();
    for n in 0..SEEN_MAX + 10 {
        let mut plan = other(n, 1, false);
        plan.order.issued = Time(START.0 + n as u64);
        world.plan(plan);
    }
    let seen = world.agent.saved().seen;
    assert!(seen.len() == SEEN_MAX && !seen.contains_key(&named(0)) && seen.contains_key(&named(SEEN_MAX)));
}

#[test]
fn a_hold_before_the_first_plan_holds() {
    let mut world = World::new();
    world.connect();
    world.feed(order(1, model(), OverrideAction::Hold));
    world.crash();
    world.connect();
    world.plan(plan(1, None, Some(candidate(2, "r")), &[]));
    world.settle();
    assert_eq!(world.serving, None);
    world.feed(order(2, model(), OverrideAction::Release));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn a_pinned_build_has_the_bounds_of_a_plan() {
    let mut world = World::with_stable();
    let mut pinned = build(3);
    let feature = FeatureProfile {
        name: "f".to_owned(),
        expected_min: 0.0,
        expected_max: 1.0,
        edges: vec![2.0, 1.0],
        counts: Bins(vec![1, 1, 1]),
    };
    pinned.profile = Some(Profile { features: vec![feature], confidence: None });
    world.log.clear();
    world.feed(order(1, model(), OverrideAction::Pin(Box::new(pinned))));
    world.pass(120_000);
    assert!(
        world
            .log
            .iter()
            .any(|o| matches!(o, Output::Note(text) if text.contains("the bins of a reference profile")))
    );
    assert!(world.pending.is_empty());
    world.feed(order(1, model(), OverrideAction::Pin(Box::new(build(3)))));
    world.pass(120_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(3)), "the refused order was not taken for seen");
}

#[test]
fn windows_of_less_than_a_second_boundless_fetches_and_long_names_are_refused() {
    let changes: [fn(&mut Plan); 8] = [
        |p| p.observe.window_ms = 999,
        |p| p.fetch = Some(modelfleet_protocol::plan::Fetch { spread_ms: u64::MAX, ..Default::default() }),
        |p| p.candidate.as_mut().unwrap().fetch.window_utc_minutes = Some((0, 1441)),
        |p| p.candidate.as_mut().unwrap().fetch.spread_ms = u64::MAX,
        |p| p.candidate.as_mut().unwrap().rollout = "r".repeat(60_000),
        |p| p.candidate.as_mut().unwrap().build.uri = "u".repeat(60_000),
        |p| p.stable.as_mut().unwrap().engines = vec!["e".repeat(60_000)],
        |p| p.stable.as_mut().unwrap().version.pre = semver::Prerelease::new(&"v".repeat(60_000)).unwrap(),
    ];
    for change in changes {
        let mut refused = plan(1, Some(1), Some(candidate(2, "r")), &[]);
        assert!(refused.check().is_ok());
        change(&mut refused);
        assert!(matches!(refused.check(), Err(PlanError::Content(_))));
        let mut world = World::new();
        world.plan(refused.clone());
        assert!(world.agent.saved().models.is_empty());
        // What was said before stays, in the state as well.
        let mut world = World::with_stable();
        refused.order.revision = 9;
        world.plan(refused);
        world.connect();
        let running = world.state.as_ref().unwrap().model(&model()).and_then(|m| m.running.as_ref());
        assert_eq!((world.kept().seen.newest.revision, running.map(|r| r.digest)), (1, Some(digest(1))));
    }
}

#[test]
fn a_state_always_has_the_size_of_a_state() {
    let mut id = identity();
    id.labels = (0..32).map(|i| (format!("label-{i:057}"), "x".repeat(63))).collect();
    let mut agent = Agent::new(id.clone(), Limits::default(), Saved::default(), &BTreeMap::new());
    let mut last: Option<Box<DeviceState>> = None;
    let mut feed = |input| {
        for output in agent.step(START, input).outputs {
            if let Output::PublishState(state) = output {
                last = Some(state);
            }
        }
    };
    feed(Input::Started { boot: None });
    feed(Input::Connected { payload_bytes_max: usize::MAX });
    for n in 0..MODELS_MAX {
        let mut plan = other(n, 1, true);
        let c = plan.candidate.as_mut().unwrap();
        c.rollout = "production/rollout-of-the-month-1".to_owned();
        c.build.digest = digest(n as u8);
        feed(Input::Plan(signed(Arc::new(plan))));
        let failure = Failure::new(FailureCode::SignatureInvalid, "Node (\"conv\\1\")\n".repeat(40));
        feed(Input::FetchFailed { digest: digest(n as u8), failure, retry: Retry::Never });
    }
    let state = last.unwrap();
    let bytes = serde_json::to_vec(&state).unwrap();
    let read = DeviceState::from_json(&id.device, &bytes).unwrap();
    assert_eq!(read.models.len(), MODELS_MAX, "long texts go first");
    let failed = |m: &modelfleet_protocol::state::ModelState| {
        m.candidate.as_ref().and_then(|a| a.failure.as_ref()).map(|f| f.code)
    };
    assert!(read.models.iter().all(|m| failed(m) == Some(FailureCode::SignatureInvalid)));
}

fn close(world: &mut World, window_ms: u64, index: u64) {
    let counters = Counters { requests: 100, ..Counters::default() };
    let window = Box::new(WindowSummary { index, span: 1, counters, ..WindowSummary::default() });
    world.feed(Input::WindowClosed { model: model(), digest: digest(1), window_ms, window });
}

/// Requests in the newest report, after a restart.
fn reported(world: &mut World, window_ms: u64) -> u64 {
    world.crash();
    world.answer_all();
    world.connect();
    let index = world.now.window_index(window_ms) + 10;
    world.feed(Input::WindowClosed {
        model: model(),
        digest: digest(1),
        window_ms,
        window: Box::new(WindowSummary { index, span: 1, ..WindowSummary::default() }),
    });
    world.pass(3_600_000);
    let report = world.reports.last();
    report.map_or(0, |r| r.windows.iter().filter_map(|w| w.counters).map(|c| c.requests).sum())
}

#[test]
fn closed_windows_outlast_an_orderly_stop_and_long_ones_a_loss_of_power() {
    for (window_ms, stops, expected) in [(60_000, true, 300), (60_000, false, 0), (300_000, false, 300)] {
        let mut world = World::with_stable();
        let mut longer = plan(2, Some(1), None, &[]);
        longer.observe.window_ms = window_ms;
        world.plan(longer);
        world.pass(600_000);
        world.reports.clear();
        world.feed(Input::Disconnected);
        let base = world.now.window_index(window_ms);
        (1..4).for_each(|n| close(&mut world, window_ms, base + n));
        if stops {
            world.feed(Input::Stopping);
        }
        assert_eq!(reported(&mut world, window_ms), expected, "{window_ms} ms, stopped: {stops}");
    }
}

/// A candidate of one model must not take the stable build of another away from the device.
#[test]
fn crashes_are_held_against_a_candidate_before_they_are_against_a_stable_build_of_another_model() {
    let mut world = World::with_stable();
    world.plan(other(1, 1, true));
    world.pass(3_600_000);
    world.answer_all();
    world.plan(plan(2, Some(2), None, &[]));
    world.pass(120_000);
    world.answer_all();
    let saved = |world: &World, model: &ModelName| world.agent.saved().models.get(model).cloned().unwrap();
    let active = |world: &World, model: &ModelName| saved(world, model).active.map(|active| active.digest);
    assert!(world.kept().active.unwrap().probation.is_some(), "the new stable build proves itself");
    assert_eq!(active(&world, &named(1)), Some(digest(40)));
    for _ in 0..world.limits.restarts_max {
        world.crash();
        world.answer_all();
    }
    let ended = |world: &World, model: &ModelName| {
        let attempts = saved(world, model).attempts;
        attempts.last().and_then(|record| record.attempt.failure.as_ref().map(|failure| failure.code))
    };
    assert_eq!((active(&world, &named(1)), ended(&world, &named(1))), (None, Some(FailureCode::CrashLoop)));
    assert_eq!(active(&world, &model()), Some(digest(2)), "nothing was held against it");
    // It goes on without the candidate: now the stable build is the suspect.
    for _ in 0..world.limits.restarts_max {
        world.crash();
        world.answer_all();
    }
    assert_eq!(
        (active(&world, &model()), ended(&world, &model())),
        (Some(digest(1)), Some(FailureCode::CrashLoop))
    );
}
