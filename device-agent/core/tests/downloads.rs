//! Downloads: when they pause, when they are given up, and what they leave behind.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::{Input, Output, Retry};
use modelfleet_protocol::overrides::{ModelOverride, Override, OverrideAction};
use modelfleet_protocol::plan::{Candidate, Fetch, Order};
use modelfleet_protocol::state::{Attempt, Failure, FailureCode, Phase};
use modelfleet_protocol::time::Time;
use world::{START, World, candidate, digest, identity, model, plan, signed};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

fn attempt(world: &World) -> Attempt {
    world.state.as_ref().unwrap().model(&model()).unwrap().candidate.clone().unwrap()
}

fn code(world: &World) -> Option<FailureCode> {
    attempt(world).failure.map(|failure| failure.code)
}

/// At this hour of a day, with the stable build.
fn at_hour(hour: u64) -> World {
    let mut world = World::with_stable();
    world.now = Time(START.0 - START.0 % DAY + DAY + hour * HOUR);
    world.feed(Input::Wake);
    world
}

fn nightly(rollout: &str) -> Candidate {
    let mut c = candidate(2, rollout);
    c.fetch.window_utc_minutes = Some((60, 240));
    c
}

fn fetches(world: &World) -> Vec<Fetch> {
    let fetch = |o: &Output| if let Output::Fetch { fetch, .. } = o { Some(*fetch) } else { None };
    world.log.iter().filter_map(fetch).collect()
}

fn hold(revision: u64, action: OverrideAction) -> Input {
    let order = Order { epoch: 1, revision, issued: Time(0), expires: Time(u64::MAX) };
    let (id, models) = (identity(), vec![ModelOverride { model: model(), action }]);
    Input::Override(signed(Box::new(Override { namespace: id.namespace, device: id.device, order, models })))
}

#[test]
fn a_download_pauses_when_its_window_closes_and_goes_on_in_the_next() {
    let mut world = at_hour(2);
    world.plan(plan(2, Some(1), Some(nightly("r")), &[]));
    assert_eq!(world.pending.len(), 1);
    world.pass(2 * HOUR - 1);
    assert_eq!(world.pending.len(), 1);
    world.pass(1);
    assert!(world.pending.is_empty() && world.parts.contains(&digest(2)), "paused, not dropped");
    world.pass(20 * HOUR);
    assert!(world.pending.is_empty());
    world.pass(2 * HOUR);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn a_download_pauses_with_the_rollout_and_while_the_device_is_held() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    let mut paused = candidate(2, "r");
    paused.admit = false;
    world.plan(plan(3, Some(1), Some(paused), &[]));
    assert!(world.pending.is_empty() && world.parts.contains(&digest(2)));
    world.plan(plan(4, Some(1), Some(candidate(2, "r")), &[]));
    assert_eq!(world.pending.len(), 1);
    world.feed(hold(1, OverrideAction::Hold));
    assert!(world.pending.is_empty() && world.parts.contains(&digest(2)));
    world.feed(hold(2, OverrideAction::Release));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn another_rate_takes_effect_at_once() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    let mut slower = candidate(2, "r");
    slower.fetch.bytes_per_second = 1_000;
    world.log.clear();
    world.plan(plan(3, Some(1), Some(slower), &[]));
    assert!(world.log.contains(&Output::PauseFetch { digest: digest(2) }));
    assert_eq!(fetches(&world).iter().map(|f| f.bytes_per_second).collect::<Vec<_>>(), [1_000]);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn bytes_that_came_through_as_the_fetch_was_paused_are_as_good() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    let done = world.pending[0].clone();
    let mut paused = candidate(2, "r");
    paused.admit = false;
    world.plan(plan(3, Some(1), Some(paused), &[]));
    world.files.insert(digest(2));
    world.feed(done);
    assert_eq!(attempt(&world).phase, Phase::Downloaded);
    assert!(world.files.contains(&digest(2)));
}

