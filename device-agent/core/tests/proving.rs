//! How long a build proves itself, and what takes it back afterwards.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::{Input, Output};
use modelfleet_protocol::plan::Mode;
use modelfleet_protocol::state::{Attempt, FailureCode, Phase};
use world::{World, candidate, digest, model, plan};

fn attempt(world: &World) -> Attempt {
    world.state.as_ref().unwrap().model(&model()).unwrap().candidate.clone().unwrap()
}

fn code(world: &World) -> Option<FailureCode> {
    attempt(world).failure.map(|failure| failure.code)
}

/// Stable build 1 answers; candidate 2, which one answer proves, has just been switched to.
fn on_probation() -> World {
    let mut world = World::with_stable();
    let mut c = candidate(2, "r");
    c.probation.min_predictions = 1;
    world.plan(plan(2, Some(1), Some(c), &[]));
    world.answer_all();
    assert_eq!((world.serving, attempt(&world).phase), (Some(digest(2)), Phase::Activated));
    world
}

fn confirmed() -> World {
    let mut world = on_probation();
    world.healthy();
    assert_eq!(attempt(&world).phase, Phase::Confirmed);
    world
}

fn answers(world: &mut World) {
    world.feed(Input::Health { model: model(), digest: digest(2), answered: 1, errors: 0 });
}

#[test]
fn one_answer_in_the_first_second_is_no_proof() {
    let mut world = on_probation();
    world.pass(1_000);
    answers(&mut world);
    world.feed(Input::BrokerHeard);
    assert_eq!(attempt(&world).phase, Phase::Activated);
    // Contact before the shortest probation is over says nothing about how it goes on.
    let states = |world: &World| world.log.iter().filter(|o| matches!(o, Output::PublishState(_))).count();
    let before = states(&world);
    world.pass(59_000);
    assert_eq!(attempt(&world).phase, Phase::Activated);
    assert_eq!(states(&world), before + 1, "a state is published, so that the broker answers");
    world.feed(Input::BrokerHeard);
    assert_eq!(attempt(&world).phase, Phase::Confirmed);
}

#[test]
fn the_shortest_probation_is_a_tenth_of_a_short_one() {
    let mut world = World::with_stable();
    let mut c = candidate(2, "r");
    c.probation.timeout_ms = 20_000;
    c.probation.min_predictions = 1;
    world.plan(plan(2, Some(1), Some(c), &[]));
    world.answer_all();
    answers(&mut world);
    world.pass(1_999);
    world.feed(Input::BrokerHeard);
    assert_eq!(attempt(&world).phase, Phase::Activated);
    world.pass(1);
    world.feed(Input::BrokerHeard);
    assert_eq!(attempt(&world).phase, Phase::Confirmed);
}

#[test]
fn contact_that_was_lost_is_no_contact() {
    let mut world = on_probation();
    world.pass(60_000);
    world.feed(Input::BrokerHeard);
    world.feed(Input::Disconnected);
    world.pass(400_000);
    answers(&mut world);
    assert!(world.kept().active.unwrap().probation.is_some(), "not confirmed while it is offline");
    world.pass(200_000);
    world.answer_all();
    world.connect();
    assert_eq!((attempt(&world).phase, code(&world)), (Phase::Reverted, Some(FailureCode::ContactLost)));
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn a_restart_begins_the_shortest_probation_anew() {
    let mut world = on_probation();
    world.pass(60_000);
    world.feed(Input::BrokerHeard);
    world.stop_and_start();
    world.answer_all();
    answers(&mut world);
    world.connect();
    assert!(world.kept().active.unwrap().probation.is_some());
    world.healthy();
    assert_eq!(attempt(&world).phase, Phase::Confirmed);
}

#[test]
fn a_confirmed_build_that_crashes_soon_after_each_start_is_left() {
    let mut world = confirmed();
    for _ in 0..4 {
        world.crash();
        world.pass(60_000);
        world.answer_all();
        assert_eq!(world.serving, Some(digest(2)));
    }
    world.crash();
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)), "without a connection, and without a wait for one");
    world.connect();
    assert_eq!((attempt(&world).phase, code(&world)), (Phase::Reverted, Some(FailureCode::CrashLoop)));
}

