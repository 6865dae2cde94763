use std::collections::BTreeMap;

use super::*;
use crate::day::DAY_MS;
use crate::place::{Tier, part_of_leader};
use crate::row::tests::row;

/// A store whose files are rows as they are.
type Store = BTreeMap<String, Vec<Row>>;

/// Rows and their file, both ways: a file is the numbers of rows that are kept aside.
#[derive(Default)]
struct Files(std::cell::RefCell<Vec<Vec<Row>>>);

impl Files {
    fn encode(&self, rows: &[Row]) -> Result<Vec<u8>, std::convert::Infallible> {
        let mut known = self.0.borrow_mut();
        let at = known.iter().position(|other| other == rows).unwrap_or_else(|| {
            known.push(rows.to_vec());
            known.len() - 1
        });
        Ok(at.to_le_bytes().to_vec())
    }

    fn decode(&self, bytes: &[u8]) -> Vec<Row> {
        let at = usize::from_le_bytes(bytes.try_into().unwrap());
        self.0.borrow()[at].clone()
    }
}

fn name_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;

/// Two days of minutes by two leaders: the second one has written some rows again, with more devices.
fn written() -> Store {
    let minute = NOON / 60_000;
    let mut store = Store::new();
    for part in 0..6_u64 {
        let rows: Vec<Row> = (0..200).map(|i| row(minute + part * 200 + i, 3, 90, 5 + part)).collect();
        put(&mut store, 1, part, rows);
        let again: Vec<Row> = (100..150).map(|i| row(minute + part * 200 + i, 4, 95, 5 + part)).collect();
        put(&mut store, 2, part, again);
    }
    store
}

fn put(store: &mut Store, epoch: u64, number: u64, rows: Vec<Row>) {
    let mut by_place: BTreeMap<Place, Vec<Row>> = BTreeMap::new();
    rows.into_iter().for_each(|row| by_place.entry(row.place()).or_default().push(row));
    for (place, rows) in by_place {
        store.insert(place.file(&part_of_leader(epoch, number)), rows);
    }
}

/// What a reader sees of one resolution.
fn seen(store: &Store, tier: Tier) -> Vec<Row> {
    let of_tier = store.iter().filter(|(path, _)| Place::parse(path).unwrap().0.tier == tier);
    best(of_tier.flat_map(|(_, rows)| rows.clone()))
}

/// Carries out at most so many steps of all work; says whether there was none left.
fn carry_out(store: &mut Store, files: &Files, now_ms: u64, most: &mut usize) -> bool {
    loop {
        let listed = listing(store.keys().map(|path| (path.as_str(), 1)));
        let Some((place, work)) = work(&listed, now_ms).into_iter().next() else { return true };
        let steps = match work {
            Work::Delete(names) => names.iter().map(|name| Step::Delete { path: place.file(name) }).collect(),
            Work::Merge { files: names, ended } => {
                let rows = names.iter().flat_map(|name| store[&place.file(name)].clone()).collect();
                steps(&place, &names, rows, ended, |rows| files.encode(rows), name_of).unwrap()
            }
        };
        for step in steps {
            if *most == 0 {
                return false;
            }
            *most -= 1;
            match step {
                Step::Put { path, bytes } => {
                    store.insert(path, files.decode(&bytes));
                }
                Step::Delete { path } => {
                    store.remove(&path);
                }
            }
        }
    }
}

#[test]
fn a_merge_that_is_killed_after_any_step_loses_nothing_and_ends_the_same() {
    let (files, now_ms) = (Files::default(), NOON + 3 * DAY_MS);
    let whole = {
        let mut store = written();
        assert!(carry_out(&mut store, &files, now_ms, &mut usize::MAX.clone()));
        store
    };
    let minutes = seen(&written(), Tier::Minutes);
    assert_eq!(seen(&whole, Tier::Minutes), minutes);
    assert_eq!(minutes.iter().filter(|row| row.devices == 4).count(), 300);
    let of = |tier| whole.keys().filter(|path| Place::parse(path).unwrap().0.tier == tier).count();
    assert_eq!((of(Tier::Minutes), of(Tier::Hours)), (2, 2), "one file for each day");
    assert_eq!(seen(&whole, Tier::Hours), merged_to(Tier::Hours, &minutes));
    assert_eq!(seen(&whole, Tier::Days), merged_to(Tier::Days, &minutes));
    let mut ends = 0;
    for steps in 0.. {
        let mut store = written();
        let (mut left, mut done) = (steps, false);
        while !done {
            done = carry_out(&mut store, &files, now_ms, &mut left);
            assert_eq!(seen(&store, Tier::Minutes), minutes, "after {steps} steps");
            if left == 0 && !done {
                ends += 1;
                left = usize::MAX;
            }
        }
        assert_eq!(store, whole, "after {steps} steps");
        if left > 0 && left < usize::MAX / 2 {
            break;
        }
    }
    assert!(ends > 10, "{ends} kills");
}

#[test]
fn late_windows_go_to_their_own_day_and_correct_the_hour() {
    let (files, now_ms) = (Files::default(), NOON + 3 * DAY_MS);
    let mut store = written();
    carry_out(&mut store, &files, now_ms, &mut usize::MAX.clone());
    let late = row(NOON / 60_000 + 7, 9, 99, 5);
    put(&mut store, 3, 0, vec![late.clone()]);
    carry_out(&mut store, &files, now_ms, &mut usize::MAX.clone());
    let minutes = seen(&store, Tier::Minutes);
    assert!(minutes.contains(&late));
    assert_eq!(seen(&store, Tier::Hours), merged_to(Tier::Hours, &minutes));
    assert_eq!(seen(&store, Tier::Days), merged_to(Tier::Days, &minutes));
}

#[test]
fn rows_are_kept_by_their_resolution() {
    let (files, mut store) = (Files::default(), written());
    let count = |store: &Store, tier| seen(store, tier).len();
    let at = |store: &mut Store, days: u64| {
        carry_out(store, &files, NOON + days * DAY_MS, &mut usize::MAX.clone());
        [Tier::Minutes, Tier::Hours, Tier::Days].map(|tier| count(store, tier))
    };
    assert_eq!(at(&mut store, 80), [1_200, 20, 2]);
    assert_eq!(at(&mut store, 93), [0, 20, 2], "minutes are kept 90 days");
    assert_eq!(at(&mut store, 740), [0, 0, 2], "hours two years");
    assert_eq!(at(&mut store, 9_999), [0, 0, 2], "days for good");
}

#[test]
fn a_day_that_has_not_ended_waits_until_it_has_many_parts() {
    let mut store = Store::new();
    for part in 0..PARTS_MAX as u64 {
        let listed = listing(store.keys().map(|path| (path.as_str(), 1)));
        assert_eq!(work(&listed, NOON), Vec::new(), "{part} parts");
        put(&mut store, 1, part, vec![row(NOON / 60_000 - part, 1, 90, 5)]);
    }
    let (files, minutes) = (Files::default(), seen(&store, Tier::Minutes));
    carry_out(&mut store, &files, NOON, &mut usize::MAX.clone());
    assert_eq!((store.len(), seen(&store, Tier::Minutes)), (1, minutes));
    let huge = listing(written().keys().map(|path| (path.as_str(), BYTES_MAX / 2)).collect::<Vec<_>>());
    assert_eq!(work(&huge, NOON + 3 * DAY_MS), Vec::new(), "more than one merge may read");
}
