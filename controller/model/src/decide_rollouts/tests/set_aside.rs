//! Devices that a user sets aside while a rollout goes on.

use super::*;
use crate::plan::DesiredPlan;

fn ids(all: &[&str]) -> Vec<String> {
    all.iter().map(|id| (*id).to_owned()).collect()
}

fn excluded(decision: &ModelDecision) -> Vec<String> {
    let DesiredPlan::Plan(plan) = &decision.plan else { panic!("there is a plan") };
    let candidate = plan.candidate.as_ref().expect("a candidate");
    candidate.membership.exclude.iter().map(DeviceId::to_string).collect()
}

/// One device is quarantined already; another one is set aside while the rollout goes on, and later taken in again.
#[test]
fn a_device_that_is_set_aside_leaves_the_plan_and_the_counts_and_comes_back_when_it_is_taken_in() {
    let state = State { quarantined: vec!["d9".parse().unwrap()], ..progressing() };
    let with = |set_aside: &[&str]| {
        Stage::new()
            .version("1.0.0", production())
            .version("1.1.0", verified())
            .rollout("1.1.0", state.clone(), |spec| spec.set_aside = ids(set_aside))
            .device("d1", "old", "1.1.0")
            .device("d2", "old", "1.0.0")
            .device("d3", "old", "1.0.0")
            .holds("1.0.0", "1.1.0")
            .decision()
    };
    let counts = |decision: &ModelDecision| {
        let seen = decided(&decision.rollouts[0]).seen.as_ref().expect("it is looked at");
        (seen.view.members, seen.view.still_exposed, seen.eligible)
    };
    let before = with(&[]);
    assert_eq!((excluded(&before), counts(&before)), (ids(&["d9"]), (1, 1, 3)));
    let without = with(&["d3", "d1"]);
    assert_eq!(excluded(&without), ids(&["d1", "d3", "d9"]));
    assert_eq!(counts(&without), (0, 1, 1), "it goes back, and counts as exposed until it has");
    let DesiredPlan::Plan(plan) = &without.plan else { panic!("there is a plan") };
    let wanted = plan.wanted(&"d1".parse().unwrap(), &Default::default());
    assert!(matches!(wanted, modelfleet_protocol::plan::Wanted::Stable(_)), "{wanted:?}");
    let again = with(&["d3"]);
    assert_eq!((excluded(&again), counts(&again)), (ids(&["d3", "d9"]), (1, 1, 2)));
}

/// What is set aside stays out of the status: the list is the spec's alone.
#[test]
fn the_state_does_not_take_over_what_a_user_set_aside() {
    let mut stage = Stage::new()
        .version("1.0.0", production())
        .version("1.1.0", verified())
        .rollout("1.1.0", progressing(), |spec| spec.set_aside = ids(&["d1"]))
        .device("d1", "old", "1.1.0")
        .holds("1.0.0", "1.1.0");
    let decision = stage.decision();
    let decided = decided(&decision.rollouts[0]);
    assert!(decided.memory.state.quarantined.is_empty());
    assert!(decided.membership.exclude.is_empty());
}

/// A spec that cannot work any more keeps out those that can be read.
#[test]
fn a_broken_spec_still_leaves_out_what_was_set_aside() {
    let mut stage = Stage::new()
        .version("1.0.0", production())
        .version("1.1.0", verified())
        .rollout("1.1.0", progressing(), |spec| {
            spec.set_aside = ids(&["d1", "Not An Id"]);
        })
        .device("d1", "old", "1.1.0")
        .holds("1.0.0", "1.1.0");
    let decision = stage.decision();
    assert_eq!(excluded(&decision), ids(&["d1"]));
    let problem = decided(&decision.rollouts[0]).problem.as_ref().expect("it says so").to_string();
    assert!(problem.starts_with("spec.setAside[1]: device id \"Not An Id\""), "{problem}");
}
