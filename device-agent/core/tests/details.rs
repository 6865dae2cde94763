//! Builds whose self-test and reference profile are in a file beside the model.

#![allow(clippy::unwrap_used)]

mod world;

use std::sync::Arc;

use modelfleet_agent_core::interface::{Input, Output};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::Plan;
use world::*;

/// Build 1, with its details in this file, is stable.
fn with_file(revision: u64, file: u8) -> Plan {
    Plan { stable: Some(build_with_file(1, file)), ..plan(revision, None, None, &[]) }
}

/// The details file that a build on disk was described by, as the name of its only feature.
fn described_by(world: &World, n: u8) -> Option<String> {
    let saved = world.agent.saved();
    let slots = &saved.models.get(&model())?.slots;
    let slot = slots.iter().find(|slot| slot.build.digest == digest(n))?;
    Some(slot.build.profile.as_ref()?.features[0].name.clone())
}

fn hex(n: u8) -> Option<String> {
    Some(Digest([n; 32]).hex())
}

fn fetches(world: &World) -> usize {
    world.log.iter().filter(|output| matches!(output, Output::Fetch { .. })).count()
}

#[test]
fn a_build_runs_once_its_details_are_here_and_keeps_them_over_plans_and_restarts() {
    let mut world = World::new();
    world.connect();
    world.plan(with_file(1, 101));
    world.settle();
    assert_eq!((world.serving, described_by(&world, 1)), (Some(digest(1)), hex(101)));
    // Plans go on to name the file, and do not carry its content.
    world.plan(with_file(2, 101));
    world.settle();
    assert_eq!(described_by(&world, 1), hex(101));
    world.stop_and_start();
    world.connect();
    world.settle();
    assert_eq!((world.serving, described_by(&world, 1)), (Some(digest(1)), hex(101)));
    assert_eq!(fetches(&world), 1);
}

#[test]
fn bytes_without_their_details_are_not_loaded() {
    let mut world = World::new();
    world.connect();
    world.plan(with_file(1, 101));
    world.pass(120_000);
    let Some(Input::Fetched { digest, .. }) = world.pending.first().cloned() else {
        panic!("{:?}", world.pending)
    };
    world.pending.clear();
    world.files.insert(digest);
    // The shell of a plan before: it has the bytes, and another file.
    let other =
        Input::Fetched { digest, details: Some(fetched_details(&build_with_file(1, 9).details.unwrap())) };
    let outputs = world.feed(other);
    assert!(!outputs.iter().any(|output| matches!(output, Output::Admit { .. } | Output::Delete { .. })));
    assert_eq!(world.serving, None);
    world.settle();
    assert_eq!((world.serving, described_by(&world, 1)), (Some(digest), hex(101)));
}

#[test]
fn a_candidate_of_the_same_bytes_is_tested_by_its_own_details() {
    let mut world = World::new();
    world.connect();
    world.plan(plan(1, Some(1), None, &[]));
    world.settle();
    // Build 2 is tried, and taken back; its bytes stay. Then it comes again with details.
    world.plan(plan(2, Some(1), Some(candidate(2, "a")), &[]));
    world.settle();
    world.plan(plan(3, Some(1), None, &[]));
    world.settle();
    let mut next = candidate(2, "b");
    next.build = build_with_file(2, 102);
    world.plan(plan(4, Some(1), Some(next), &[]));
    world.settle();
    assert_eq!((world.serving, described_by(&world, 2)), (Some(digest(2)), hex(102)));
}

#[test]
fn dropping_a_download_of_details_deletes_no_bytes_that_a_slot_holds() {
    let mut world = World::new();
    world.connect();
    world.plan(plan(1, Some(1), None, &[]));
    world.settle();
    world.plan(plan(2, Some(1), Some(candidate(2, "a")), &[]));
    world.settle();
    world.plan(plan(3, Some(1), None, &[]));
    world.settle();
    let mut next = candidate(2, "b");
    next.build = build_with_file(2, 102);
    world.plan(plan(4, Some(1), Some(next), &[]));
    world.pass(120_000);
    // The download of the details is under way when the plan drops the candidate.
    world.plan(plan(5, Some(1), None, &[]));
    world.settle();
    let saved = world.agent.saved();
    let on_disk: Vec<Digest> = saved.models[&model()].slots.iter().map(|slot| slot.build.digest).collect();
    assert!(on_disk.iter().all(|digest| world.files.contains(digest)), "{on_disk:?}");
}

#[test]
fn the_details_that_a_build_was_tested_by_complete_a_plan_that_names_the_same_file() {
    let mut world = World::new();
    world.connect();
    world.plan(with_file(1, 101));
    world.settle();
    let shared = Arc::new(with_file(2, 101));
    let again = modelfleet_agent_core::build::Build::in_plan(&shared, &digest(1)).unwrap();
    let held = world.agent.saved().models[&model()].slots[0].build.clone();
    assert_eq!(again.completed_from(&held).unwrap().profile, held.profile);
    assert!(!again.is_complete() && held.is_complete());
}
