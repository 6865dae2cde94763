//! A device on which nothing answers yet, in the middle of a rollout that it belongs to.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::{Input, Retry};
use modelfleet_protocol::state::Phase;
use world::{World, candidate, digest, plan};

/// A new device that is told of stable build 1 and candidate 2.
fn new_device() -> World {
    let mut world = World::new();
    world.connect();
    world.plan(plan(1, Some(1), Some(candidate(2, "r")), &[]));
    world.pass(3_600_000);
    world
}

fn phase_of(world: &World, n: u8) -> Option<Phase> {
    let attempts = world.kept().attempts;
    attempts.iter().find(|t| t.attempt.digest == digest(n)).map(|t| t.attempt.phase)
}

/// Lets a new device come to rest where no request for build `n` succeeds.
fn without(n: u8) -> World {
    let mut world = new_device();
    for _ in 0..20 {
        while !world.pending.is_empty() {
            let of = |input: &Input| match input {
                Input::Fetched { digest, .. } | Input::Admitted { digest, .. } => Some(*digest),
                _ => None,
            };
            if of(&world.pending[0]) == Some(digest(n)) {
                world.refuse(0, Retry::Later);
            } else {
                world.answer(0);
            }
        }
        world.healthy();
        world.pass(3_600_000);
    }
    world
}

#[test]
fn a_candidate_that_cannot_be_had_leaves_the_stable_build_answering() {
    let world = without(2);
    assert_eq!(world.serving, Some(digest(1)));
    assert_eq!(phase_of(&world, 2), Some(Phase::Failed));
    assert_eq!(world.downloads, [digest(1)]);
}

#[test]
fn a_stable_build_that_cannot_be_had_keeps_no_candidate_waiting() {
    assert_eq!(without(1).serving, Some(digest(2)));
}

#[test]
fn each_build_is_fetched_once_and_the_candidate_has_a_way_back() {
    let mut world = new_device();
    world.settle();
    assert_eq!((world.serving, &world.downloads[..]), (Some(digest(2)), &[digest(1), digest(2)][..]));
    world.plan(plan(2, Some(1), None, &[2]));
    world.settle();
    assert_eq!((world.serving, world.downloads.len()), (Some(digest(1)), 2));
}
