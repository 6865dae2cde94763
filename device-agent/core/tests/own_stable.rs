//! A build that is in production for some devices alone: which of them is a device's own, and what it goes back to.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_protocol::plan::{Plan, STABLE_FOR_MAX, StableFor};
use modelfleet_protocol::selector::Selector;
use modelfleet_protocol::state::Phase;
use world::{World, build, candidate, digest, plan};

fn site(name: &str) -> Selector {
    Selector { match_labels: [("site".to_owned(), name.to_owned())].into(), ..Selector::default() }
}

/// A plan with build 1 for all, and these for sites. The device is in the north.
fn sites(revision: u64, own: &[(&str, u8)], rejected: &[u8]) -> Plan {
    let own = own.iter().map(|(name, n)| StableFor { selector: site(name), build: build(*n) });
    Plan { stable_for: own.collect(), ..plan(revision, Some(1), None, rejected) }
}

#[test]
fn a_device_stays_on_what_was_proven_for_it_and_goes_back_to_it() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.pass(3_600_000);
    world.settle();
    world.healthy();
    assert_eq!(world.serving, Some(digest(2)));
    // The rollout has ended well for the north.
    world.plan(sites(3, &[("south", 3), ("north", 2)], &[]));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
    world.crash();
    world.connect();
    world.settle();
    assert_eq!(world.serving, Some(digest(2)), "a restart knows it");
    // A later rollout is taken back: to this device's own.
    world.plan(Plan { candidate: Some(candidate(4, "later")), ..sites(4, &[("north", 2)], &[]) });
    world.pass(3_600_000);
    world.settle();
    world.healthy();
    assert_eq!(world.serving, Some(digest(4)));
    world.plan(sites(5, &[("north", 2)], &[4]));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
    let tried = world.kept().attempts.into_iter().find(|t| t.attempt.digest == digest(4)).unwrap();
    assert_eq!(tried.attempt.phase, Phase::RolledBack);
}

#[test]
fn what_is_rejected_gives_way_to_the_next_that_is_in_production_for_the_device() {
    let labels = [("site".to_owned(), "north".to_owned())].into();
    let of = |plan: &Plan| plan.stable_of(&labels).map(|build| build.digest);
    assert_eq!(of(&sites(1, &[("south", 3), ("north", 2), ("north", 4)], &[])), Some(digest(2)), "the first");
    assert_eq!(of(&sites(1, &[("north", 2)], &[2])), Some(digest(1)));
    assert_eq!(of(&sites(1, &[("north", 2)], &[1, 2])), None);
    assert_eq!(of(&sites(1, &[("south", 3)], &[])), Some(digest(1)));
}

#[test]
fn a_plan_has_so_many_selectors_and_no_more() {
    let many = |count: usize| sites(1, &vec![("north", 2); count], &[]);
    assert!(many(STABLE_FOR_MAX).check().is_ok());
    assert!(many(STABLE_FOR_MAX + 1).check().is_err());
    let mut old = serde_json::to_value(plan(1, Some(1), None, &[])).unwrap();
    assert!(old.as_object_mut().unwrap().remove("stableFor").is_none(), "an empty list is not sent");
    assert_eq!(serde_json::from_value::<Plan>(old).unwrap(), plan(1, Some(1), None, &[]));
}
