//! Laws that hold for every input, tried on random ones.

use modelfleet_judge::*;
use proptest::prelude::*;

/// A device with its counts, owned.
#[derive(Debug, Clone)]
struct Owned {
    id: u32,
    stratum: u16,
    canary: bool,
    attempted: bool,
    active: bool,
    reporting: bool,
    awaited: bool,
    failure: Option<u16>,
    counts: Vec<SloCounts>,
}

#[derive(Debug, Clone)]
struct Case {
    devices: Vec<Owned>,
    allowances: Vec<u32>,
    margins: Vec<Option<u64>>,
    reached: u16,
    needs: Needs,
    budget: Budget,
    seed: u64,
    merged: Vec<MergedWindow>,
}

impl Case {
    fn judge(&self, state: &StageState) -> Assessment {
        let slos: Vec<SloRule<'_>> = self
            .allowances
            .iter()
            .zip(&self.margins)
            .enumerate()
            .map(|(i, (&allowance, &margin))| SloRule {
                margin_ppm: margin,
                judged_by: if i == 2 { JudgedBy::Plain { for_windows: 2 } } else { JudgedBy::Statistical },
                ..SloRule::statistical("slo", allowance)
            })
            .collect();
        let devices: Vec<DeviceOutcome<'_>> = self
            .devices
            .iter()
            .map(|d| DeviceOutcome {
                id: d.id,
                stratum: d.stratum,
                watched: [0; WATCHED_MAX],
                arm: if d.canary { Arm::Canary } else { Arm::Control },
                attempted: d.attempted,
                active: d.active,
                reporting: d.reporting,
                awaited: d.awaited,
                settling: false,
                hard_failure: d.failure,
                slos: &d.counts,
            })
            .collect();
        let observations = Observations {
            slos: &slos,
            devices: &devices,
            merged: &self.merged,
            needs: self.needs,
            hard: HardRule::default(),
            silence: SilenceRule::default(),
            budget: self.budget,
            looks: Looks { reached: self.reached, planned: 6 },
            seed: self.seed,
        };
        assess(&observations, state)
    }
}

/// Mostly sane counts, sometimes anything up to 2^64 - 1.
fn counts() -> impl Strategy<Value = Counts> {
    prop_oneof![
        8 => (0_u64..80, 0_u64..80).prop_map(|(known, bad)| Counts::new(known, bad)),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(known, bad)| Counts { known, bad }),
        1 => Just(Counts { known: 0, bad: 1 << 63 }),
    ]
}

fn sane() -> impl Strategy<Value = Counts> {
    (20_u64..61, 0_u64..61).prop_map(|(known, bad)| Counts::new(known, bad / 4))
}

fn device(id: u32, counts: impl Strategy<Value = Counts>, slos: usize) -> impl Strategy<Value = Owned> {
    let counts = prop::collection::vec(counts, slos * 2);
    let failure = prop_oneof![9 => Just(None), 1 => any::<u16>().prop_map(Some)];
    (0_u16..3, 0_u8..5, any::<[bool; 3]>(), 0_u8..10, failure, counts).prop_map(
        move |(stratum, arm, [attempted, active, awaited], silent, failure, counts)| Owned {
            id,
            stratum,
            canary: arm == 0,
            attempted: attempted || arm > 0,
            active: active || arm == 0,
            reporting: silent > 0,
            awaited: awaited || arm > 0,
            failure,
            counts: counts.chunks(2).map(|c| SloCounts { history: c[0], post: c[1] }).collect(),
        },
    )
}

