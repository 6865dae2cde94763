//! A device that follows a trust document: whose plans count, and what a revoked key's end changes.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::Output;
use modelfleet_agent_core::saved::{Directive, KeptTrust, Saved};
use modelfleet_agent_core::trust::RootKeys;
use modelfleet_protocol::overrides::OverrideAction;
use modelfleet_protocol::plan::{EPOCH_MAX, Order, REVISION_MAX};
use modelfleet_protocol::state::Phase;
use modelfleet_protocol::trust::{KEYS_MAX, TrustDocument};
use world::rotation::Step::{Days, Override as Order_, Settle, Trust};
use world::rotation::*;
use world::{START, World, build, candidate, digest, model, plan};

#[test]
fn until_there_is_a_document_the_start_key_counts_and_then_the_keys_that_it_names() {
    story(&[told(FIRST, stable(1, 1)), Settle], runs(1));
    // The document first, and then the plans of both keys.
    let named = [told(FIRST, stable(1, 1)), Settle, Trust(document(1, &[SECOND], &[]))];
    story(&[&named[..], &[told(FIRST, stable(5, 2)), Settle]].concat(), runs(1));
    story(&[&named[..], &[told(SECOND, stable(1, 2)), Settle]].concat(), runs(2));
    // With no plan key at all the device keeps what it runs.
    let none = [told(FIRST, stable(1, 1)), Settle, Trust(document(1, &[], &[]))];
    story(&[&none[..], &[told(FIRST, stable(5, 2)), told(SECOND, stable(5, 2))]].concat(), runs(1));
}

#[test]
fn a_rotation_goes_through_two_keys_and_no_old_plan_comes_back() {
    let rotated = [
        told(FIRST, stable(1, 1)),
        Settle,
        Trust(document(1, &[FIRST, SECOND], &[])),
        told(FIRST, stable(7, 1)),
        told(SECOND, stable(8, 2)),
        Settle,
    ];
    story(&rotated, runs(2));
    // While both keys count, a leader with the first key that lost its lease is not obeyed.
    story(&[&rotated[..], &[told(FIRST, stable(8, 1)), Settle]].concat(), runs(2));
    story(&[&rotated[..], &[told(FIRST, stable(9, 1)), Settle]].concat(), runs(1));
    // The first key is named no more: its plans come too late, and those of the second that are old stay old.
    let after = [&rotated[..], &[Trust(document(2, &[SECOND], &[]))]].concat();
    for late in [told(FIRST, stable(20, 1)), told(SECOND, stable(7, 1)), told(SECOND, stable(8, 1))] {
        story(&[&after[..], &[late, Settle]].concat(), runs(2));
    }
    story(&[&after[..], &[told(SECOND, stable(9, 3)), Settle]].concat(), runs(3));
}

#[test]
fn a_stolen_key_that_signed_the_highest_order_stops_no_device_for_good() {
    let highest = ordered(EPOCH_MAX, REVISION_MAX, stable(1, 3));
    let stolen = [
        told(FIRST, stable(1, 1)),
        Settle,
        Trust(document(1, &[FIRST, SECOND], &[])),
        told(SECOND, stable(2, 1)),
        told(FIRST, highest.clone()),
        Settle,
    ];
    story(&stolen, runs(3));
    // While it counts, nothing comes after it.
    story(&[&stolen[..], &[told(SECOND, stable(3, 2)), Settle]].concat(), runs(3));
    // Revoked: what runs goes on, its plan comes back no more, and the other key is followed; as is its last plan once more.
    let revoked = [&stolen[..], &[Trust(document(2, &[SECOND], &[FIRST]))]].concat();
    story(&[&revoked[..], &[told(FIRST, highest.clone()), Settle]].concat(), runs(3));
    story(&[&revoked[..], &[told(SECOND, stable(3, 2)), Settle]].concat(), runs(2));
    story(&[&revoked[..], &[told(SECOND, stable(2, 1)), Settle]].concat(), runs(1));
    // Plans that were old before the theft stay old after it.
    story(&[&revoked[..], &[told(SECOND, stable(1, 2)), Settle]].concat(), runs(3));
    // Named no more, without being revoked, is enough as well.
    let unnamed = [&stolen[..], &[Trust(document(2, &[SECOND], &[]))]].concat();
    story(&[&unnamed[..], &[told(SECOND, stable(3, 2)), Settle]].concat(), runs(2));
    // The device tells of no order that a revoked key has signed.
    story(&revoked, |world| {
        let state = world.state.as_ref().unwrap();
        assert_eq!(state.trust_version, Some(2));
        assert_eq!(state.model(&model()).unwrap().plan, Order::default());
    });
}

