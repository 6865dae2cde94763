//! A device that follows a trust document: whose plans count, what a revoked key's end changes, and what a floor forbids.
//! Each story is told straight through, and with a power cut after each of its steps.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::sync::Arc;

use modelfleet_agent_core::interface::{Input, Output};
use modelfleet_agent_core::saved::{Directive, Saved};
use modelfleet_agent_core::trust::{KeptTrust, RootKeys, TrustAnchor};
use modelfleet_protocol::envelope::{KeyId, Signed};
use modelfleet_protocol::floor::SecurityFloors;
use modelfleet_protocol::overrides::{ModelOverride, Override, OverrideAction};
use modelfleet_protocol::plan::{EPOCH_MAX, Order, Plan, REVISION_MAX};
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::{KEYS_MAX, PublicKey, Roots, TrustDocument};
use proptest::prelude::*;
use world::{START, World, build, candidate, digest, identity, model, plan};

/// A public key; a few bytes are no point of the curve.
fn public(n: u8) -> PublicKey {
    (0..=u8::MAX).find_map(|i| hex_key(n, i).parse().ok()).unwrap()
}

fn hex_key(n: u8, i: u8) -> String {
    let bytes: Vec<String> = (0..32).map(|at| format!("{:02x}", if at == 0 { i } else { n })).collect();
    bytes.concat()
}

fn id(n: u8) -> KeyId {
    public(n).id()
}

fn roots(n: u8) -> Roots {
    Roots { keys: vec![public(n)], threshold: 1 }
}

/// The plan key before there is a document, and after.
const FIRST: u8 = 1;
const SECOND: u8 = 2;
const ROOT: u8 = 100;

fn anchor() -> TrustAnchor {
    TrustAnchor { roots: RootKeys::Known(roots(ROOT)), start_keys: vec![id(FIRST)] }
}

fn document(version: u64, plan_keys: &[u8], revoked: &[u8]) -> TrustDocument {
    TrustDocument {
        version,
        namespace: None,
        issued: START,
        expires: Time(u64::MAX),
        roots: roots(ROOT),
        plan_keys: plan_keys.iter().map(|&n| public(n)).collect(),
        artifact_keys: vec![],
        enrolment_keys: vec![],
        revoked: revoked.iter().map(|&n| id(n)).collect(),
        floors: SecurityFloors::default(),
    }
}

fn floor(version: &str) -> SecurityFloors {
    SecurityFloors::of([(model(), version.parse().unwrap())])
}

/// What happens to a device.
#[derive(Clone)]
enum Step {
    Plan(u8, Box<Plan>),
    Override(u8, u64, OverrideAction),
    Trust(TrustDocument),
    Settle,
    Days(u64),
}

fn ordered(epoch: u64, revision: u64, plan: Plan) -> Plan {
    Plan { order: Order { epoch, revision, ..plan.order }, ..plan }
}

fn take(world: &mut World, step: Step) -> Vec<Output> {
    match step {
        Step::Plan(by, plan) => world.feed(Input::Plan(Signed { what: Arc::new(*plan), by: id(by) })),
        Step::Override(by, revision, action) => {
            let order = Order { epoch: 1, revision, issued: START, expires: Time(u64::MAX) };
            let (id_, models) = (identity(), vec![ModelOverride { model: model(), action }]);
            let what = Override { namespace: id_.namespace, device: id_.device, order, models };
            world.feed(Input::Override(Signed { what: Box::new(what), by: id(by) }))
        }
        Step::Trust(document) => world.feed(Input::Trust(Arc::new(document))),
        Step::Settle => {
            world.settle();
            Vec::new()
        }
        Step::Days(days) => {
            for _ in 0..24 * days {
                world.answer_all();
                world.pass(3_600_000);
            }
            world.settle();
            Vec::new()
        }
    }
}

