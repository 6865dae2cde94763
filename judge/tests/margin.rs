//! What Healthy needs: harm that is uneven must not hide as scatter, and nobody asks until the answer is right.
#![allow(clippy::unwrap_used)]

use modelfleet_judge::*;
use modelfleet_number::chance::Chance;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// A device's arm, stratum, and bad windows of its history and since.
#[derive(Debug, Clone)]
struct Device {
    canary: bool,
    stratum: u16,
    past: Counts,
    now: Counts,
}

fn judged(
    devices: &[Device],
    margin_ppm: Option<u64>,
    reached: u16,
    seed: u64,
    state: &StageState,
) -> Assessment {
    let rule = SloRule { margin_ppm, ..SloRule::statistical("alarms", 0) };
    judged_by(rule, devices, reached, seed, state)
}

fn judged_by(
    rule: SloRule<'_>,
    devices: &[Device],
    reached: u16,
    seed: u64,
    state: &StageState,
) -> Assessment {
    let counts: Vec<[SloCounts; 1]> =
        devices.iter().map(|d| [SloCounts { history: d.past, post: d.now }]).collect();
    let arm = |d: &Device| if d.canary { Arm::Canary } else { Arm::Control };
    let list: Vec<_> = devices
        .iter()
        .zip(&counts)
        .enumerate()
        .map(|(i, (d, c))| DeviceOutcome::new(i as u32, d.stratum, arm(d), c))
        .collect();
    let observations = Observations {
        slos: &[rule],
        devices: &list,
        merged: &[],
        needs: Needs { min_devices: 1, min_windows: 5, min_reporting_ppm: 0 },
        hard: HardRule { weight: 0, ..HardRule::default() },
        silence: SilenceRule { weight: 0, ..SilenceRule::default() },
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
        looks: Looks { reached, planned: 6 },
        seed,
    };
    assess(&observations, state)
}

/// `canaries` of `devices`, 600 windows of history, 60 known, each bad with this chance; the first `harmed` canaries
/// are bad so many times as often.
fn fleet(devices: usize, canaries: usize, chance: f64, harmed: usize, times: f64, seed: u64) -> Vec<Device> {
    let mut luck = Chance::new(seed);
    let mut bad = |windows: u64, p: f64| (0..windows).filter(|_| luck.unit() < p).count() as u64;
    (0..devices)
        .map(|i| Device {
            canary: i < canaries,
            stratum: 0,
            past: Counts::new(600, bad(600, chance)),
            now: Counts::new(60, bad(60, if i < harmed { (chance * times).min(1.0) } else { chance })),
        })
        .collect()
}

/// A quarter of the canaries is bad most of the time: whatever the arms, that is not Healthy.
#[test]
fn uneven_harm_is_not_passed() {
    for (devices, canaries, harmed) in [(40, 36, 9), (40, 40, 10), (120, 110, 28), (60, 60, 15), (20, 18, 5)]
    {
        for seed in 0..10 {
            let list = fleet(devices, canaries, 0.03, harmed, 20.0, seed);
            let assessment = judged(&list, None, 6, seed, &StageState::new());
            let told = &assessment.per_slo[0];
            assert_ne!(told.verdict, Verdict::Healthy, "{canaries} of {devices}: {}", told.sentence);
        }
    }
}

/// The same stages with a harmless candidate pass, nearly always.
#[test]
fn a_harmless_candidate_passes() {
    for (devices, canaries) in [(40, 36), (40, 40), (120, 110), (60, 60), (200, 196), (200, 5)] {
        let runs = 40;
        let passed = (0..runs)
            .filter(|&seed| {
                let list = fleet(devices, canaries, 0.03, 0, 1.0, 100 + seed);
                judged(&list, None, 6, seed, &StageState::new()).advice == Advice::Advance
            })
            .count();
        assert!(passed >= 38, "{canaries} of {devices}: {passed} of {runs}");
    }
}

