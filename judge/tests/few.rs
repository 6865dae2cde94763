//! Harm to a few devices or to one stratum, and devices that are bad whatever runs on them.
#![allow(clippy::unwrap_used)]

use modelfleet_judge::*;
use modelfleet_number::chance::Chance;

/// A device's arm, stratum, and its share of bad windows since the stage opened.
#[derive(Debug, Clone, Copy)]
struct Device {
    canary: bool,
    stratum: u16,
    share: f64,
}

/// 600 windows of history with a tenth of them bad, 120 since; the last of six looks.
fn judged(devices: &[Device], allowance_ppm: u32, seed: u64) -> Assessment {
    let mut luck = Chance::new(seed);
    let mut bad = |windows: u64, p: f64| (0..windows).filter(|_| luck.unit() < p).count() as u64;
    let counts: Vec<[SloCounts; 1]> = devices
        .iter()
        .map(|d| {
            let history = Counts::new(600, bad(600, 0.1));
            [SloCounts { history, post: Counts::new(120, bad(120, d.share)) }]
        })
        .collect();
    let arm = |d: &Device| if d.canary { Arm::Canary } else { Arm::Control };
    let list: Vec<_> = (0..)
        .zip(devices.iter().zip(&counts))
        .map(|(id, (d, c))| DeviceOutcome::new(id, d.stratum, arm(d), c))
        .collect();
    let observations = Observations {
        slos: &[SloRule::statistical("alarms", allowance_ppm)],
        devices: &list,
        merged: &[],
        needs: Needs { min_devices: 1, min_windows: 5, min_reporting_ppm: 0 },
        hard: HardRule { weight: 0, ..HardRule::default() },
        silence: SilenceRule { weight: 0, ..SilenceRule::default() },
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
        looks: Looks { reached: 6, planned: 6 },
        seed,
    };
    assess(&observations, &StageState::new())
}

/// So many canaries of so many devices, in strata by turns, the rest better or as before.
fn fleet(devices: usize, canaries: usize, strata: u16, rest: f64) -> Vec<Device> {
    let of = |i: usize| Device {
        canary: i < canaries,
        stratum: (i % usize::from(strata.max(1))) as u16,
        share: if i < canaries { rest } else { 0.1 },
    };
    (0..devices).map(of).collect()
}

#[test]
fn harm_to_a_few_is_found_behind_a_rest_that_got_better() {
    for seed in 0..5 {
        let mut devices = fleet(2_000, 200, 1, 0.03);
        devices[..6].iter_mut().for_each(|d| d.share = 0.9);
        for allowance in [0, 150_000] {
            let found = judged(&devices, allowance, seed);
            assert_eq!(found.advice, Advice::RollBack, "{}", found.sentence);
            assert!(
                found.sentence.starts_with("6 of 200 updated devices got far worse than before (device "),
                "{}",
                found.sentence
            );
            assert!(found.sentence.contains(" and 3 more), 0 of 1800 others"), "{}", found.sentence);
        }
    }
}

#[test]
fn harm_to_one_stratum_of_twenty_is_found_behind_a_rest_that_got_better() {
    for seed in 0..5 {
        let mut devices = fleet(2_000, 200, 20, 0.03);
        devices.iter_mut().filter(|d| d.canary && d.stratum == 7).for_each(|d| d.share = 0.41);
        let found = judged(&devices, 0, seed);
        assert_eq!(found.advice, Advice::RollBack, "{}", found.sentence);
        assert!(found.sentence.contains("in stratum 7: bad in"), "{}", found.sentence);
    }
}

#[test]
fn a_pass_says_which_harm_to_a_few_it_rules_out() {
    let passed = judged(&fleet(2_000, 200, 20, 0.1), 0, 3);
    assert_eq!(passed.advice, Advice::Advance, "{}", passed.sentence);
    let proof = passed.per_slo[0].few_proof.unwrap();
    assert!(proof.share_ppm < 20_000 && proof.rise_ppm <= 6_000_000, "{proof:?}");
    assert!(proof.stratum_ppm.unwrap() < 3_000_000, "{proof:?}");
    assert!(passed.sentence.contains("on more than 1.9 % of the devices"), "{}", passed.sentence);
    assert!(passed.sentence.contains("in any one stratum"), "{}", passed.sentence);
}