/// Runs a story, with a power cut after its `cut`-th step; a device that boots connects again.
fn run(steps: &[Step], cut: Option<usize>) -> World {
    let mut world = World::trusting(anchor());
    world.connect();
    for (at, step) in steps.iter().enumerate() {
        let _ = take(&mut world, step.clone());
        if cut == Some(at) {
            world.lose_power();
            world.connect();
        }
    }
    world.settle();
    world
}

/// Holds `law` at the end of a story: told straight through, and with a power cut after each of its steps.
fn story(steps: &[Step], law: impl Fn(&World)) {
    for cut in std::iter::once(None).chain((0..steps.len()).map(Some)) {
        law(&run(steps, cut));
    }
}

fn runs(n: u8) -> impl Fn(&World) {
    move |world| assert_eq!(world.serving, Some(digest(n)), "{:#?}", world.agent.saved().models)
}

fn stable(revision: u64, n: u8) -> Plan {
    plan(revision, Some(n), None, &[])
}

use Step::{Days, Override as Order_, Settle, Trust};

/// The device is told of a plan that this key has signed.
fn told(by: u8, plan: Plan) -> Step {
    Step::Plan(by, Box::new(plan))
}

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
fn a_build_below_the_floor_gives_way_to_one_above_it() {
    let raised =
        |version: u64, at: &str| TrustDocument { floors: floor(at), ..document(version, &[FIRST], &[]) };
    // Build n has version 1.n.0. The device runs 2 and has 3 in its other slot, or the other way around.
    let both = |first: u8, second: u8| {
        [told(FIRST, stable(1, first)), Settle, told(FIRST, stable(2, second)), Settle]
    };
    story(&[&both(3, 2)[..], &[Trust(raised(1, "1.3.0")), Settle]].concat(), runs(3));
    story(&[&both(2, 3)[..], &[Trust(raised(1, "1.3.0")), Settle]].concat(), |world| {
        runs(3)(world);
        assert!(!world.files.contains(&digest(2)), "it can never run again, and takes no room");
    });
    // A way back above the floor stays.
    let back =
        [&both(2, 3)[..], &[Trust(raised(1, "1.2.0")), told(FIRST, plan(3, Some(2), None, &[3])), Settle]];
    story(&back.concat(), runs(2));
    // Nothing below it comes in: not as a candidate, not as a stable build, not by a pin.
    let under = [&both(2, 3)[..], &[Trust(raised(1, "1.3.0")), Settle]].concat();
    let low = plan(3, Some(3), Some(candidate(1, "r")), &[]);
    story(&[&under[..], &[told(FIRST, low), Days(2)]].concat(), |world| {
        runs(3)(world);
        let attempt = world.state.as_ref().unwrap().model(&model()).unwrap().candidate.clone().unwrap();
        let failure = attempt.failure.unwrap();
        assert_eq!((attempt.phase, failure.code), (Phase::Incompatible, FailureCode::VersionForbidden));
        assert!(failure.detail.contains("below 1.3.0 are forbidden for good"), "{}", failure.detail);
    });
    story(&[&under[..], &[told(FIRST, stable(3, 2)), Days(2)]].concat(), runs(3));
    let pin = OverrideAction::Pin(Box::new(build(2)));
    story(&[&under[..], &[Order_(FIRST, 1, pin), Days(2)]].concat(), runs(3));
    // A floor that a later document leaves out stays.
    story(
        &[&under[..], &[Trust(document(2, &[FIRST], &[])), told(FIRST, stable(3, 2)), Settle]].concat(),
        runs(3),
    );
    // A hold keeps no build that may not run.
    let held =
        [&both(3, 2)[..], &[Order_(FIRST, 1, OverrideAction::Hold), Trust(raised(1, "1.3.0")), Settle]];
    story(&held.concat(), runs(3));
}