/// Where bad windows are rare, one of them is no harm: the stage passes on exposure.
#[test]
fn a_single_bad_window_passes() {
    for elsewhere in [0, 1, 2] {
        let mut list = fleet(200, 5, 0.0, 0, 1.0, 1);
        list[2].now.bad = 1;
        for device in &mut list[50..65] {
            device.past.bad = 1;
        }
        list[100..100 + elsewhere].iter_mut().for_each(|d| d.now.bad = 1);
        let assessment = judged(&list, None, 6, 1, &StageState::new());
        assert_eq!(assessment.advice, Advice::Advance, "{}", assessment.sentence);
        list[2].now.bad = 9;
        let assessment = judged(&list, None, 6, 1, &StageState::new());
        assert_ne!(assessment.advice, Advice::Advance, "{}", assessment.sentence);
    }
}

/// A candidate as bad as the margin, asked at every window from 60 to 120: it passes in 5 % at most, and what is
/// found at a look stays until the next. The rule has no weight, so that nothing but the margin stops it.
#[test]
fn asking_often_does_not_pass_harm() {
    let rule = SloRule { margin_ppm: Some(1_500_000), weight: 0, ..SloRule::statistical("alarms", 0) };
    let (runs, mut passed) = (150, 0);
    for seed in 0..runs {
        let mut luck = Chance::new(seed);
        let mut list = fleet(200, 20, 0.15, 0, 1.0, 1_000 + seed);
        list.iter_mut().for_each(|d| d.now = Counts::default());
        let mut state = StageState::new();
        let (mut advanced, mut looked, mut before) = (false, 0, Verdict::Undecided);
        for window in 1..=120_u64 {
            for device in &mut list {
                let chance = if device.canary { 0.225 } else { 0.15 };
                device.now = device.now.plus(Counts::new(1, u64::from(luck.unit() < chance)));
            }
            if window < 60 {
                continue;
            }
            let reached = (window / 10) as u16;
            let answer = judged_by(rule, &list, reached, seed, &state);
            let verdict = answer.per_slo[0].verdict;
            if reached == looked && before == Verdict::Healthy {
                assert_ne!(verdict, Verdict::Undecided, "window {window}");
            }
            advanced |= verdict == Verdict::Healthy;
            (looked, before, state) = (reached, verdict, answer.state);
        }
        passed += u64::from(advanced);
    }
    // 5 % of 150 is 7.5; 14 or more have a chance of 2 %.
    assert!(passed <= 13, "{passed} of {runs}");
}

/// 20 canaries of 200 devices whose rates wander from their own past, log-normal with this sigma, and a candidate that
/// makes events come `times` as often; with the ratio of bad windows that this is.
fn wandering(rate: f64, times: f64, sigma: f64, seed: u64) -> (Vec<Device>, f64) {
    let mut luck = Chance::new(seed);
    let share = |events: f64| -libm::expm1(-events);
    let (mut with, mut without) = (0.0, 0.0);
    let list = (0..200)
        .map(|i| {
            let mut level = || {
                let normal = (0..12).map(|_| luck.unit()).sum::<f64>() - 6.0;
                rate * libm::exp(sigma * normal - 0.5 * sigma * sigma)
            };
            let (past, now) = (level(), level());
            with += share(times * now);
            without += share(now);
            let mut bad = |windows: u64, p: f64| {
                Counts::new(windows, (0..windows).filter(|_| luck.unit() < p).count() as u64)
            };
            let now = share(if i < 20 { times * now } else { now });
            Device { canary: i < 20, stratum: 0, past: bad(600, share(past)), now: bad(168, now) }
        })
        .collect();
    (list, with / without)
}

/// A candidate as bad as the margin, on devices whose rates wander: what gets far worse are canaries mostly, and to leave
/// them out must not make the harm to the others look smaller.
#[test]
fn leaving_out_the_worst_devices_does_not_pass_harm() {
    let (runs, mut passed) = (300, 0);
    for (rate, times, sigma) in [(0.05, 2.0, 1.0), (0.05, 3.0, 1.0), (0.2, 2.0, 0.7)] {
        for seed in 7_000..7_000 + runs {
            let (list, margin) = wandering(rate, times, sigma, seed);
            let rule = SloRule {
                margin_ppm: Some((margin * 1e6) as u64),
                weight: 0,
                ..SloRule::statistical("alarms", 0)
            };
            let answer = judged_by(rule, &list, 6, seed, &StageState::new());
            passed += u64::from(answer.per_slo[0].verdict == Verdict::Healthy);
        }
    }
    // 5 % of 900 is 45; 60 or more have a chance of 2 %.
    assert!(passed <= 59, "{passed} of {}", 3 * runs);
}