/// Broken sensors in both arms, as many among canaries as chance lets expect, hold nothing up; more among canaries do.
#[test]
fn broken_devices_hold_up_only_what_chance_does_not_explain() {
    for (canaries, ours, theirs, passes) in
        [(5, 1, 3, true), (20, 1, 3, true), (100, 2, 2, true), (20, 2, 0, false), (100, 6, 0, false)]
    {
        let mut passed = 0;
        for seed in 0..5 {
            let mut devices = fleet(200, canaries, 1, 0.1);
            let both = devices[..ours].len()..devices.len();
            devices[..ours].iter_mut().for_each(|d| d.share = 0.9);
            devices[both].iter_mut().rev().take(theirs).for_each(|d| d.share = 0.9);
            let assessment = judged(&devices, 0, seed);
            passed += u32::from(assessment.advice == Advice::Advance);
            if assessment.advice == Advice::Wait {
                assert!(assessment.sentence.contains("got far worse than before"), "{}", assessment.sentence);
            }
        }
        assert!(if passes { passed >= 4 } else { passed == 0 }, "{canaries}, {ours}, {theirs}: {passed}");
    }
}

/// Broken controls scatter so much that three times the rate would not be told from chance if they counted.
#[test]
fn broken_controls_do_not_hide_harm_to_all() {
    for broken in [4, 10, 30] {
        for seed in 0..5 {
            let mut devices = fleet(200, 5, 1, 0.27);
            devices[200 - broken..].iter_mut().for_each(|d| d.share = 0.9);
            let assessment = judged(&devices, 0, seed);
            assert_ne!(assessment.advice, Advice::Advance, "{broken}: {}", assessment.sentence);
        }
    }
}

/// Where nothing is wrong, a quarter of the budget buys no more than its part of false findings.
#[test]
fn nothing_is_found_in_an_unchanged_fleet() {
    let found = (0..40).filter(|seed| {
        let assessment = judged(&fleet(400, 100, 10, 0.1), 0, 1_000 + seed);
        assessment.advice == Advice::RollBack
    });
    assert!(found.count() <= 3);
}

/// The planner says before a stage what the verdict says after it, where the devices are as planned.
#[test]
fn plan_and_verdict_rule_out_the_same() {
    use modelfleet_judge::sizing::{FleetRates, StageSize, few_proof};
    let rates = FleetRates { share_ppm: 100_000, sigma_milli: 0, dispersion_milli: 1_000, past_windows: 600 };
    for (canaries, strata) in [(40_usize, 1_u16), (200, 1), (200, 4), (1_000, 4)] {
        let size = StageSize {
            fleet: 2_000,
            canaries: canaries as u64,
            controls: 2_000 - canaries as u64,
            windows: 120,
            reporting_ppm: 1_000_000,
            looks: 6,
            gates: 1,
        };
        let planned = few_proof(&size, &rates, u64::from(strata), &[]).unwrap();
        let answer = judged(&fleet(2_000, canaries, strata, 0.1), 0, 3);
        assert_eq!(answer.verdict, Verdict::Healthy, "{}", answer.sentence);
        let told = answer.per_slo[0].few_proof.unwrap();
        let case = format!("{canaries} in {strata} strata: {planned:?} {told:?}");
        assert_eq!((planned.share_ppm, planned.rise_ppm), (told.share_ppm, told.rise_ppm), "{case}");
        assert_eq!(planned.stratum_ppm.is_some(), told.stratum_ppm.is_some(), "{case}");
        // The worst of several strata is told; four of five times the planned rise is enough for one of them.
        if let (Some(planned), Some(told)) = (planned.stratum_ppm, told.stratum_ppm) {
            assert!((planned * 8 / 10..planned * 13 / 10).contains(&told), "{case}");
        }
    }
}