#[test]
fn crashes_that_lie_far_apart_are_no_loop_and_a_stable_build_stays() {
    let mut world = confirmed();
    for _ in 0..20 {
        world.crash();
        world.answer_all();
        world.pass(world.limits.steady_ms);
    }
    assert_eq!(world.serving, Some(digest(2)));
    let mut world = World::with_stable();
    for _ in 0..20 {
        world.crash();
        world.pass(60_000);
        world.answer_all();
    }
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn the_stable_build_answers_at_once_however_often_the_process_was_killed() {
    let mut world = World::with_stable();
    for n in 0..40 {
        world.crash();
        assert!(matches!(world.pending[..], [Input::Switched { .. }]), "{n}: {:?}", world.pending);
        world.answer_all();
        assert_eq!(world.serving, Some(digest(1)), "{n}");
        world.pass(30_000);
        world.connect();
        world.pass(5_000);
    }
}

#[test]
fn after_a_row_of_crashes_a_candidate_waits_for_the_broker_while_the_stable_build_answers() {
    let crashed = || {
        let mut world = confirmed();
        for _ in 0..4 {
            world.crash();
        }
        world.answer_all();
        assert_eq!(world.serving, Some(digest(1)), "the candidate waits");
        assert!(world.kept().active.is_some_and(|active| active.digest == digest(2)));
        world
    };
    let mut world = crashed();
    world.connect();
    world.pass(1_000);
    assert!(world.pending.is_empty(), "the newest plan is on its way");
    world.plan(plan(9, Some(1), None, &[2]));
    world.pass(60_000);
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)), "it was not loaded again");

    let mut world = crashed();
    world.pass(world.limits.connect_first_ms);
    world.answer_all();
    assert_eq!(world.serving, Some(digest(2)), "without a connection it goes on all the same");
}

#[test]
fn a_stable_build_that_takes_the_process_down_while_it_is_loaded_waits_for_the_broker_in_the_end() {
    let mut world = World::with_stable();
    let mut crashes = 0;
    while crashes < 40 && !world.pending.is_empty() || crashes == 0 {
        world.crash(); // While it is being loaded.
        crashes += 1;
    }
    assert_eq!(crashes, world.limits.restarts_max + 1 + world.limits.stable_loads_max);
    world.connect();
    world.pass(1_000);
    assert!(world.pending.is_empty(), "the newest plan is on its way");
    world.plan(plan(9, None, None, &[1]));
    world.pass(60_000);
    world.answer_all();
    assert_eq!(world.serving, None);
}

#[test]
fn orderly_stops_and_losses_of_power_are_no_crashes() {
    let mut world = on_probation();
    for n in 0..8 {
        if n % 2 == 0 {
            world.stop_and_start()
        } else {
            world.lose_power()
        }
        world.answer_all();
        assert_eq!(world.serving, Some(digest(2)));
    }
    world.connect();
    world.healthy();
    assert_eq!(attempt(&world).phase, Phase::Confirmed);
    // What was no crash does not excuse what is one.
    let mut world = on_probation();
    world.stop_and_start();
    for _ in 0..3 {
        world.crash();
        world.answer_all();
    }
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn a_machine_that_reboots_again_and_again_goes_back_and_accuses_nobody() {
    let mut world = on_probation();
    for _ in 0..world.limits.reboots_max {
        world.lose_power();
        world.answer_all();
    }
    world.connect();
    assert_eq!((world.serving, code(&world)), (Some(digest(1)), Some(FailureCode::Unproven)));
    assert!(!code(&world).unwrap().is_hard_stop());
}

#[test]
fn time_on_probation_outlasts_losses_of_power() {
    let mut world = on_probation();
    for _ in 0..6 {
        world.pass(150_000);
        world.lose_power();
        world.answer_all();
    }
    assert_eq!(world.serving, Some(digest(1)), "ten minutes were over in the fifth run");
}

fn in_shadow() -> World {
    let mut world = World::with_stable();
    let mut c = candidate(2, "r");
    c.mode = Mode::Shadow;
    world.plan(plan(2, Some(1), Some(c), &[]));
    world.answer_all();
    assert_eq!(attempt(&world).phase, Phase::Activated);
    world
}

#[test]
fn a_shadow_outlasts_restarts_that_lie_far_apart_and_orderly_ones() {
    let mut world = in_shadow();
    for n in 0..12 {
        world.pass(3_600_000);
        if n % 3 == 0 {
            world.stop_and_start()
        } else {
            world.crash()
        }
        world.answer_all();
        world.connect();
        world.answer_all();
        assert_eq!((attempt(&world).phase, code(&world)), (Phase::Activated, None), "{n}");
    }
    for _ in 0..4 {
        world.lose_power();
        world.answer_all();
        world.connect();
        world.answer_all();
    }
    assert_eq!(attempt(&world).phase, Phase::Activated);
    for _ in 0..3 {
        world.crash();
        world.answer_all();
        world.connect();
        world.pass(60_000);
        world.answer_all();
    }
    assert_eq!(code(&world), Some(FailureCode::CrashLoop), "one that takes the process down is found out");
}

fn memory(world: &mut World, exceeded: bool) -> Vec<Output> {
    world.feed(Input::Memory { exceeded })
}

#[test]
fn memory_is_charged_to_what_began_since_there_was_enough() {
    let mut world = World::with_stable();
    memory(&mut world, false);
    let notes = |outputs: Vec<Output>| outputs.iter().filter(|o| matches!(o, Output::Note(_))).count();
    assert_eq!(notes(memory(&mut world, true)), 1);
    assert_eq!(notes(memory(&mut world, true)), 0, "told once");
    memory(&mut world, false);
    assert_eq!(notes(memory(&mut world, true)), 1, "and with the next crossing");
    assert_eq!(world.serving, Some(digest(1)));

    // The build came when there was enough, and there still was: others are at fault.
    let mut world = on_probation();
    memory(&mut world, false);
    memory(&mut world, true);
    world.answer_all();
    assert_eq!(world.serving, Some(digest(2)));

    let mut world = on_probation();
    memory(&mut world, true);
    world.answer_all();
    assert_eq!((world.serving, code(&world)), (Some(digest(1)), Some(FailureCode::MemoryExceeded)));

    let mut world = in_shadow();
    memory(&mut world, true);
    assert_eq!((world.serving, code(&world)), (Some(digest(1)), Some(FailureCode::MemoryExceeded)));
}

/// Candidate 2 has run for its ten minutes in contact, and nobody has asked it anything.
fn unasked() -> World {
    let mut world = on_probation();
    world.pass(120_000);
    world.feed(Input::BrokerHeard);
    world.pass(3 * 3_600_000);
    world
}

#[test]
fn a_candidate_that_nobody_asks_waits_and_says_why() {
    let mut world = unasked();
    assert_eq!((world.serving, attempt(&world).phase), (Some(digest(2)), Phase::Activated));
    let why = attempt(&world).waits.unwrap();
    assert!(why.contains("too few predictions"), "{why}");
    let told = |world: &World| {
        let waits = |o: &&Output| matches!(o, Output::Note(text) if text.contains("too few predictions"));
        world.log.iter().filter(waits).count()
    };
    assert_eq!(told(&world), 1);
    // It is a device like others: it restarts, and loses its connection for longer than its probation.
    world.stop_and_start();
    world.answer_all();
    world.connect();
    world.feed(Input::Disconnected);
    world.log.clear();
    world.pass(12 * 3_600_000);
    let saves = world.log.iter().filter(|o| matches!(o, Output::Save(_))).count();
    assert!(saves < 30, "waiting does not wear the flash: {saves}");
    assert_eq!((world.serving, told(&world)), (Some(digest(2)), 0));
    world.connect();
    answers(&mut world);
    world.feed(Input::BrokerHeard);
    assert_eq!((attempt(&world).phase, attempt(&world).waits), (Phase::Confirmed, None));
}

#[test]
fn a_candidate_that_waits_to_be_asked_is_still_on_trial() {
    let mut world = unasked();
    world.feed(Input::Health { model: model(), digest: digest(2), answered: 0, errors: 1 });
    assert_eq!(attempt(&world).phase, Phase::Activated, "one error is allowed");
    world.feed(Input::Health { model: model(), digest: digest(2), answered: 0, errors: 4 });
    world.answer_all();
    assert_eq!((world.serving, code(&world)), (Some(digest(1)), Some(FailureCode::ProbationErrors)));
    let mut world = unasked();
    world.plan(plan(3, Some(1), None, &[2]));
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)));
}