#[test]
fn a_revoked_keys_plan_changes_nothing_more_and_what_it_rejected_stays_rejected() {
    let under_way = |more: &[Step]| {
        let steps = [
            told(FIRST, stable(1, 1)),
            Settle,
            Trust(document(1, &[FIRST, SECOND], &[])),
            told(FIRST, plan(2, Some(1), Some(candidate(2, "r")), &[3])),
            Trust(document(2, &[SECOND], &[FIRST])),
        ];
        [&steps[..], more].concat()
    };
    // The download was requested, and nothing comes of it.
    story(&under_way(&[Days(3)]), |world| {
        runs(1)(world);
        assert!(!world.files.contains(&digest(2)), "nothing new is installed");
    });
    let pin = OverrideAction::Pin(Box::new(build(3)));
    story(&under_way(&[Order_(SECOND, 1, pin), Days(1)]), runs(1));
    story(&under_way(&[told(SECOND, stable(1, 3)), Days(1)]), runs(3));
    // A later document that names the key as revoked no more does not bring its plan back.
    story(&under_way(&[Trust(document(3, &[SECOND], &[])), Days(3)]), runs(1));
}

#[test]
fn holds_and_pins_end_with_a_revoked_key_and_stay_with_one_that_was_replaced() {
    for action in [OverrideAction::Hold, OverrideAction::Pin(Box::new(build(1)))] {
        let held = |last: TrustDocument| {
            [
                told(FIRST, stable(1, 1)),
                Settle,
                Trust(document(1, &[FIRST, SECOND], &[])),
                Order_(FIRST, REVISION_MAX, action.clone()),
                told(SECOND, stable(2, 2)),
                Settle,
                Trust(last),
                Settle,
            ]
        };
        let replaced = held(document(2, &[SECOND], &[]));
        story(&replaced, runs(1));
        story(&[&replaced[..], &[Order_(SECOND, 1, OverrideAction::Release), Settle]].concat(), runs(2));
        let revoked = held(document(2, &[SECOND], &[FIRST]));
        story(&revoked, runs(2));
        let hold = Order_(SECOND, 1, OverrideAction::Hold);
        story(&[&revoked[..], &[hold, told(SECOND, stable(3, 3)), Settle]].concat(), runs(2));
        story(&[&revoked[..], &[Order_(FIRST, REVISION_MAX, action.clone()), Settle]].concat(), runs(2));
    }
}

/// Whether the broker is asked for its plans once more.
fn asks(outputs: &[Output]) -> bool {
    outputs.contains(&Output::AskForPlans)
}

#[test]
fn the_broker_is_asked_again_only_where_a_plan_may_be_accepted_now() {
    let base = || {
        let steps = [told(FIRST, stable(1, 1)), Settle, Trust(document(1, &[FIRST], &[]))];
        run(&steps, None)
    };
    let mut world = base();
    assert!(!asks(&take(&mut world, Trust(document(2, &[FIRST, SECOND], &[])))), "nothing was refused");
    // The shell had opened it with the document of another device.
    let mut world = base();
    let _ = take(&mut world, told(SECOND, stable(2, 2)));
    assert!(asks(&take(&mut world, Trust(document(2, &[FIRST, SECOND], &[])))));
    assert!(!asks(&take(&mut world, Trust(document(3, &[FIRST, SECOND], &[])))), "once");
    // Refused for the sake of another key's order.
    let _ = take(&mut world, told(FIRST, stable(9, 1)));
    let _ = take(&mut world, told(SECOND, stable(8, 2)));
    assert!(asks(&take(&mut world, Trust(document(4, &[SECOND], &[])))));
    // Refused for the sake of its own: no document changes that.
    let _ = take(&mut world, told(SECOND, stable(8, 2)));
    let _ = take(&mut world, told(SECOND, stable(7, 2)));
    assert!(!asks(&take(&mut world, Trust(document(5, &[SECOND], &[])))));
    // The plan that is held counts no more, and another one may be there.
    assert!(!asks(&take(&mut world, Trust(document(6, &[FIRST], &[])))));
    let mut world = base();
    assert!(asks(&take(&mut world, Trust(document(2, &[SECOND], &[FIRST])))));
}

