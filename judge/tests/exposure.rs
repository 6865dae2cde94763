//! Canaries and controls that were watched for different times: no harm, and no reason to blame the model.
#![allow(clippy::unwrap_used)]

#[path = "../examples/exposure/fleet.rs"]
mod fleet;

use fleet::{FLEET, Fleet, Run};
use modelfleet_judge::*;

/// The answer at the sixth of six looks, the only one.
fn judged(fleet: Fleet, run: u64) -> Assessment {
    let mut lived = Run::new(fleet, run);
    lived.until(60);
    lived.judged(6, &StageState::new(), run)
}

fn rolled_back(fleet: Fleet, runs: u64) -> u64 {
    (0..runs).filter(|&run| judged(fleet, run).advice == Advice::RollBack).count() as u64
}

/// A look has the whole percent here: of 60 runs three or more have a chance of 2 % under the promise.
#[test]
fn history_that_differs_is_no_harm() {
    for history in [(600, 599), (600, 540), (600, 100), (600, 0), (540, 600), (60, 600)] {
        for (canaries, base) in [(50, 0.002), (20, 0.002), (50, 0.2)] {
            let fleet = Fleet { history, canaries, base, ..FLEET };
            let found = rolled_back(fleet, 60);
            assert!(found <= 2, "{canaries} canaries, base {base}, history {history:?}: {found} of 60");
        }
    }
}

#[test]
fn a_window_less_is_no_harm() {
    for known in [(59, 60), (60, 59), (55, 60)] {
        for (canaries, base) in [(50, 0.002), (20, 0.002), (50, 0.2)] {
            let fleet = Fleet { known, canaries, base, ..FLEET };
            let found = rolled_back(fleet, 60);
            assert!(found <= 2, "{canaries} canaries, base {base}, known {known:?}: {found} of 60");
        }
    }
}

/// Forgetting windows must not forget harm.
#[test]
fn harm_is_found_all_the_same() {
    for (history, known) in [((600, 540), (60, 60)), ((600, 600), (57, 60)), ((300, 600), (60, 59))] {
        let fleet = Fleet { history, known, base: 0.2, ratio: 3.0, canaries: 5, ..FLEET };
        let found = rolled_back(fleet, 20);
        assert!(found >= 19, "history {history:?}, known {known:?}: {found} of 20");
    }
}

/// Canaries are drawn among devices in reach, and so may know more than controls: they are cut to the same.
#[test]
fn canaries_may_know_more() {
    let unchanged = Fleet { known: (60, 45), base: 0.2, canaries: 50, ..FLEET };
    let found = rolled_back(unchanged, 60);
    assert!(found <= 2, "{found} of 60");
    let harmful = Fleet { ratio: 3.0, canaries: 5, ..unchanged };
    assert!(rolled_back(harmful, 20) >= 19);
    let alike = judged(Fleet { known: (60, 30), ..unchanged }, 1);
    assert_eq!(alike.verdict, Verdict::Healthy, "{}", alike.sentence);
    let harmful = judged(Fleet { known: (60, 30), ratio: 3.0, ..unchanged }, 1);
    assert_eq!(harmful.verdict, Verdict::Degraded, "{}", harmful.sentence);
    let apart = judged(Fleet { known: (60, 12), ..unchanged }, 1);
    assert!(apart.sentence.contains("have reported 60 windows on average, others 12"), "{}", apart.sentence);
}

/// A third of the windows unknown in one arm: which windows are missing may be what differs, so nothing passes. A model
/// that is too slow to fill its windows must not hide its harm by that.
#[test]
fn arms_that_are_not_alike_pass_nothing_and_hide_no_harm() {
    let fleet = Fleet { known: (40, 60), base: 0.2, canaries: 5, ..FLEET };
    let assessment = judged(fleet, 1);
    println!("{}", assessment.sentence);
    assert_eq!((assessment.verdict, assessment.advice), (Verdict::Undecided, Advice::Wait));
    assert!(
        assessment
            .sentence
            .contains("not comparable yet: updated devices have reported 40 windows on average, others 60")
    );
    let harmful = judged(Fleet { ratio: 5.0, ..fleet }, 1);
    assert_eq!(
        (harmful.verdict, harmful.advice),
        (Verdict::Degraded, Advice::RollBack),
        "{}",
        harmful.sentence
    );
}