#[test]
fn a_clock_that_is_set_again_and_again_neither_ends_nor_stretches_a_probation() {
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    let mut world = on_probation();
    for _ in 0..50 {
        for at in [world.now.0 + YEAR_MS, world.now.0] {
            world.now = modelfleet_protocol::time::Time(at);
            world.feed(Input::Wake);
        }
        world.pass(1_000);
    }
    world.feed(Input::Wake);
    let trial = world.kept().active.unwrap().probation.unwrap();
    assert_eq!(trial.elapsed_ms, 50_000);
    world.now = modelfleet_protocol::time::Time(world.now.0 - YEAR_MS);
    world.feed(Input::Wake);
    world.pass(551_000);
    world.answer_all();
    assert_eq!((world.serving, code(&world)), (Some(digest(1)), Some(FailureCode::ContactLost)));
}

#[test]
fn a_candidate_that_waits_to_be_asked_outlasts_what_happens_to_a_device_in_weeks() {
    let mut world = unasked();
    for n in 0..40 {
        if n % 2 == 0 {
            world.lose_power()
        } else {
            world.crash()
        }
        world.answer_all();
        world.connect();
        world.pass(24 * 3_600_000);
        assert_eq!((world.serving, attempt(&world).phase), (Some(digest(2)), Phase::Activated), "{n}");
    }
    for _ in 0..world.limits.crashes_max {
        world.crash();
        world.answer_all();
    }
    world.connect();
    assert_eq!((world.serving, code(&world)), (Some(digest(1)), Some(FailureCode::CrashLoop)));
}

#[test]
fn answers_are_counted_over_restarts() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.answer_all();
    world.pass(120_000);
    world.feed(Input::BrokerHeard);
    world.pass(600_000);
    // Ten answers are wanted; it is asked now and then, and loses its power in between.
    for n in 1..10 {
        assert_eq!(attempt(&world).phase, Phase::Activated, "{n}");
        answers(&mut world);
        world.lose_power();
        world.answer_all();
        world.connect();
        world.pass(60_000);
    }
    answers(&mut world);
    world.feed(Input::BrokerHeard);
    assert_eq!(attempt(&world).phase, Phase::Confirmed);
}