#[test]
fn a_document_goes_forward_only_and_is_written_before_anything_follows_from_it() {
    let mut world = run(&[told(FIRST, stable(1, 1)), Settle, Trust(document(5, &[SECOND], &[]))], None);
    let kept = |world: &World| world.disk.trust.as_ref().map(|kept| kept.document.version);
    assert_eq!(kept(&world), Some(5));
    for older in [document(4, &[FIRST], &[]), document(5, &[FIRST], &[])] {
        assert!(!asks(&take(&mut world, Trust(older))));
        let _ = take(&mut world, told(FIRST, stable(9, 2)));
        world.settle();
        assert_eq!((kept(&world), world.serving), (Some(5), Some(digest(1))));
    }
    let outputs = take(&mut world, Trust(document(6, &[SECOND], &[])));
    let save = outputs.iter().position(|output| matches!(output, Output::Save(_)));
    assert_eq!(save, Some(0), "{outputs:?}");
    let read = Saved::from_json(&world.agent.saved().to_json()).unwrap();
    assert_eq!(read.to_json(), world.agent.saved().to_json());
    assert_eq!(read.trust.unwrap().anchor, roots(ROOT));
}

#[test]
fn a_disk_that_takes_no_writes_forgets_nothing_that_was_written() {
    let mut world = run(&[told(FIRST, stable(1, 1)), Settle, Trust(document(1, &[FIRST], &[]))], None);
    world.full = true;
    let _ = take(&mut world, Trust(document(2, &[SECOND], &[])));
    let _ = take(&mut world, told(SECOND, stable(1, 2)));
    world.pass(60_000);
    assert_eq!(world.disk.trust.as_ref().unwrap().document.version, 1);
    world.make_room();
    world.settle();
    assert_eq!((world.disk.trust.as_ref().unwrap().document.version, world.serving), (2, Some(digest(2))));
}

#[test]
fn what_runs_goes_on_under_an_expired_document_and_nothing_new_starts() {
    let day_ms = 24 * 3_600_000;
    let short =
        |version| TrustDocument { expires: START.after_ms(day_ms), ..document(version, &[FIRST], &[]) };
    let expired = [told(FIRST, stable(1, 1)), Settle, Trust(short(1)), Days(2)];
    let offered =
        [&expired[..], &[told(FIRST, plan(2, Some(1), Some(candidate(2, "r")), &[])), Days(1)]].concat();
    story(&offered, |world| {
        runs(1)(world);
        let attempt = world.state.as_ref().unwrap().model(&model()).unwrap().candidate.clone().unwrap();
        assert_eq!((attempt.rollout.as_str(), attempt.phase), ("r", Phase::Offered));
        assert!(attempt.waits.unwrap().contains("the trust document has expired"));
    });
    // A new document lets it go on, and going back needs none.
    story(&[&offered[..], &[Trust(document(2, &[FIRST], &[])), Settle]].concat(), runs(2));
    let back = [
        told(FIRST, stable(1, 1)),
        Settle,
        Trust(short(1)),
        told(FIRST, plan(2, Some(1), Some(candidate(2, "r")), &[])),
        Settle,
        Days(2),
        told(FIRST, plan(3, Some(1), None, &[2])),
        Settle,
    ];
    story(&back, runs(1));
}

