//! The kept corpus of every kind of bytes, and changes of it, on any compiler. libFuzzer finds more, with a nightly one:
//! `make fuzz`.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::path::PathBuf;

use modelfleet_untrusted::{Cost, TARGETS, Target};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// What stands in the place of a number or of some bytes: where readers have their limits.
const ODD: [&str; 18] = [
    "",
    "0",
    "-1",
    "1e400",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "0.5",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"\u{fffd}\"",
    "NaN",
    "\n",
    "\0",
    "\u{1b}[2J",
];
/// Most bytes that a change grows to.
const BYTES_MAX: usize = 64 * 1024;

/// One change.
#[derive(Clone, Debug)]
enum Change {
    Flip {
        at: usize,
        bits: u8,
    },
    Remove {
        at: usize,
        count: usize,
    },
    /// Bytes come a second time, elsewhere.
    Repeat {
        at: usize,
        count: usize,
        to: usize,
    },
    /// Something odd in the place of the number that stands at or behind a place.
    Number {
        at: usize,
        odd: usize,
    },
    Insert {
        at: usize,
        odd: usize,
    },
    /// The end of another entry of the corpus behind the beginning of this one.
    Splice {
        at: usize,
        other: usize,
        from: usize,
    },
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let (at, odd) = (|| 0..BYTES_MAX, || 0..ODD.len());
    let change = prop_oneof![
        2 => (at(), 1_u8..).prop_map(|(at, bits)| Change::Flip { at, bits }),
        2 => (at(), 1_usize..64).prop_map(|(at, count)| Change::Remove { at, count }),
        1 => (at(), 1_usize..256, at()).prop_map(|(at, count, to)| Change::Repeat { at, count, to }),
        4 => (at(), odd()).prop_map(|(at, odd)| Change::Number { at, odd }),
        1 => (at(), odd()).prop_map(|(at, odd)| Change::Insert { at, odd }),
        1 => (at(), any::<usize>(), at()).prop_map(|(at, other, from)| Change::Splice { at, other, from }),
    ];
    prop::collection::vec(change, 0..6)
}

fn apply(bytes: &mut Vec<u8>, change: &Change, corpus: &[Vec<u8>]) {
    let place = |at: usize, bytes: &[u8]| at % (bytes.len() + 1);
    match *change {
        Change::Flip { at, bits } => {
            let at = place(at, bytes);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bits;
            }
        }
        Change::Remove { at, count } => {
            let at = place(at, bytes);
            let end = (at + count).min(bytes.len());
            bytes.drain(at..end);
        }
        Change::Repeat { at, count, to } => {
            let (at, to) = (place(at, bytes), place(to, bytes));
            let some = bytes[at..(at + count).min(bytes.len())].to_vec();
            bytes.splice(to..to, some);
        }
        Change::Number { at, odd } => {
            let at = place(at, bytes);
            let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|ahead| at + ahead) else {
                return;
            };
            let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            bytes.splice(start..start + digits, ODD[odd].bytes());
        }
        Change::Insert { at, odd } => {
            let at = place(at, bytes);
            bytes.splice(at..at, ODD[odd].bytes());
        }
        Change::Splice { at, other, from } => {
            let other = &corpus[other % corpus.len()];
            let (at, from) = (place(at, bytes), place(from, other));
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
    bytes.truncate(BYTES_MAX);
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Tries a kind of bytes. The chance is the same each time, so that a run that passed passes again.
fn tried(target: &Target) {
    let corpus = corpus(target);
    let taken = corpus.iter().filter(|bytes| (target.read)(bytes)).count();
    assert!(taken > 0, "{}: nothing of the corpus is taken, so it tries the door alone", target.name);
    let cases = match target.cost {
        Cost::Low => 4_000,
        Cost::Middle => 300,
        Cost::High => 40,
    };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let chance = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, chance);
    let changed = (0..corpus.len(), changes());
    let outcome = runner.run(&changed, |(entry, changes)| {
        let mut bytes = corpus[entry].clone();
        changes.iter().for_each(|change| apply(&mut bytes, change, &corpus));
        let _ = (target.read)(&bytes);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{}: {error}", target.name));
}

/// One test for each kind, so that a failure names it and they run side by side.
macro_rules! each_kind {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let name = stringify!($name).trim_start_matches("any_");
            tried(TARGETS.iter().find(|target| target.name == name).unwrap());
        })*

        #[test]
        fn no_kind_is_left_out() {
            let tested = [$(stringify!($name).trim_start_matches("any_")),*];
            let left_out: Vec<&str> = TARGETS.iter().map(|target| target.name).filter(|name| !tested.contains(name)).collect();
            assert!(left_out.is_empty(), "{left_out:?}");
        }
    };
}

each_kind! {
    any_card any_control_record any_envelope any_in_toto any_judge_record any_lint any_local_api any_message any_model_file
    any_model_signing any_truth_lines
    any_override any_plan any_report any_rollout any_scenario any_signed_plan any_state any_statement any_topic
    any_training_rows any_trust any_windows_record
}

/// Every kind has a target for libFuzzer, which calls the same function, and nothing else has one.
#[test]
fn every_kind_is_fuzzed() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let mut targets: Vec<String> = std::fs::read_dir(folder.join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    targets.sort();
    let mut kinds: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    kinds.sort_unstable();
    assert_eq!(targets, kinds);
    for kind in kinds {
        let body = std::fs::read_to_string(folder.join(format!("fuzz_targets/{kind}.rs"))).unwrap();
        assert!(body.contains("modelfleet_untrusted::"), "{kind} has a body of its own");
        assert!(manifest.contains(&format!("name = \"{kind}\"")), "fuzz/Cargo.toml does not build {kind}");
    }
}