#[test]
fn what_an_attempt_has_begun_goes_with_it() {
    for again in [
        plan(3, Some(1), None, &[2]),
        plan(3, Some(1), None, &[]),
        plan(3, Some(1), Some(candidate(3, "s")), &[]),
    ] {
        let mut world = World::with_stable();
        world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
        world.refuse(0, Retry::Later);
        assert!(world.parts.contains(&digest(2)), "a later try goes on where this one stopped");
        world.crash();
        world.connect();
        world.plan(again);
        assert!(!world.parts.contains(&digest(2)));
        assert!(!world.agent.digests().contains(&digest(2)));
    }
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.refuse(0, Retry::Never);
    assert!(world.parts.is_empty(), "an attempt that ended for good leaves nothing");
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.refuse_with(0, FailureCode::DiskFull, Retry::Never);
    assert!(world.parts.is_empty(), "the room is needed");
}

#[test]
fn a_refusal_of_the_server_passes_with_time_or_another_address() {
    let failure = FailureCode::DownloadExhausted;
    let start = || {
        let mut world = World::with_stable();
        world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
        world.refuse_with(0, failure, Retry::Never);
        assert_eq!((attempt(&world).phase, code(&world)), (Phase::Failed, Some(failure)));
        world
    };
    let mut world = start();
    world.pass(20 * HOUR);
    assert!(world.pending.is_empty());
    world.pass(12 * HOUR);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
    let mut world = start();
    let mut fresh = candidate(2, "r");
    fresh.build.uri.push_str("?signature=fresh");
    world.plan(plan(3, Some(1), Some(fresh), &[]));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn a_full_disk_is_looked_at_again_when_there_is_room() {
    let full = || {
        let mut world = World::with_stable();
        world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
        world.refuse_with(0, FailureCode::DiskFull, Retry::Never);
        assert_eq!((attempt(&world).phase, code(&world)), (Phase::Failed, Some(FailureCode::DiskFull)));
        world
    };
    let mut world = full();
    world.feed(Input::RoomOnDisk);
    assert!(world.pending.is_empty(), "not in a circle");
    world.pass(60_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
    let mut world = full();
    world.stop_and_start();
    world.connect();
    world.pass(60_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)), "a restart looks again");
    let mut world = full();
    until_asked(&mut world, 2 * HOUR);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)), "and so does time");
}

#[test]
fn a_plan_that_has_expired_by_a_wrong_clock_waits_and_says_why() {
    const YEAR_MS: u64 = 365 * DAY;
    let mut world = World::with_stable();
    world.now = Time(world.now.0 + YEAR_MS);
    let mut expired = plan(2, Some(1), Some(candidate(2, "r")), &[]);
    expired.order.expires = START.after_ms(DAY);
    world.log.clear();
    world.plan(expired);
    world.pass(HOUR);
    assert!(world.pending.is_empty());
    let why = attempt(&world).waits.unwrap();
    assert!(why.contains("expired by this device's clock"), "{why}");
    let notes = world.log.iter().filter(|o| matches!(o, Output::Note(text) if text.contains(&why))).count();
    assert_eq!(notes, 1, "one line in the log");
    // Somebody sets the clock.
    world.now = Time(world.now.0 - YEAR_MS);
    world.feed(Input::Wake);
    world.pass(1_000);
    assert_eq!(attempt(&world).waits, None);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn wrong_bytes_are_believed_when_they_come_twice() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.refuse_with(0, FailureCode::DigestMismatch, Retry::Never);
    assert_eq!((attempt(&world).phase, code(&world)), (Phase::Downloading, None));
    world.pass(HOUR);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)), "a login page may have been in between");

    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    for _ in 0..2 {
        world.refuse_with(0, FailureCode::DigestMismatch, Retry::Never);
        world.pass(HOUR);
    }
    assert_eq!((attempt(&world).phase, code(&world)), (Phase::Failed, Some(FailureCode::DigestMismatch)));
    world.pass(90 * DAY);
    assert!(world.pending.is_empty() && world.parts.is_empty());
}

