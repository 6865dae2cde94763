//! A small swarm: each seed is a fleet under faults of its own. `MODELFLEET_SWARM_SEEDS` says how many are played; `make
//! swarm` plays 1 000, and `cargo run --release -p modelfleet-swarm -- --hours 1` plays longer.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use modelfleet_swarm::faults::Faults;
use modelfleet_swarm::habits::Habits;
use modelfleet_swarm::probes;
use modelfleet_swarm::shrink::shrink;
use modelfleet_swarm::world::{CONTROLLED, Defect, play, play_with, play_with_defect};

/// Seeds that are played where nothing else is said.
const SEEDS: u64 = 60;
/// One of so many seeds has controllers: they cost ten times as much.
const CONTROLLED_EVERY: u64 = 8;
/// The first seed of each kind: the larger runs come before it.
const FIRST: u64 = 60;
/// Seeds that once broke a law. What a seed draws changes when faults are added or runs get another length, so each has a test
/// of its own beside the rule that it broke.
/// 58: two downloads of which nothing was left sent each other away without an end.
/// 23: three crashes because of a candidate took another model's new stable build off for a day.
/// 1000003: a rollback waited for ever for a device that was set aside and then lost its records.
/// 1000005: a canary of one device that was drawn while the broker knew one device took in a third of the fleet.
/// 1000006: the status of a rollout with a failed device differed for ever from what was stored of it.
/// 1000050: a controller whose clock was set right left a plan at the broker that had run out.
/// 1000157: a canary that was drawn while the controller's clock was months ahead was not drawn again once it was set right.
/// 1000141: canaries that plainly broke the allowance passed on exposure.
/// 1000162: a rollback whose deadline was over while the API server was away was taken for one that is under way.
/// 1000064: a device on which nothing ran asked a store that had refused it again after a day.
/// 1000078: a controller took devices for two each as long as its clock had been ahead, after it was set right.
/// 1000119, 1000163: the same pause of a device whose other build had been taken back before it, or since.
const KEPT: [u64; 13] = [
    23,
    58,
    CONTROLLED + 3,
    CONTROLLED + 5,
    CONTROLLED + 6,
    CONTROLLED + 50,
    CONTROLLED + 64,
    CONTROLLED + 78,
    CONTROLLED + 119,
    CONTROLLED + 141,
    CONTROLLED + 157,
    CONTROLLED + 162,
    CONTROLLED + 163,
];
/// Every so many seeds one is played twice.
const TWICE: u64 = 20;

/// The seeds of a run, those that once broke a law first.
fn seeds() -> Vec<u64> {
    let count =
        std::env::var("MODELFLEET_SWARM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let of = |i: u64| match i.is_multiple_of(CONTROLLED_EVERY) {
        true => CONTROLLED + FIRST + i / CONTROLLED_EVERY,
        false => FIRST + i,
    };
    KEPT.into_iter().chain((1..=count).map(of)).collect()
}

#[test]
fn every_law_holds_and_a_healed_fleet_comes_to_what_is_wanted() {
    let (seeds, next) = (seeds(), AtomicUsize::new(0));
    let counts = Mutex::new(BTreeMap::<String, u64>::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = play(*seed);
                    if outcome.broken.is_some() {
                        let (faults, outcome) =
                            shrink(*seed, Faults::drawn_by(*seed), &Habits::drawn_by(*seed));
                        panic!(
                            "cargo run --release -p modelfleet-swarm -- --seed {seed} --faults {faults}\n{}",
                            outcome.story.join("\n")
                        );
                    }
                    if seed.is_multiple_of(TWICE) {
                        assert_eq!(play(*seed), outcome, "seed {seed} plays alike twice");
                    }
                    let mut counts = counts.lock().unwrap();
                    outcome.reached.into_iter().for_each(|name| *counts.entry(name).or_default() += 1);
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap();
    for name in OFTEN {
        assert!(counts.contains_key(*name), "no seed reached: {name}");
    }
    // Rare situations need more seeds than a short run has.
    if seeds.len() >= 2_000 {
        assert_eq!(probes::missing(&counts), Vec::<String>::new());
    }
}

/// Situations that a short run reaches.
const OFTEN: &[&str] = &[
    "reason AwaitingVersion",
    "reason AwaitingTurn",
    "reason AwaitingReports",
    "reason Baking",
    "reason PausedByUser",
    "reason RollingBack",
    "reason RolledBack",
    "event StageOpened",
    "event RolledBack",
    "phase Activated",
    "phase Confirmed",
    "phase Failed",
    "phase RolledBack",
    "failure LoadRefused",
    "failure CrashLoop",
    "output Fetch",
    "output Switch",
    "output Shadow",
    "output Delete",
];

/// The world can tell: a shell that does not do what the agent says is found.
#[test]
fn a_defect_of_the_shell_is_found_within_a_few_seeds() {
    for defect in [Defect::DeletesNothing, Defect::KeepsWhatAnswered, Defect::TellsNoLoad] {
        let found =
            (1..=30).find(|seed| play_with_defect(*seed, Faults::drawn_by(*seed), defect).broken.is_some());
        assert!(found.is_some(), "{defect:?}");
    }
    assert_eq!(play_with(1, Faults::default()).broken, None);
}
