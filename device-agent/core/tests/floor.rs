//! Security floors: a version below its model's floor never answers, and the device says why.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::Output;
use modelfleet_protocol::overrides::OverrideAction;
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::trust::TrustDocument;
use world::rotation::Step::{Days, Override as Order_, Settle, Trust};
use world::rotation::*;
use world::{World, build, candidate, digest, model, plan};

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