/// 2 000 devices by label, so many canaries in each of twenty groups as `canaries` says, drawn from one stratum or from a stratum
/// for each group; the canaries of group 8 as bad as `share`.
fn twenty_groups(canaries: impl Fn(usize) -> usize, spread: bool, share: f64, seed: u64) -> Assessment {
    let mut luck = Chance::new(seed);
    let mut bad = |windows: u64, p: f64| (0..windows).filter(|_| luck.unit() < p).count() as u64;
    let is_canary = |i: usize| i / 20 < canaries(i % 20);
    let counts: Vec<[SloCounts; 1]> = (0..2_000)
        .map(|i| {
            let now = if is_canary(i) && i % 20 == 7 { share } else { 0.1 };
            let history = Counts::new(600, bad(600, 0.1));
            [SloCounts { history, post: Counts::new(120, bad(120, now)) }]
        })
        .collect();
    let device = |i: usize| {
        let arm = if is_canary(i) { Arm::Canary } else { Arm::Control };
        let group = (i % 20) as u16;
        let (stratum, watched) = if spread { (group, [0; 4]) } else { (0, [0, group + 1, 0, 0]) };
        DeviceOutcome { watched, ..DeviceOutcome::new(i as u32, stratum, arm, &counts[i]) }
    };
    let list: Vec<_> = (0..2_000).map(device).collect();
    let assess_look = |reached: u16, state: &StageState| {
        let observations = Observations {
            slos: &[SloRule::statistical("alarms", 0)],
            devices: &list,
            merged: &[],
            needs: Needs { min_devices: 1, min_windows: 5, min_reporting_ppm: 0 },
            hard: HardRule::default(),
            silence: SilenceRule::default(),
            budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 4 },
            looks: Looks { reached, planned: 6 },
            seed,
        };
        assess(&observations, state)
    };
    let mut state = StageState::new();
    for reached in 1..6 {
        let assessment = assess_look(reached, &state);
        if assessment.advice == Advice::RollBack {
            return assessment;
        }
        state = assessment.state;
    }
    assess_look(6, &state)
}

/// The share of the budget that one objective of a default rollout has: three canaries of a hundred devices are enough, two
/// can never be, because one draw in 4 950 has the same two.
#[test]
fn three_harmed_canaries_of_a_group_are_found_within_the_budget_of_a_default_rollout() {
    for (spread, words) in [(true, "in stratum 7: bad in"), (false, "in group 1/8: bad in")] {
        let by = |here: usize| move |group: usize| if group == 7 { here } else { 2 + group % 2 };
        let found = |canaries: usize| {
            let all = (0..6).map(|seed| twenty_groups(by(canaries), spread, 0.41, seed));
            // Now and then the test of all devices is first, which says nothing of the group.
            all.filter(|a| a.advice == Advice::RollBack && a.sentence.contains(words)).count()
        };
        assert!(found(3) >= 4, "spread: {spread}: {}", found(3));
        assert_eq!(found(2), 0, "spread: {spread}");
    }
}

#[test]
fn a_pass_says_what_it_rules_out_in_each_watched_group() {
    let passed = twenty_groups(|group| if group == 3 { 0 } else { 10 }, false, 0.1, 1);
    assert_eq!(passed.advice, Advice::Advance, "{}", passed.sentence);
    let watched = passed.per_slo[0].few_proof.unwrap().watched.unwrap();
    assert_eq!((watched.told, watched.groups), (19, 20), "no device of group 4 has the candidate");
    assert!((1_200_000..3_000_000).contains(&watched.rise_ppm), "{watched:?}");
    assert!(
        passed.sentence.contains("x in any one of 19 of the 20 groups of watchBy"),
        "{}",
        passed.sentence
    );
}

/// A recorded look says which groups it watched, and is judged again to the last letter.
#[test]
fn watched_groups_are_recorded() {
    let counts = [SloCounts { history: Counts::new(60, 6), post: Counts::new(60, 6) }];
    let device = |id: u32| {
        let arm = if id < 40 { Arm::Canary } else { Arm::Control };
        DeviceOutcome { watched: [(id % 3) as u16, 0, 0, 0], ..DeviceOutcome::new(id, 0, arm, &counts) }
    };
    let devices: Vec<_> = (0..200).map(device).collect();
    let observations = Observations {
        slos: &[SloRule::statistical("alarms", 0)],
        devices: &devices,
        merged: &[],
        needs: Needs::default(),
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
        looks: Looks { reached: 6, planned: 6 },
        seed: 4,
    };
    let answer = assess(&observations, &StageState::new());
    assert!(answer.sentence.contains("the 2 groups of watchBy"), "{}", answer.sentence);
    let line = record::Record::of("a look", &observations, &StageState::new(), &answer).to_line().unwrap();
    let read = record::Record::from_line(&line).unwrap();
    assert_eq!(read.replay().unwrap(), answer);
    let cut = record::Record { watched: read.watched[1..].to_vec(), ..read };
    assert!(cut.replay().is_err());
}