fn any_case() -> impl Strategy<Value = (Vec<Device>, Option<u64>)> {
    let shape = (4_usize..90, 1_usize..100, 0_usize..6, 1_u16..4, 0_usize..4, 0_usize..4);
    let harm = (0_usize..4, 0_usize..3);
    let margin = prop_oneof![3 => Just(None), 2 => (1_100_000_u64..6_000_000).prop_map(Some)];
    (shape, harm, any::<u64>(), margin).prop_map(
        |((n, share, base, strata, history, known), (times, part), seed, margin)| {
            let mut luck = Chance::new(seed);
            // Canaries are the majority in most cases, and in some there are no controls.
            let canaries = (n * share.max(8) / 92).clamp(1, n);
            let base = [0.0, 0.003, 0.03, 0.2, 0.5, 0.9][base];
            let (history, known) = ([0, 5, 60, 600][history], [5, 20, 60, 300][known]);
            let (times, part) = ([1.0, 1.0, 3.0, 10.0][times], [1.0, 0.5, 0.2][part]);
            let devices = (0..n)
                .map(|i| {
                    let rate: f64 = base * (0.3 + 1.4 * luck.unit());
                    let harmed = i < canaries && luck.unit() < part;
                    let risen = if harmed { rate * times } else { rate };
                    let mut bad = |windows: u64, p: f64| {
                        Counts::new(windows, (0..windows).filter(|_| luck.unit() < p.min(1.0)).count() as u64)
                    };
                    let (past, now) = (bad(history, rate), bad(known, risen));
                    Device { canary: i < canaries, stratum: i as u16 % strata, past, now }
                })
                .collect();
            (devices, margin)
        },
    )
}

/// More harm, to all canaries or to some, turns Degraded into Healthy in three of 6 000 cases at most, and nowhere else than
/// close to the level that shows harm: harm to some scatters the test of all, and a rise that is just not shown any more can be
/// within the default margin. The cases are the same in every run.
#[test]
fn more_harm_is_hardly_ever_better() {
    let mut runner = TestRunner::deterministic();
    let cases = (any_case(), 1_u64..300, 0_usize..3, any::<u64>());
    let (mut shown, mut better) = (0, 0);
    for _ in 0..6_000 {
        let ((devices, margin), extra, some, seed) = cases.new_tree(&mut runner).unwrap().current();
        let before = judged(&devices, margin, 6, seed, &StageState::new());
        if before.per_slo[0].verdict != Verdict::Degraded {
            continue;
        }
        shown += 1;
        let mut luck = Chance::new(seed);
        let mut worse = devices;
        for device in worse.iter_mut().filter(|d| d.canary) {
            if luck.unit() < [1.0, 0.5, 0.1][some] {
                device.now = Counts::new(device.now.known, device.now.bad + extra);
            }
        }
        let after = &judged(&worse, margin, 6, seed, &StageState::new()).per_slo[0];
        better += u32::from(after.verdict == Verdict::Healthy);
    }
    assert!(shown > 600, "only {shown} cases showed harm");
    assert!(better <= 3, "{better} of {shown}");
    println!("{better} of {shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What looks worse than expected, and could be by more than the fineness of any margin, does not pass by a
    /// margin that nobody set. Below twelve effective events in an arm one or two bad windows are any rate, and what
    /// passes there says so with a coarse margin (`a_single_bad_window_passes`).
    #[test]
    fn the_default_margin_passes_nothing_that_seems_worse((devices, _) in any_case(), seed: u64) {
        let told = &judged(&devices, None, 6, seed, &StageState::new()).per_slo[0];
        if told.verdict == Verdict::Healthy && told.controls > 0 && told.margin_ppm < u64::MAX {
            prop_assert!(told.estimate_ppm <= told.margin_ppm);
            let few = told.expected_milli.min(1_000 * told.control.bad()) < 12 * told.dispersion_milli;
            prop_assert!(few || told.low_ppm <= 2_000_000, "{}", told.sentence);
        }
    }
}