#[test]
fn another_root_file_begins_anew_and_one_that_cannot_be_read_does_not() {
    let steps = [told(FIRST, stable(1, 1)), Settle, Trust(document(5, &[SECOND], &[FIRST]))];
    let restarted = |roots: RootKeys| {
        let mut world = run(&steps, None);
        world.identity.trust.roots = roots;
        world.lose_power();
        world.connect();
        world
    };
    let version =
        |world: &World| (world.agent.trust().map(|d| d.version), world.state.as_ref().unwrap().trust_version);
    for (same, held) in [
        (RootKeys::Known(roots(ROOT)), (Some(5), Some(5))),
        (RootKeys::Unreadable, (Some(5), Some(5))),
        (RootKeys::Known(roots(ROOT + 1)), (None, Some(0))),
        (RootKeys::None, (None, None)),
    ] {
        let mut world = restarted(same.clone());
        assert_eq!(version(&world), held, "{same:?}");
        assert_eq!(world.disk.trust.is_some(), held.0.is_some(), "{same:?}");
        let _ = take(&mut world, told(FIRST, stable(9, 2)));
        world.settle();
        let expected = if held.0.is_some() { 1 } else { 2 };
        assert_eq!(
            world.serving,
            Some(digest(expected)),
            "{same:?}: the start key counts without a document"
        );
        let followed =
            take(&mut world, Trust(TrustDocument { roots: roots(ROOT + 1), ..document(1, &[3], &[]) }));
        let news = followed.iter().any(|output| matches!(output, Output::Save(_)));
        assert_eq!(news, same == RootKeys::Known(roots(ROOT + 1)), "{same:?}");
    }
}

/// What an agent that knew no keys has written.
#[test]
fn an_older_agents_record_keeps_its_orders_and_an_older_agent_reads_ours() {
    let mut world = run(&[told(FIRST, stable(7, 1)), Settle], None);
    let mut old: serde_json::Value = serde_json::from_slice(&world.disk.to_json()).unwrap();
    let seen = &mut old["models"][model().as_str()]["seen"];
    for field in ["signer", "ofKeys"] {
        seen.as_object_mut().unwrap().remove(field).unwrap();
    }
    // As an older agent reads it.
    let read: Order = serde_json::from_value(seen.clone()).unwrap();
    assert_eq!((read.epoch, read.revision), (1, 7));
    world.disk = Saved::from_json(&serde_json::to_vec(&old).unwrap()).unwrap();
    world.lose_power();
    world.connect();
    for late in [stable(6, 2), stable(7, 2)] {
        let _ = take(&mut world, told(FIRST, late));
    }
    world.settle();
    assert_eq!(world.serving, Some(digest(1)));
    // The plan is the start key's, and ends with it.
    assert!(asks(&take(&mut world, Trust(document(1, &[SECOND], &[FIRST])))));
    let _ = take(&mut world, told(SECOND, stable(1, 2)));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
}

#[test]
fn orders_are_kept_of_a_bounded_number_of_keys() {
    let mut world = World::trusting(anchor());
    world.connect();
    for n in 1..60_u8 {
        let _ = take(&mut world, Trust(document(u64::from(n), &[n], &[])));
        let _ = take(&mut world, told(n, stable(u64::from(n), 1)));
    }
    world.settle();
    let seen = world.kept().seen;
    assert_eq!((seen.of_keys.len(), seen.newest.revision), (KEYS_MAX, 59));
    assert!(seen.of_keys.contains_key(&id(59)));
}

#[test]
fn a_device_without_root_keys_follows_nothing_and_says_so() {
    let mut world = World::with_stable();
    assert_eq!(world.state.as_ref().unwrap().trust_version, None);
    let outputs = take(&mut world, Trust(document(1, &[], &[])));
    assert!(outputs.iter().all(|output| matches!(output, Output::Note(_))), "{outputs:?}");
    let kept: Option<KeptTrust> = world.agent.saved().trust;
    assert_eq!(kept, None);
    assert!(!matches!(world.kept().directive, Some(Directive::Hold)));
}
