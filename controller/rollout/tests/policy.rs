//! An invalid policy cannot be built, and the refusal names the field and what is allowed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use modelfleet_protocol::draw::Target;
use modelfleet_protocol::plan::{Mode, SPREAD_MS_MAX};
use modelfleet_rollout::{Amount, Policy, PolicyParts};

fn refused(change: impl FnOnce(&mut PolicyParts)) -> String {
    let mut parts = world::parts();
    change(&mut parts);
    Policy::new(parts).expect_err("the policy cannot work").to_string()
}

#[test]
fn refusals_name_the_field() {
    let check = |change: fn(&mut PolicyParts), text: &str| assert_eq!(refused(change), text);
    check(|p| p.stages.clear(), "spec.stages: has 0 stages; give it 1 to 8");
    check(|p| p.stages[1].name.clear(), "spec.stages[1].name: has 0 bytes; it must have 1 to 63");
    check(
        |p| p.stages[1].name = "canary".to_owned(),
        "spec.stages[1].name: \"canary\" is the name of an earlier stage; give each stage its own name",
    );
    check(
        |p| p.stages[0].target = Target::Count(0),
        "spec.stages[0].devices: must be at least 1 device and at most 100 %",
    );
    check(
        |p| p.stages[2].target = Target::Ppm(50_000),
        "spec.stages[2].devices: must be a percentage, and at least that of \"early\", the stage before",
    );
    check(
        |p| p.stages[0].target = Target::Count(3),
        "spec.stages[0].limits.minDevices: is 5, but the stage has only 3 devices; lower it",
    );
    check(|p| p.stages[0].limits.min_devices = 0, "spec.stages[0].limits.minDevices: must be at least 1");
    check(
        |p| p.stages[0].limits.max_failed = Amount::Ppm(1_000_001),
        "spec.stages[0].limits.maxFailed: is 100.0001 %; must be 0 % to 100 %",
    );
    check(
        |p| p.stages[0].rollback_deadline_ms = 0,
        "spec.stages[0].rollbackDeadline: is 0 seconds; must be longer than zero and at most ten years",
    );
    check(
        |p| p.stages[0].bake_ms = u64::MAX,
        "spec.stages[0].bake: is 18446744073709551615 ms; must be at most ten years",
    );
    check(
        |p| p.stages[1].watch_by = (0..5).map(|i| i.to_string()).collect(),
        "spec.stages[1].watchBy: has 5 labels; give it at most 4",
    );
    check(
        |p| p.stages[1].watch_by = vec!["site".to_owned(); 2],
        "spec.stages[1].watchBy: names a label twice; name each label once",
    );
    check(|p| p.stages[0].margin_ppm = Some(1_000_000), "spec.stages[0].margin: must be greater than 1");
    check(
        |p| p.observe.window_ms = 999,
        "spec.observe.window: is 999 ms; must be at least 1 second and at most ten years",
    );
    check(
        |p| p.fetch.spread_ms = SPREAD_MS_MAX + 1,
        "spec.fetch.spread: is 31622400001 ms; must be at most a year",
    );
    check(
        |p| p.fetch.window_utc_minutes = Some((0, 1_441)),
        "spec.fetch.window: must have a start and an end from 00:00 to 23:59",
    );
    check(|p| p.error_budget_ppm = 0, "spec.errorBudget: is 0 %; must be 0.0001 % to 50 %");
    check(
        |p| p.stages[3].mode = Mode::Shadow,
        "spec.stages[3].mode: is Shadow in the last stage; add a Live stage after it, because a version goes to \
         production only after its answers were used",
    );
    check(
        |p| p.stages[1].mode = Mode::Shadow,
        "spec.stages[1].mode: is Shadow after a Live stage; put \"early\" before every Live stage",
    );
    check(|p| p.holdback_ppm = 600_000, "spec.holdback: is 60 %; must be 0 % to 50 %");
}

#[test]
fn the_hold_back_is_left_out_of_the_last_stage_alone() {
    let mut parts = world::parts();
    parts.holdback_ppm = 20_000;
    let policy = Policy::new(parts).unwrap();
    assert_eq!(policy.target(2), Target::Ppm(500_000));
    assert_eq!(policy.target(3), Target::AllBut(20_000));
    assert_eq!(policy.target(9), Target::AllBut(20_000));
}
