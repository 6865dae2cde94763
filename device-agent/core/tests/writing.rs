//! A disk that takes no writes: what runs goes on, nothing new is begun, and all is well again with the disk.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::{Input, Output, Record};
use modelfleet_protocol::state::Phase;
use world::{World, candidate, digest, model, plan};

fn acts(outputs: &[Output]) -> Vec<&Output> {
    outputs.iter().filter(|o| o.depends_on_record()).collect()
}

#[test]
fn what_runs_goes_on_and_nothing_is_begun_until_the_record_is_written() {
    let mut world = World::with_stable();
    world.full = true;
    world.log.clear();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.pass(3_600_000);
    world.answer_all();
    assert_eq!((world.serving, world.parts.len()), (Some(digest(1)), 0));
    assert!(world.pending.is_empty(), "nothing was asked for: {:?}", world.pending);
    let tries = world.log.iter().filter(|o| **o == Output::Save(Record::Control)).count();
    assert!((60..80).contains(&tries), "once a minute after the first ones: {tries}");
    world.make_room();
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn a_device_that_starts_on_such_a_disk_serves_what_the_record_names() {
    let mut world = World::with_stable();
    world.full = true;
    world.crash();
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)));
    world.connect();
    assert!(world.log.iter().any(|o| matches!(o, Output::Connect { .. })), "and says that it is there");
}

#[test]
fn a_build_on_probation_leaves_the_answers_to_the_one_before_until_the_record_can_be_written() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.answer_all();
    assert_eq!(world.serving, Some(digest(2)), "on probation");
    world.full = true;
    world.crash();
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)));
    world.make_room();
    world.answer_all();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn a_build_that_has_proven_itself_answers_when_it_becomes_stable_although_nothing_can_be_written() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)), "it has proven itself");
    world.plan(plan(3, Some(1), None, &[]));
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)));
    world.full = true;
    world.feed(Input::SlotLost { digest: digest(1) });
    world.answer_all();
    assert_eq!(world.serving, None, "the bytes of the stable build are gone");
    world.plan(plan(4, Some(2), None, &[]));
    world.pass(120_000);
    world.answer_all();
    assert_eq!(world.serving, Some(digest(2)));
}

/// A device that has nothing but candidate 3, which it is about to answer with, and whose disk takes no writes as the
/// plan rejects it.
fn rejected_while_its_switch_is_under_way() -> (World, Vec<Output>) {
    let mut world = World::new();
    world.connect();
    world.plan(plan(1, None, Some(candidate(3, "r")), &[]));
    world.answer(0);
    world.answer(0);
    assert!(matches!(world.pending[..], [Input::Switched { .. }]), "{:?}", world.pending);
    world.full = true;
    let outputs = world.plan(plan(2, None, None, &[3]));
    (world, outputs)
}

#[test]
fn a_switch_to_a_rejected_build_is_called_off_though_nothing_can_be_written() {
    let (mut world, outputs) = rejected_while_its_switch_is_under_way();
    let off = |o: &&Output| matches!(o, Output::Switch { build: None, .. });
    // The one that rests on the record is not carried out; the one after it is.
    assert_eq!(outputs.iter().filter(off).count(), 1, "{outputs:?}");
    world.answer_all();
    assert_eq!(world.serving, None);
}

#[test]
fn bytes_of_a_rejected_build_that_answers_all_the_same_go_when_it_does_not_any_more() {
    let (mut world, _) = rejected_while_its_switch_is_under_way();
    world.answer(0);
    assert_eq!(world.serving, Some(digest(3)), "that was on its way");
    world.make_room();
    assert!(world.files.contains(&digest(3)), "it answers still");
    world.answer_all();
    assert_eq!((world.serving, world.files.len()), (None, 0));
}

#[test]
fn the_only_build_answers_though_it_is_on_probation_and_nothing_can_be_written() {
    let mut world = World::new();
    world.connect();
    world.plan(plan(1, Some(1), None, &[]));
    world.pass(60_000);
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)));
    assert!(world.kept().active.unwrap().probation.is_some(), "on probation");
    world.full = true;
    world.crash();
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn going_back_does_not_wait_for_the_disk_and_activating_does() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.answer(0);
    world.full = true;
    world.answer_all();
    world.pass(600_000);
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)), "admitted, not activated");
    world.make_room();
    world.answer_all();
    assert_eq!(world.serving, Some(digest(2)));

    world.full = true;
    world.plan(plan(3, Some(1), None, &[2]));
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)));
    assert!(world.files.contains(&digest(2)), "a slot that the record names keeps its bytes");
    world.make_room();
    world.answer_all();
    assert!(!world.files.contains(&digest(2)));
    assert_eq!(
        world.state.as_ref().unwrap().model(&model()).unwrap().candidate.as_ref().unwrap().phase,
        Phase::RolledBack
    );
}

#[test]
fn a_disk_that_comes_and_goes_convicts_nobody() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    for _ in 0..10 {
        world.full = true;
        let outputs = world.answer(0);
        world.pass(60_000);
        assert!(acts(&outputs).is_empty() || world.serving == Some(digest(1)));
        world.make_room();
        if world.pending.is_empty() {
            break;
        }
    }
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn an_orderly_stop_writes_though_the_disk_was_full() {
    let mut world = World::with_stable();
    world.full = true;
    world.plan(plan(2, Some(1), None, &[]));
    world.full = false;
    world.feed(Input::Stopping);
    assert!(world.disk.run.as_ref().unwrap().stopped);
    assert_eq!(world.disk.models[&model()].seen.newest.revision, 2);
}