#[test]
fn without_a_build_above_the_floor_none_answers_and_the_device_says_why() {
    let raised = TrustDocument { floors: floor("1.3.0"), ..document(1, &[FIRST], &[]) };
    let alone = [told(FIRST, stable(1, 2)), Settle, Trust(raised), Settle];
    let says_why = |world: &World| {
        let state = world.state.as_ref().unwrap().model(&model()).unwrap().clone();
        let attempt = state.candidate.unwrap();
        let failure = attempt.failure.unwrap();
        assert_eq!((world.serving, state.running), (None, None));
        assert_eq!((attempt.phase, failure.code), (Phase::Incompatible, FailureCode::VersionForbidden));
        let [(wanted, why)] = &world.agent.forbidden()[..] else { panic!("{:?}", world.agent.forbidden()) };
        assert!(
            wanted.digest == digest(2) && why.contains("versions below 1.3.0 are forbidden for good"),
            "{why}"
        );
    };
    story(&alone, says_why);
    // Offline too, from the first moment.
    let mut world = run(&alone[..3], None);
    world.log.clear();
    world.lose_power();
    let loads = |output: &Output| matches!(output, Output::Switch { build: Some(_), .. });
    assert!(!world.log.iter().any(loads), "{:?}", world.log);
    world.answer_all();
    assert_eq!(world.serving, None);
    // It comes back with the next plan.
    story(&[&alone[..], &[told(FIRST, stable(2, 3)), Settle]].concat(), |world| {
        runs(3)(world);
        assert_eq!(world.agent.forbidden(), []);
    });
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

/// Something that happens to a device whose keys change.
#[derive(Clone, Debug)]
enum Event {
    /// A document that names and revokes keys 1 to 3 by bits, and its floor.
    Trust {
        named: u8,
        revoked: u8,
        floor: Option<u8>,
    },
    /// Bits of the number: a candidate, and what is rejected.
    Plan {
        by: u8,
        order: (u64, u64),
        stable: u8,
        more: u8,
    },
    Override {
        by: u8,
        revision: u64,
        action: u8,
    },
    Settle,
    LosePower,
    CrashWithin(usize),
    Full(bool),
}

fn events() -> impl Strategy<Value = Event> {
    let order = prop_oneof![4 => (1_u64..3, 1_u64..5), 1 => Just((EPOCH_MAX, REVISION_MAX))];
    prop_oneof![
        3 => (0_u8..8, 0_u8..8, prop::option::of(1_u8..4))
            .prop_map(|(named, revoked, floor)| Event::Trust { named, revoked, floor }),
        6 => (1_u8..4, order, 1_u8..5, 0_u8..16).prop_map(|(by, order, stable, more)| Event::Plan { by, order, stable, more }),
        2 => (1_u8..4, 1_u64..5, 0_u8..5).prop_map(|(by, revision, action)| Event::Override { by, revision, action }),
        4 => Just(Event::Settle),
        1 => Just(Event::LosePower),
        2 => (0_usize..5).prop_map(Event::CrashWithin),
        1 => any::<bool>().prop_map(Event::Full),
    ]
}

fn of_bits(bits: u8) -> Vec<u8> {
    (1..4).filter(|n| bits & (1 << (n - 1)) != 0).collect()
}

fn happens(world: &mut World, event: Event, version: u64) {
    match event {
        Event::Trust { named, revoked, floor: lowest } => {
            let document = document(version, &of_bits(named & !revoked), &of_bits(revoked));
            let floors = lowest.map_or_else(SecurityFloors::default, |n| floor(&format!("1.{n}.0")));
            let _ = take(world, Trust(TrustDocument { floors, ..document }));
        }
        Event::Plan { by, order: (epoch, revision), stable: n, more } => {
            let goal = (more & 4 != 0).then(|| candidate(1 + more % 4, "r"));
            let rejected: &[u8] = if more & 8 != 0 { &[2] } else { &[] };
            let _ = take(world, told(by, ordered(epoch, revision, plan(1, Some(n), goal, rejected))));
        }
        Event::Override { by, revision, action } => {
            let action = match action {
                0 => OverrideAction::Release,
                1 => OverrideAction::Hold,
                n => OverrideAction::Pin(Box::new(build(n - 1))),
            };
            let _ = take(world, Order_(by, revision, action));
        }
        Event::Settle => world.settle(),
        Event::LosePower => world.lose_power(),
        Event::CrashWithin(outputs) => world.cut = Some(outputs),
        Event::Full(full) if full || !world.full => world.full = full,
        Event::Full(_) => world.make_room(),
    }
    if !world.connected {
        world.connect();
    }
}

/// What holds after every step.
fn holds(world: &World, outputs: &[Output]) -> Result<(), TestCaseError> {
    let (saved, kept) = (world.agent.saved(), world.kept());
    let Some(document) = saved.trust.as_ref().map(|kept| &kept.document) else { return Ok(()) };
    let revoked = |seen: &modelfleet_agent_core::saved::SeenOrders| {
        seen.signer.is_some_and(|signer| document.has_revoked(signer))
    };
    prop_assert!(!revoked(&kept.seen) || kept.seen.newest == Order::default());
    prop_assert!(!revoked(&saved.override_seen) || kept.directive.is_none());
    prop_assert!(kept.seen.of_keys.keys().all(|key| !document.has_revoked(*key)));
    let forbidden = |build: &modelfleet_agent_core::build::Build| document.floors.check(build).is_err();
    let active =
        kept.active.as_ref().and_then(|a| kept.slots.iter().find(|slot| slot.build.digest == a.digest));
    prop_assert!(active.is_none_or(|slot| !forbidden(&slot.build)), "a forbidden build is active");
    for output in outputs {
        let build = match output {
            Output::Fetch { build, .. } | Output::Admit { build } => Some(build),
            Output::Switch { build, .. } | Output::Shadow { build, .. } => build.as_ref(),
            _ => None,
        };
        prop_assert!(build.is_none_or(|build| !forbidden(build)), "a forbidden build is touched: {output:?}");
    }
    prop_assert_eq!(Saved::from_json(&saved.to_json()).unwrap().to_json(), saved.to_json());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever keys sign, in whatever order, and wherever the power is cut: a document is never followed back, and a new key
    /// is obeyed in the end.
    #[test]
    fn no_thief_has_the_last_word(events in prop::collection::vec(events(), 0..40)) {
        let mut world = World::trusting(anchor());
        world.connect();
        let mut on_disk = 0;
        for (at, event) in (1..).zip(events) {
            let before = (world.kept(), world.restarts, world.agent.trust().cloned());
            let heard = event.clone();
            world.log.clear();
            happens(&mut world, event, at);
            let outputs = std::mem::take(&mut world.log);
            holds(&world, &outputs)?;
            let written = world.disk.trust.as_ref().map_or(0, |kept| kept.document.version);
            prop_assert!(written >= on_disk, "version {} was followed back to {}", on_disk, written);
            on_disk = written;
            if let (Event::Plan { by, .. }, Some(document)) = (&heard, &before.2)
                && !document.has_plan_key(id(*by))
                && world.restarts == before.1
            {
                prop_assert_eq!(world.kept().seen, before.0.seen, "a key that does not count was obeyed");
                prop_assert_eq!(world.kept().plan, before.0.plan);
            }
        }
        world.cut = None;
        if world.full {
            world.make_room();
        }
        let _ = take(&mut world, Trust(document(1_000, &[9], &[1, 2, 3])));
        let _ = take(&mut world, Order_(9, 1, OverrideAction::Release));
        let _ = take(&mut world, told(9, stable(1, 6)));
        for _ in 0..4 {
            world.settle();
            world.pass(26 * 3_600_000);
        }
        world.settle();
        prop_assert_eq!(world.serving, Some(digest(6)), "{:#?}", world.kept());
    }
}