#[test]
fn a_stable_build_is_fetched_as_the_plan_says() {
    let policy = Fetch { spread_ms: HOUR, bytes_per_second: 1_000, window_utc_minutes: Some((60, 240)) };
    let mut world = at_hour(12);
    let mut promoted = plan(2, Some(2), None, &[]);
    promoted.fetch = Some(policy);
    world.log.clear();
    world.plan(promoted);
    world.pass(12 * HOUR);
    assert!(fetches(&world).is_empty(), "the window is closed");
    world.pass(4 * HOUR);
    let asked = fetches(&world);
    assert!(!asked.is_empty() && asked.iter().all(|f| *f == policy), "{asked:?}");
    let mut world = at_hour(12);
    world.log.clear();
    world.plan(plan(2, Some(2), None, &[]));
    world.pass(HOUR);
    assert_eq!(fetches(&world), [world.limits.fetch], "without a word the device's own settings hold");
}

#[test]
fn a_build_that_is_wanted_while_the_stable_one_is_on_trial_is_fetched_once() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(3), None, &[]));
    until_asked(&mut world, HOUR);
    world.answer_all();
    assert!(world.kept().active.unwrap().probation.is_some(), "the new stable build is on trial");
    world.plan(plan(3, Some(3), Some(candidate(2, "r")), &[]));
    for _ in 0..16 {
        // Nothing is heard of the broker, so that the trial takes its time.
        while !world.pending.is_empty() {
            world.answer(0);
            assert!(world.downloads.len() <= 3, "fetched again: {:?}", world.downloads);
        }
        world.pass(60_000);
        assert!(world.files.len() <= 2, "two slots");
    }
    world.settle();
    assert_eq!(world.downloads, [1, 3, 2].map(digest));
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn a_disk_that_loses_what_it_is_given_is_not_given_it_for_ever() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    for _ in 0..200 {
        if let Some(Input::Fetched { .. }) = world.pending.first() {
            world.answer(0);
        }
        if let Some(Input::Admitted { .. }) = world.pending.first() {
            world.pending.clear();
            world.files.remove(&digest(2));
            world.feed(Input::SlotLost { digest: digest(2) });
        }
        world.pass(60_000);
    }
    assert_eq!((attempt(&world).phase, code(&world)), (Phase::Failed, Some(FailureCode::DiskUnreadable)));
    assert_eq!(world.downloads.len(), 1 + world.limits.read_tries_max as usize);
}

/// A device whose candidate 2 answers though its bytes were lost: the shell had made it answer, and the word of that
/// came after the word of the loss. The way back is under way, and the bytes are fetched again.
fn answering_without_bytes() -> World {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.answer(0);
    world.answer(0);
    assert!(matches!(world.pending[..], [Input::Switched { .. }]), "{:?}", world.pending);
    world.files.remove(&digest(2));
    world.feed(Input::SlotLost { digest: digest(2) });
    world.answer(0);
    assert_eq!(world.serving, Some(digest(2)), "until the way back is ready");
    assert!(world.parts.contains(&digest(2)), "fetched again");
    world
}

#[test]
fn bytes_lost_while_their_switch_is_under_way_are_dropped_when_something_else_answers() {
    let mut world = answering_without_bytes();
    world.plan(plan(3, Some(1), None, &[]));
    assert!(world.parts.contains(&digest(2)), "it answers still");
    world.answer_all();
    assert_eq!(world.serving, Some(digest(1)));
    assert!(world.parts.is_empty() && world.files.len() == 1, "{:?} {:?}", world.parts, world.files);
}

#[test]
fn a_download_that_nobody_wants_any_more_leaves_a_build_that_answers_its_bytes() {
    let mut world = answering_without_bytes();
    world.plan(plan(3, Some(1), None, &[]));
    // It was through as it was stopped.
    world.files.insert(digest(2));
    world.feed(Input::Fetched { digest: digest(2), details: None });
    assert!(world.files.contains(&digest(2)), "it answers still");
    world.answer_all();
    assert_eq!((world.serving, world.files.len()), (Some(digest(1)), 1));
}

#[test]
fn bytes_that_are_wanted_again_before_something_else_answers_are_not_deleted() {
    let mut world = answering_without_bytes();
    world.plan(plan(3, Some(1), None, &[]));
    world.plan(plan(4, Some(1), Some(candidate(2, "again")), &[]));
    until_asked(&mut world, HOUR);
    world.settle();
    assert_eq!((world.serving, world.files.len()), (Some(digest(2)), 2));
    assert_eq!(world.downloads, [1, 2, 2].map(digest), "the bytes were lost once");
}

