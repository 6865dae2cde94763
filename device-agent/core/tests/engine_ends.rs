//! The process in which an engine runs a build ends, and the agent goes on: what answers then, and when the build is left.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::{Input, Output};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::Mode;
use modelfleet_protocol::state::{FailureCode, ModelState, Phase};
use world::{World, candidate, digest, model, plan};

const MINUTE_MS: u64 = 60_000;

fn said(world: &World) -> &ModelState {
    world.state.as_ref().unwrap().model(&model()).unwrap()
}

fn attempt(world: &World) -> (Phase, Option<FailureCode>) {
    let attempt = said(world).candidate.as_ref().unwrap();
    (attempt.phase, attempt.failure.as_ref().map(|failure| failure.code))
}

/// The process that runs the build ends. Returns the builds that are to answer.
fn ends(world: &mut World, n: u8) -> Vec<Option<Digest>> {
    world.serving.take_if(|serving| *serving == digest(n));
    let input = Input::EngineEnded { model: model(), digest: digest(n), detail: "it crashed".into() };
    let outputs = world.feed(input);
    let to = |output: &Output| match output {
        Output::Switch { build, .. } => Some(build.as_ref().map(|build| build.digest)),
        _ => None,
    };
    outputs.iter().filter_map(to).collect()
}

/// Candidate 2 is on probation, stable build 1 is the way back.
fn on_probation() -> World {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.answer_all();
    assert_eq!((world.serving, attempt(&world)), (Some(digest(2)), (Phase::Activated, None)));
    world
}

#[test]
fn a_build_whose_process_ended_is_loaded_again_at_once() {
    let mut world = World::with_stable();
    assert_eq!(ends(&mut world, 1), [Some(digest(1))]);
    world.answer_all();
    assert_eq!((world.serving, said(&world).reverts), (Some(digest(1)), 0));
    assert!(said(&world).running.as_ref().unwrap().confirmed);
}

#[test]
fn on_probation_the_third_end_is_the_last() {
    let mut world = on_probation();
    for _ in 0..2 {
        assert_eq!(ends(&mut world, 2), [Some(digest(2))]);
        world.answer_all();
        // Probation counts them all, however far apart.
        world.pass(2 * MINUTE_MS);
    }
    assert_eq!(ends(&mut world, 2), [Some(digest(1))], "the build before answers at once");
    world.answer_all();
    assert_eq!(attempt(&world), (Phase::Reverted, Some(FailureCode::CrashLoop)));
}

#[test]
fn ends_of_the_agent_and_of_the_engine_count_together_on_probation() {
    let mut world = on_probation();
    assert_eq!(ends(&mut world, 2), [Some(digest(2))]);
    world.answer_all();
    world.crash();
    world.answer_all();
    assert_eq!(world.serving, Some(digest(2)));
    world.connect();
    assert_eq!(ends(&mut world, 2), [Some(digest(1))]);
}

/// How long a build runs between ends, and after how many it is left.
#[test]
fn only_ends_in_a_row_are_held_against_a_stable_build() {
    for (minutes, left_at) in [(0, Some(5)), (9, Some(5)), (11, None)] {
        let mut world = World::with_stable();
        let mut left = None;
        for end in 1..=8 {
            let next = ends(&mut world, 1);
            world.answer_all();
            if next == [None] {
                left = Some(end);
                break;
            }
            world.pass(minutes * MINUTE_MS);
        }
        assert_eq!(left, left_at, "{minutes} minutes between ends");
    }
}

#[test]
fn a_stable_build_that_keeps_ending_leaves_for_the_one_before_it() {
    let mut world = on_probation();
    world.healthy();
    world.plan(plan(3, Some(2), None, &[]));
    world.settle();
    assert_eq!(said(&world).spare, Some(digest(1)));
    for _ in 0..4 {
        assert_eq!(ends(&mut world, 2), [Some(digest(2))]);
        world.answer_all();
    }
    assert_eq!(ends(&mut world, 2), [Some(digest(1))]);
    world.answer_all();
    assert_eq!((world.serving, said(&world).reverts), (Some(digest(1)), 1));
    // It is wanted for good: it is tried again after the long pause, on probation.
    world.pass(23 * 60 * MINUTE_MS);
    assert_eq!(world.serving, Some(digest(1)));
    world.pass(8 * 60 * MINUTE_MS);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn the_only_build_leaves_for_the_fallback_and_is_tried_again() {
    let mut world = World::with_stable();
    for _ in 0..4 {
        ends(&mut world, 1);
        world.answer_all();
    }
    assert_eq!(ends(&mut world, 1), [None], "the fallback answers");
    world.answer_all();
    assert!(said(&world).running.is_none());
    world.pass(2 * 60 * MINUTE_MS);
    world.settle();
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn a_build_in_shadow_is_started_again_until_it_keeps_ending() {
    let mut world = World::with_stable();
    let mut shadow = candidate(2, "r");
    shadow.mode = Mode::Shadow;
    world.plan(plan(2, Some(1), Some(shadow), &[]));
    world.answer_all();
    let mut starts = Vec::new();
    for _ in 0..5 {
        let input = Input::EngineEnded { model: model(), digest: digest(2), detail: "it hung".into() };
        let outputs = world.feed(input);
        starts.extend(outputs.iter().filter_map(|output| match output {
            Output::Shadow { build, .. } => Some(build.is_some()),
            _ => None,
        }));
        world.answer_all();
    }
    assert_eq!(starts, [true, true, true, true, false]);
    assert_eq!(attempt(&world), (Phase::Failed, Some(FailureCode::CrashLoop)));
    assert_eq!(world.serving, Some(digest(1)), "what answers did not notice");
}

#[test]
fn an_end_that_is_told_again_counts_once() {
    let mut world = World::with_stable();
    for told in 0..20 {
        assert_eq!(ends(&mut world, 1).len(), usize::from(told == 0));
    }
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn the_end_of_a_build_that_does_not_run_changes_nothing() {
    let mut world = World::with_stable();
    let before = world.agent.saved();
    assert!(ends(&mut world, 2).is_empty());
    assert_eq!((world.serving, world.agent.saved() == before), (Some(digest(1)), true));
}
