//! A candidate in shadow: when it is confirmed, and what becomes of that.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::Input;
use modelfleet_protocol::plan::Mode;
use modelfleet_protocol::state::{Attempt, FailureCode, Phase};
use world::{World, candidate, digest, model, plan};

fn attempt(world: &World) -> Option<Attempt> {
    world.state.as_ref().unwrap().model(&model()).unwrap().candidate.clone()
}

fn phase(world: &World) -> Option<Phase> {
    attempt(world).map(|attempt| attempt.phase)
}

/// Stable build 1 answers; candidate 2 has just begun to run beside it, and ten requests prove it.
fn in_shadow() -> World {
    let mut world = World::with_stable();
    let mut c = candidate(2, "r");
    c.mode = Mode::Shadow;
    world.plan(plan(2, Some(1), Some(c), &[]));
    world.answer_all();
    assert_eq!(phase(&world), Some(Phase::Activated));
    world
}

fn has_seen(world: &mut World, answered: u64, errors: u64) {
    world.feed(Input::Health { model: model(), digest: digest(2), answered, errors });
}

fn confirmed() -> World {
    let mut world = in_shadow();
    has_seen(&mut world, 10, 0);
    world.pass(60_000);
    assert_eq!((world.serving, phase(&world)), (Some(digest(1)), Some(Phase::Confirmed)));
    world
}

#[test]
fn a_shadow_is_confirmed_when_it_has_run_beside_long_enough() {
    let mut world = in_shadow();
    has_seen(&mut world, 10, 3);
    assert_eq!(phase(&world), Some(Phase::Activated), "so soon is no proof");
    world.pass(59_999);
    assert_eq!(phase(&world), Some(Phase::Activated));
    world.pass(1);
    assert_eq!((world.serving, phase(&world)), (Some(digest(1)), Some(Phase::Confirmed)));
}

#[test]
fn a_shadow_that_nobody_asks_waits_and_fails_nothing() {
    let mut world = in_shadow();
    world.pass(7 * 24 * 3_600_000);
    has_seen(&mut world, 9, 0);
    assert_eq!(phase(&world), Some(Phase::Activated));
    has_seen(&mut world, 10, 0);
    assert_eq!(phase(&world), Some(Phase::Confirmed));
}

#[test]
fn errors_end_a_shadow_before_and_after_it_was_confirmed() {
    for mut world in [in_shadow(), confirmed()] {
        has_seen(&mut world, 40, 4);
        let ended = attempt(&world).unwrap();
        assert_eq!(ended.phase, Phase::Failed);
        assert_eq!(ended.failure.map(|f| f.code), Some(FailureCode::ProbationErrors));
        assert_eq!(world.serving, Some(digest(1)));
    }
}

#[test]
fn a_confirmed_shadow_outlasts_restarts() {
    let mut world = confirmed();
    for stop in [World::stop_and_start, World::lose_power, World::crash] {
        stop(&mut world);
        world.answer_all();
        world.connect();
        world.answer_all();
        assert_eq!(phase(&world), Some(Phase::Confirmed));
        world.pass(600_000);
        has_seen(&mut world, 10, 0);
        assert_eq!((world.serving, phase(&world)), (Some(digest(1)), Some(Phase::Confirmed)));
    }
}

/// What ran beside has answered nobody: taken back, also by a plan that comes while the agent starts, it counts as gone.
#[test]
fn a_confirmed_shadow_is_taken_back() {
    let mut world = confirmed();
    world.plan(plan(3, Some(1), None, &[]));
    world.settle();
    assert_eq!(phase(&world), Some(Phase::RolledBack));

    let mut world = confirmed();
    world.crash();
    world.connect();
    world.plan(plan(3, Some(1), None, &[]));
    world.settle();
    let told = attempt(&world).filter(|attempt| attempt.digest == digest(2));
    assert_eq!((world.serving, told), (Some(digest(1)), None));
}

/// The next stage is live: the build proves itself again, where its answers are used.
#[test]
fn a_confirmed_shadow_goes_live_and_is_on_probation() {
    let mut world = confirmed();
    world.plan(plan(3, Some(1), Some(candidate(2, "r")), &[]));
    world.answer_all();
    assert_eq!((world.serving, phase(&world)), (Some(digest(2)), Some(Phase::Activated)));
    world.healthy();
    assert_eq!(phase(&world), Some(Phase::Confirmed));
}
