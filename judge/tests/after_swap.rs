//! Bad windows right after a change of models: told, and no harm where they end.
#![allow(clippy::unwrap_used)]

use modelfleet_judge::*;
use proptest::prelude::*;

/// Windows after the change at which spans begin, behind one window of warm-up; the first three are settling time.
const EDGES: [u32; 6] = [1, 2, 4, 7, 10, 16];
const SETTLING: usize = 3;
/// Where the last span ends: 40 windows are judged.
const END: u32 = 47;
const CANARIES: u64 = 5;

/// Spans of five canaries with so many bad windows each, and of 195 controls with a fiftieth of theirs.
fn spans(bad: [u64; 6]) -> Vec<AfterSwap> {
    let of = |arm, devices: u64, bad: Option<[u64; 6]>| {
        let ends = EDGES.into_iter().skip(1).chain([END]);
        EDGES.into_iter().zip(ends).enumerate().map(move |(i, (from, end))| {
            let known = devices * u64::from(end - from);
            let bad = bad.map_or(known / 50, |bad| bad[i]);
            AfterSwap { arm, from, settling: i < SETTLING, devices: Counts::new(known, bad) }
        })
    };
    of(Arm::Canary, CANARIES, Some(bad)).chain(of(Arm::Control, 195, None)).collect()
}

/// A look at these canaries: each has counted a fifth of the judged windows of the spans.
fn judged(bad: [u64; 6], reached: u16, known: u64) -> Assessment {
    let spans = spans(bad);
    look(&spans, bad[SETTLING..].iter().sum(), reached, known)
}

fn look(spans: &[AfterSwap], bad: u64, reached: u16, known: u64) -> Assessment {
    let history = Counts::new(600, 12);
    let canary = |id: u64| {
        let bad = bad / CANARIES + u64::from(id < bad % CANARIES);
        [SloCounts { history, post: Counts::new(known, bad) }]
    };
    let canaries: Vec<_> = (0..CANARIES).map(canary).collect();
    let controls: Vec<_> =
        (0..195).map(|id| [SloCounts { history, post: Counts::new(known, u64::from(id % 5 < 4)) }]).collect();
    let ours = (0..).zip(&canaries).map(|(id, counts)| DeviceOutcome {
        settling: known == 0,
        ..DeviceOutcome::new(id, 0, Arm::Canary, counts)
    });
    let theirs = (5..).zip(&controls).map(|(id, counts)| DeviceOutcome::new(id, 0, Arm::Control, counts));
    let devices: Vec<_> = ours.chain(theirs).collect();
    let rule = SloRule { breach: "too many errors", ..SloRule::statistical("errors", 0) };
    let observations = Observations {
        slos: &[SloRule { after_swap: spans, ..rule }],
        devices: &devices,
        merged: &[],
        needs: Needs { min_devices: 1, min_windows: 5, min_reporting_ppm: 800_000 },
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
        looks: Looks { reached, planned: 6 },
        seed: 7,
    };
    assess(&observations, &StageState::new())
}

#[test]
fn a_cost_within_the_settling_time_is_told_and_passes() {
    let told = judged([5, 10, 15, 0, 1, 3], 6, 40);
    assert_eq!(told.advice, Advice::Advance, "{}", told.sentence);
    let clause = "bad in the first 7 windows after the change of models (30 of 30 windows, 21 of 1170 on others), then as \
                  before: they do not count against the new version";
    assert!(told.sentence.ends_with(clause), "{}", told.sentence);
    assert!(!judged([0, 0, 1, 0, 1, 3], 6, 40).sentence.contains("change of models"));
}

#[test]
fn before_anything_is_judged_the_first_windows_are_told() {
    let told = judged([5, 10, 15, 0, 0, 0], 0, 0);
    assert_eq!(told.advice, Advice::Wait);
    assert!(
        told.sentence.contains("5 are still in their first windows after the change of models"),
        "{}",
        told.sentence
    );
    assert!(told.sentence.contains("100 % of the updated devices are reporting"), "{}", told.sentence);
    let of_slo = &told.per_slo[0].sentence;
    assert!(
        of_slo.contains("so far too many errors in 30 of their 30 windows, in 21 of 1170 of others"),
        "{of_slo}"
    );
}

#[test]
fn a_longer_cost_takes_nothing_back_and_does_not_pass() {
    for reached in [1, 3, 6] {
        let told = judged([5, 10, 15, 15, 0, 2], reached, 40);
        assert_eq!((told.verdict, told.advice), (Verdict::Undecided, Advice::Wait), "{}", told.sentence);
        assert!(told.sentence.contains("but only right after the change of models"), "{}", told.sentence);
        assert!(
            told.sentence.ends_with("observe.warmupWindows: 10 would leave them out"),
            "{}",
            told.sentence
        );
        assert!(told.spent_ppb > 0, "the look is spent");
    }
}

#[test]
fn harm_that_lasts_is_taken_back_whatever_the_change_cost() {
    for first in [[0, 0, 0], [5, 10, 15]] {
        let told = judged([first[0], first[1], first[2], 4, 8, 40], 3, 40);
        assert_eq!(told.advice, Advice::RollBack, "{}", told.sentence);
        assert!(!told.sentence.contains("change of models"), "{}", told.sentence);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is known of the time after the change only takes a rollback away, and makes nothing Healthy.
    #[test]
    fn it_never_adds_a_rollback_nor_a_pass(bad in prop::array::uniform6(0_u64..60), reached in 1_u16..8) {
        let spans = spans(bad);
        let sum = bad[SETTLING..].iter().sum::<u64>();
        let (with, without) = (look(&spans, sum, reached, 40), look(&[], sum, reached, 40));
        if with.advice == Advice::RollBack {
            prop_assert_eq!(without.advice, Advice::RollBack);
        }
        if without.advice != Advice::Advance {
            prop_assert_ne!(with.advice, Advice::Advance);
        }
        prop_assert_eq!(with.spent_ppb, without.spent_ppb);
    }
}
