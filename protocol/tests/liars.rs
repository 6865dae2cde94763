//! What a device says of itself does not bring it into a stage: labels of its own making earn no place.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::collections::BTreeMap;

use modelfleet_protocol::draw::{Candidate, Share, Target, open_stage};
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::selector::{Labels, Selector};

type Fleet = Vec<(DeviceId, Labels)>;

const DRAWS: usize = 400;

fn device(id: &str, age: &str, site: &str) -> (DeviceId, Labels) {
    let labels = [("age", age), ("site", site)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    (id.parse().unwrap(), labels.into())
}

/// Honest devices of two ages at four sites, as many of each.
fn honest(devices: usize) -> Fleet {
    let label = |i: usize| (["young", "old"][i % 2], ["s0", "s1", "s2", "s3"][i / 2 % 4]);
    (0..devices).map(|i| device(&format!("d-{i:03}"), label(i).0, label(i).1)).collect()
}

/// How many of [`DRAWS`] stages of this size each device is in.
fn times_in(fleet: &Fleet, target: Target) -> BTreeMap<&DeviceId, usize> {
    let spread_by = vec!["age".to_owned(), "site".to_owned()];
    let share = Share { selector: Selector::default(), spread_by, devices: target, floors: Vec::new() };
    let mut times: BTreeMap<&DeviceId, usize> = fleet.iter().map(|(id, _)| (id, 0)).collect();
    for draw in 0..DRAWS {
        let salt = Membership { salt: format!("salt-{draw}"), ..Membership::default() };
        let seen = fleet.iter().map(|(id, labels)| Candidate { id, labels, reachable: true });
        let membership = open_stage(&salt, &share, seen);
        for (id, labels) in fleet {
            *times.get_mut(id).unwrap() += usize::from(membership.includes(id, labels));
        }
    }
    times
}

/// No liar is in more often than by lot, with four standard deviations of that lot.
fn assert_no_advantage(fleet: &Fleet, liars: &[&str], target: Target, why: &str) {
    let share = target.of(fleet.len() as u64) as f64 / fleet.len() as f64;
    let most = DRAWS as f64 * share + 4.0 * (DRAWS as f64 * share * (1.0 - share)).sqrt();
    let times = times_in(fleet, target);
    for liar in liars {
        let found = times[&liar.parse::<DeviceId>().unwrap()];
        assert!(found as f64 <= most, "{why}: {liar} is in {found} of {DRAWS} stages, by lot in {most:.0}");
    }
}

#[test]
fn two_liars_with_labels_of_their_own_are_no_canaries_by_that() {
    let mut fleet = honest(40);
    fleet.push(device("liar-a", "a0", "a0"));
    fleet.push(device("liar-b", "b0", "b0"));
    for target in [Target::Count(5), Target::Ppm(500_000)] {
        assert_no_advantage(&fleet, &["liar-a", "liar-b"], target, "values of their own");
    }
}

#[test]
fn a_pair_that_agrees_on_a_value_is_no_canary_by_that_in_a_larger_fleet() {
    let mut fleet = honest(400);
    fleet.push(device("liar-a", "young", "a0"));
    fleet.push(device("liar-b", "young", "a0"));
    assert_no_advantage(&fleet, &["liar-a", "liar-b"], Target::Count(5), "a value of two devices");
}

#[test]
fn known_values_in_a_combination_of_its_own_earn_no_place() {
    let mut fleet = honest(40);
    fleet.retain(|(_, labels)| !(labels["age"] == "old" && labels["site"] == "s0"));
    fleet.push(device("liar-a", "old", "s0"));
    for target in [Target::Count(8), Target::Count(20)] {
        assert_no_advantage(&fleet, &["liar-a"], target, "a combination of its own");
    }
}

/// Where each device has a value of its own, such as a site for each, none is drawn by its name.
#[test]
fn devices_of_one_site_each_are_drawn_by_lot() {
    let fleet: Fleet = (0..50).map(|i| device(&format!("d-{i:03}"), "old", &format!("s{i}"))).collect();
    let (expected, times) = (DRAWS / 10, times_in(&fleet, Target::Count(5)));
    for (id, found) in times {
        assert!((expected / 2..=expected * 2).contains(&found), "{id} is in {found} of {DRAWS} stages of 5");
    }
}

/// A value that few honest devices have is still shown, if they are more than a tenth of what a place stands for.
#[test]
fn an_age_of_one_device_in_twenty_is_shown_among_five() {
    let mut fleet = honest(190);
    fleet.extend((0..10).map(|i| device(&format!("a-{i}"), "ancient", "s0")));
    let times = times_in(&fleet, Target::Count(5));
    let ancient: usize = times.iter().filter(|(id, _)| id.as_str().starts_with('a')).map(|(_, n)| n).sum();
    assert_eq!(ancient, DRAWS, "one in each stage");
}