/// Lets at most so much time pass until something is asked of the shell.
fn until_asked(world: &mut World, most_ms: u64) {
    let end = world.now.after_ms(most_ms);
    while world.pending.is_empty() && world.now < end {
        world.pass(60_000);
    }
}

/// The disk has the bytes of the candidate and does not give them.
fn unreadable(world: &mut World) {
    assert!(matches!(world.pending[..], [Input::Admitted { .. }]), "{:?}", world.pending);
    world.pending.clear();
    let failure = Failure::new(FailureCode::DiskUnreadable, "Input/output error");
    world.feed(Input::Unreadable { model: model(), digest: digest(2), failure });
}

#[test]
fn a_disk_that_does_not_read_is_asked_again_and_then_named_instead_of_the_model() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.answer(0);
    let tries = world.limits.read_tries_max;
    let mut waits = Vec::new();
    for n in 1..tries {
        let asked = world.now;
        unreadable(&mut world);
        assert_eq!((attempt(&world).phase, code(&world)), (Phase::Downloaded, None), "{n}");
        assert!(world.pending.is_empty(), "not at once");
        while world.pending.is_empty() {
            world.pass(1_000);
        }
        waits.push(world.now.since_ms(asked));
    }
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]) && waits.iter().sum::<u64>() < HOUR, "{waits:?}");
    unreadable(&mut world);
    assert_eq!((attempt(&world).phase, code(&world)), (Phase::Failed, Some(FailureCode::DiskUnreadable)));
    assert!(!FailureCode::DiskUnreadable.is_hard_stop(), "no word about the model");
    world.pass(DAY / 2);
    assert!(world.pending.is_empty(), "it rests");
    // After the long pause the disk may be well again.
    until_asked(&mut world, DAY);
    world.settle();
    assert_eq!((attempt(&world).phase, world.serving), (Phase::Confirmed, Some(digest(2))));
}

#[test]
fn a_disk_that_reads_the_second_time_leaves_nothing_behind() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.answer(0);
    // As often as crashes would make a loop: the agent has survived them all.
    for _ in 0..world.limits.restarts_max {
        unreadable(&mut world);
        until_asked(&mut world, HOUR);
    }
    world.answer_all();
    world.pass(3 * HOUR);
    world.answer_all();
    assert_eq!(
        (attempt(&world).phase, world.serving),
        (Phase::Reverted, Some(digest(1))),
        "nothing was asked of it"
    );
    world.pass(3 * DAY);
    assert_eq!(attempt(&world).phase, Phase::Reverted, "the attempt is over");
}

#[test]
fn a_device_on_which_nothing_runs_asks_a_store_that_refused_it_again_within_two_hours() {
    let refused = Failure::new(FailureCode::DownloadExhausted, "status 403");
    let refuse = |world: &mut World, n: u8| {
        world.pending.clear();
        world.feed(Input::FetchFailed { digest: digest(n), failure: refused.clone(), retry: Retry::Never });
        world.pass(2 * 3_600_000);
        world.settle();
    };
    let mut world = World::new();
    world.connect();
    world.plan(plan(1, Some(1), None, &[]));
    world.pass(120_000);
    refuse(&mut world, 1);
    assert_eq!(world.serving, Some(digest(1)));
    // One that has a build asks the next day.
    world.plan(plan(2, Some(2), None, &[]));
    world.pass(120_000);
    refuse(&mut world, 2);
    assert_eq!(world.serving, Some(digest(1)));
    world.pass(30 * 3_600_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn a_pause_of_a_day_ends_within_hours_when_what_answered_is_taken_back() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(2), None, &[]));
    world.pass(120_000);
    world.pending.clear();
    let failure = Failure::new(FailureCode::DownloadExhausted, "status 403");
    world.feed(Input::FetchFailed { digest: digest(2), failure, retry: Retry::Never });
    world.pass(3 * 3_600_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(1)));
    world.plan(plan(3, Some(2), None, &[1]));
    world.settle();
    world.pass(3 * 3_600_000);
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}
