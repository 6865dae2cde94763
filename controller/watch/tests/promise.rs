//! The promise in small: the worlds of the example `monitor_proof`, for a year or two.

#![allow(missing_docs, dead_code, clippy::unwrap_used, reason = "the example uses more of these files")]

#[path = "../examples/monitor_proof/chance.rs"]
mod chance;
#[path = "../examples/monitor_proof/usual.rs"]
mod usual;
#[path = "../examples/monitor_proof/watched.rs"]
mod watched;
#[path = "../examples/monitor_proof/world.rs"]
mod world;

use modelfleet_watch::WatchMemory;
use watched::Watched;
use world::{Harm, Life, WORLDS, World};

const DAY: u64 = 24;

/// Hours of a world, watched.
fn watch(world: World, devices: u64, hours: u64, seed: u64) -> (Life, Watched) {
    let (mut life, mut watched) = (Life::new(world, devices, seed), Watched::new());
    (0..hours).for_each(|_| watched.take(&life.hour(None)));
    (life, watched)
}

/// Days until the alarm that follows harm.
fn days_to_find(world: World, devices: u64, harm: &Harm, most_days: u64) -> Option<u64> {
    let (mut life, mut watched) = watch(world, devices, 60 * DAY, 5);
    assert!(!watched.alarmed(), "{}: {:?}", world.name, watched.about);
    let before = watched.alarms;
    (1..=most_days).find(|_| {
        (0..DAY).for_each(|_| watched.take(&life.hour(Some(harm))));
        watched.alarms > before
    })
}

#[test]
fn no_world_without_harm_has_more_than_one_alarm_a_year() {
    let (mut alarms, mut years) = (0, 0);
    for world in WORLDS.into_iter().filter(|world| world.features <= 8) {
        for devices in [200, 100_000] {
            let (_, watched) = watch(world, devices, 365 * DAY, 11);
            assert!(watched.alarms <= 2, "{} at {devices}: {:?}", world.name, watched.about);
            (alarms, years) = (alarms + watched.alarms, years + 1);
        }
    }
    assert!(
        alarms <= years / 2,
        "{alarms} in {years} years: the promise is one a year, and this many is the noise of it"
    );
}

#[test]
fn harm_is_found() {
    let hangs_together = WORLDS[2];
    let shift = Harm { shift: 1.0, ..Harm::default() };
    assert!(days_to_find(hangs_together, 200, &shift, 4).is_some(), "values a deviation higher");
    let errors = Harm { rate: 6.0, ..Harm::default() };
    assert!(days_to_find(hangs_together, 200, &errors, 30).is_some(), "errors six times as often");
    let site = Harm { rate: 20.0, one_site: true, ..Harm::default() };
    assert!(days_to_find(hangs_together, 200, &site, 30).is_some(), "errors at one site of ten");
}

#[test]
fn what_is_kept_of_128_features_comes_back_and_has_room() {
    let (_, watched) = watch(WORLDS[10], 200, 60 * DAY, 3);
    let text = watched.memory().to_text();
    assert!(text.len() <= modelfleet_watch::TEXT_MAX, "{} characters", text.len());
    let back = WatchMemory::from_text(&text).unwrap();
    assert_eq!(back.to_text(), text);
    assert_eq!(WatchMemory::from_text("watch0 {}"), None);
}