fn case<S: Strategy<Value = Counts> + Clone + 'static>(counts: S, most: u32) -> impl Strategy<Value = Case> {
    let devices = (0..most).prop_flat_map(move |n| {
        let counts = counts.clone();
        (0..n).map(|id| device(id, counts.clone(), 3)).collect::<Vec<_>>()
    });
    let margins = prop::collection::vec(prop::option::of(any::<u64>()), 3);
    let needs = (0_u32..10, 0_u32..40, 0_u32..1_000_001).prop_map(|(min_devices, min_windows, share)| {
        Needs { min_devices, min_windows, min_reporting_ppm: share }
    });
    let budget =
        (any::<u32>(), any::<u64>(), any::<u16>()).prop_map(|(total_ppm, spent_ppb, stages_left)| Budget {
            total_ppm: total_ppm % 200_000,
            spent_ppb: spent_ppb % 20_000_000,
            stages_left: stages_left % 6,
        });
    let window = (0_u32..4, any::<bool>(), any::<[u64; 2]>(), any::<bool>(), any::<i64>()).prop_map(
        |(slo, canary, [window, devices], breached, value_milli)| MergedWindow {
            slo,
            arm: if canary { Arm::Canary } else { Arm::Control },
            window: window % 5,
            breached,
            value_milli,
            threshold_milli: value_milli,
            devices: Counts::new(devices, devices / 2),
            samples: devices,
        },
    );
    let merged = prop::collection::vec(window, 0..8);
    let allowances = prop::collection::vec(0_u32..300_000, 3);
    (devices, allowances, margins, 0_u16..9, needs, budget, any::<u64>(), merged).prop_map(
        |(devices, allowances, margins, reached, needs, budget, seed, merged)| Case {
            devices,
            allowances,
            margins,
            reached,
            needs,
            budget,
            seed,
            merged,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// No input panics; the budget spent never exceeds the budget; the state survives its text.
    #[test]
    fn any_input_is_answered_within_budget(case in case(counts().boxed(), 40)) {
        let mut case = case;
        let mut state = StageState::new();
        for reached in 0..9 {
            case.reached = reached;
            let assessment = case.judge(&state);
            prop_assert!(assessment.spent_ppb <= assessment.allotted_ppb);
            let left = u64::from(case.budget.total_ppm) * 1000;
            prop_assert!(assessment.allotted_ppb <= left.saturating_sub(case.budget.spent_ppb));
            let text = assessment.state.to_text();
            prop_assert!(text.len() <= 8 * 1024);
            prop_assert_eq!(&StageState::from_text(&text).unwrap(), &assessment.state);
            state = assessment.state;
        }
    }

    /// The budget holds too when canaries grow and shrink past the limits between the layers.
    #[test]
    fn both_layers_share_one_budget(sizes in prop::collection::vec(0_u32..140, 1..9), looks in any::<u64>()) {
        let mut state = StageState::new();
        for (i, &canaries) in sizes.iter().enumerate() {
            let device = |id: u32| {
                let slo = SloCounts { history: Counts::new(50, 10), post: Counts::new(20, u64::from(id % 7)) };
                Owned {
                    id, stratum: 0, canary: id < canaries, attempted: true, active: true, reporting: true,
                    awaited: true, failure: None, counts: vec![slo],
                }
            };
            let case = Case {
                devices: (0..160).map(device).collect(),
                allowances: vec![0],
                margins: vec![None],
                reached: i as u16 + (looks >> i & 1) as u16,
                needs: Needs::default(),
                budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
                seed: looks,
                merged: vec![],
            };
            let assessment = case.judge(&state);
            prop_assert!(assessment.spent_ppb <= assessment.allotted_ppb);
            prop_assert!(assessment.per_slo[0].spent_ppb <= assessment.allotted_ppb / 4);
            state = assessment.state;
        }
    }

    /// The order in which devices and windows are given does not matter; nor does asking twice.
    #[test]
    fn order_does_not_matter(case in case(sane().boxed(), 60), turn in 1_usize..50) {
        let first = case.judge(&StageState::new());
        prop_assert_eq!(&first, &case.judge(&StageState::new()));
        let mut other = case.clone();
        other.devices.reverse();
        if !other.devices.is_empty() {
            let turn = turn % other.devices.len();
            other.devices.rotate_left(turn);
        }
        other.merged.reverse();
        // Two entries for one window of one arm are the caller's contradiction; leave them out.
        let mut keys: Vec<_> = case.merged.iter().map(|w| (w.slo, w.arm, w.window)).collect();
        keys.sort_unstable();
        keys.dedup();
        prop_assume!(keys.len() == case.merged.len());
        let mut second = other.judge(&StageState::new());
        let sorted = |a: &mut Assessment| {
            if let Some(HardStop { action: HardAction::Quarantine(ids), .. }) = &mut a.hard_stop {
                ids.sort_unstable();
            }
        };
        let mut first = first;
        sorted(&mut first);
        sorted(&mut second);
        prop_assert_eq!(first, second);
    }

    /// Harm, once shown, stays: no later look of the stage turns it into Healthy.
    #[test]
    fn degraded_stays(case in case(sane().boxed(), 60), calm in case(sane().boxed(), 60)) {
        let mut state = StageState::new();
        let mut degraded = false;
        for (reached, case) in [(1, &case), (3, &calm), (6, &calm), (8, &case)] {
            let case = Case { reached, ..case.clone() };
            let assessment = case.judge(&state);
            degraded |= assessment.per_slo.iter().any(|s| s.relative_harm && s.promised);
            if degraded {
                prop_assert_ne!(assessment.advice, Advice::Advance);
            }
            state = assessment.state;
        }
    }

    /// More harm in canaries never turns Degraded into Healthy, and makes the estimate no smaller as long as the same
    /// number of devices is left out of it as far worse than before: those are told beside it, by number and name.
    #[test]
    fn more_harm_is_never_better(case in case(sane().boxed(), 60), extra in 1_u64..40) {
        let case = Case { reached: 6, ..case };
        let before = case.judge(&StageState::new());
        let mut worse = case.clone();
        for device in worse.devices.iter_mut().filter(|d| d.canary) {
            for slo in &mut device.counts {
                slo.post = Counts::new(slo.post.known, slo.post.bad + extra);
            }
        }
        let after = worse.judge(&StageState::new());
        for (b, a) in before.per_slo.iter().zip(&after.per_slo).filter(|(b, _)| b.promised) {
            if b.verdict == Verdict::Degraded {
                prop_assert_ne!(a.verdict, Verdict::Healthy);
            }
            // Harm that makes more canaries far worse takes them out of the estimate, and names them.
            let named = |s: &SloVerdict| s.few.as_ref().map_or(0, |few| few.canaries);
            if b.verdict == Verdict::Undecided && b.devices > 0 && b.margin_ppm != u64::MAX {
                prop_assert!(a.estimate_ppm >= b.estimate_ppm || named(a) > named(b));
            }
            if b.verdict == Verdict::Undecided && b.devices > 0 && b.unlike.is_none() && before.coverage.met {
                prop_assert_ne!(a.verdict, Verdict::Healthy);
            }
        }
    }

    /// A device of which nothing is known never helps: it cannot make a stage advance.
    #[test]
    fn unknown_devices_never_help(case in case(sane().boxed(), 60), stratum in 0_u16..4, facts: [bool; 2]) {
        let case = Case { reached: 6, ..case };
        let before = case.judge(&StageState::new());
        let mut more = case.clone();
        let nothing = Owned {
            id: 1_000, stratum, canary: true, attempted: true, active: true, reporting: facts[0],
            awaited: facts[1], failure: None, counts: vec![SloCounts::default(); 3],
        };
        more.devices.push(nothing);
        let after = more.judge(&StageState::new());
        for (b, a) in before.per_slo.iter().zip(&after.per_slo) {
            if b.verdict != Verdict::Healthy {
                prop_assert_ne!(a.verdict, Verdict::Healthy);
            }
        }
        prop_assert!(after.coverage.devices <= before.coverage.devices);
    }

    /// Damaged state text is refused, never a panic.
    #[test]
    fn damaged_state_is_refused(text in "\\PC{0,200}", cut in 0_usize..60) {
        let _ = StageState::from_text(&text);
        let whole = StageState { slos: vec![SloState::default(); 4], ..StageState::new() }.to_text();
        let _ = StageState::from_text(&whole[..cut.min(whole.len())]);
    }
}
