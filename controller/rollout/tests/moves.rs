//! The table of moves, whole, as golden text.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;

use modelfleet_rollout::{Move, PhaseKind, after};

#[test]
#[allow(clippy::disallowed_methods, reason = "golden files")]
fn every_phase_with_every_move() {
    let mut table = String::new();
    for phase in PhaseKind::ALL {
        for step in Move::ALL {
            let to = after(phase, step).map_or("-".to_owned(), |to| format!("{to:?}"));
            writeln!(table, "{:<17} {:<11} {to}", format!("{phase:?}"), format!("{step:?}")).unwrap();
        }
    }
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/moves.out");
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(golden, &table).expect("a golden file can be written");
    }
    assert_eq!(std::fs::read_to_string(golden).unwrap_or_default(), table);
}

#[test]
fn no_phase_is_a_dead_end_but_the_ends() {
    for phase in PhaseKind::ALL {
        let ways = Move::ALL.iter().filter(|step| after(phase, **step).is_some()).count();
        assert!(ways > 0, "{phase:?} has no way out");
    }
}
