//! What a person reads.
#![allow(clippy::unwrap_used)]

use modelfleet_judge::*;

fn needs() -> Needs {
    Needs { min_devices: 5, min_windows: 30, min_reporting_ppm: 800_000 }
}

/// 200 devices, five canaries of which `harmed` are bad in 12 of 60 windows; `change` alters devices.
fn judged(harmed: u32, reached: u16, change: impl Fn(&mut DeviceOutcome<'_>)) -> Assessment {
    let words = ("too many false alarms", "25 %");
    let slos = [SloRule { breach: words.0, limit: words.1, ..SloRule::statistical("false-alarms", 50_000) }];
    let history = Counts::new(600, 6);
    let [bad, calm, one] = [12, 0, 1].map(|bad| [SloCounts { history, post: Counts::new(60, bad) }]);
    let devices: Vec<_> = (0..200)
        .map(|id| {
            let arm = if id < 5 { Arm::Canary } else { Arm::Control };
            let counts = if id < harmed {
                &bad
            } else if id % 2 == 0 {
                &one
            } else {
                &calm
            };
            let mut device = DeviceOutcome::new(id, 0, arm, counts);
            change(&mut device);
            device
        })
        .collect();
    let observations = Observations {
        slos: &slos,
        devices: &devices,
        merged: &[],
        needs: needs(),
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 4 },
        looks: Looks { reached, planned: 6 },
        seed: 7,
    };
    assess(&observations, &StageState::new())
}

#[test]
fn harm_rolls_back() {
    let assessment = judged(3, 6, |_| ());
    println!("{}", assessment.sentence);
    assert_eq!((assessment.verdict, assessment.advice), (Verdict::Degraded, Advice::RollBack));
    // The conclusion alone: statistics stand apart, and are told last.
    assert_eq!(
        assessment.sentence,
        "too many false alarms (limit 25 %) on 3 of 5 updated devices, 0 of 195 others"
    );
    assert!(assessment.statistics.contains("more than 5 % of its windows"), "{}", assessment.statistics);
    assert!(assessment.statistics.contains(", p = "), "{}", assessment.statistics);
}

#[test]
fn no_harm_advances_only_at_the_end() {
    let early = judged(0, 5, |_| ());
    println!("{}", early.sentence);
    assert_eq!((early.verdict, early.advice), (Verdict::Undecided, Advice::Wait));
    let end = judged(0, 6, |_| ());
    println!("{}", end.sentence);
    assert_eq!((end.verdict, end.advice), (Verdict::Healthy, Advice::Advance));
    // Five devices with three bad windows between them: the sentence does not claim more than that can say.
    let told = &end.sentence;
    assert!(end.per_slo[0].margin_ppm >= 2_000_000, "{told}");
    assert!(
        told.starts_with("only a rise to ") && told.contains("a smaller one may have gone unseen"),
        "{told}"
    );
}

#[test]
fn hard_failures() {
    let one = judged(0, 6, |d| d.hard_failure = (d.id == 0).then_some(3));
    println!("{}", one.hard_stop.as_ref().unwrap().sentence);
    assert_eq!(one.hard_stop.unwrap().action, HardAction::Quarantine(vec![0]));
    assert_eq!(one.advice, Advice::Advance);
    let two = judged(0, 1, |d| d.hard_failure = (d.id < 2).then_some(3));
    println!("{}", two.sentence);
    assert_eq!((two.verdict, two.advice), (Verdict::Degraded, Advice::RollBack));
    let common = judged(0, 6, |d| d.hard_failure = (d.id % 4 == 0).then_some(3));
    println!("{}", common.hard_stop.as_ref().unwrap().sentence);
    assert!(matches!(common.hard_stop.unwrap().action, HardAction::Quarantine(_)));
}

#[test]
fn silent_canaries_roll_back_and_never_advance() {
    let silent = judged(0, 6, |d| d.reporting = d.id >= 4);
    println!("{}", silent.sentence);
    assert_eq!(silent.advice, Advice::RollBack);
    let all = judged(0, 6, |d| d.reporting = false);
    println!("{}", all.sentence);
    assert_eq!((all.verdict, all.advice), (Verdict::Undecided, Advice::Wait));
}

/// A first version has neither a past nor controls: its bounds alone can stop it, and nothing can blame it.
#[test]
fn a_first_version_beyond_its_allowance_is_not_passed() {
    let slos = [SloRule::statistical("false alarms", 50_000)];
    let judged = |bad| {
        let counts = [SloCounts { history: Counts::default(), post: Counts::new(60, bad) }];
        let devices: Vec<_> = (0..20).map(|id| DeviceOutcome::new(id, 0, Arm::Canary, &counts)).collect();
        let observations = Observations {
            slos: &slos,
            devices: &devices,
            merged: &[],
            needs: needs(),
            hard: HardRule::default(),
            silence: SilenceRule::default(),
            budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
            looks: Looks { reached: 6, planned: 6 },
            seed: 7,
        };
        assess(&observations, &StageState::new())
    };
    let broken = judged(30);
    println!("{}", broken.sentence);
    assert_eq!((broken.verdict, broken.advice), (Verdict::Undecided, Advice::Pause));
    assert_eq!(judged(1).advice, Advice::Advance);
}

#[test]
fn nothing_known_waits() {
    let assessment = judged(3, 6, |d| d.slos = &[]);
    println!("{}", assessment.sentence);
    assert_eq!((assessment.verdict, assessment.advice), (Verdict::Undecided, Advice::Wait));
}

/// A controller that starts again between two looks gets the same answer.
#[test]
fn a_restart_changes_nothing() {
    let first = judged(2, 3, |_| ());
    let text = first.state.to_text();
    assert_eq!(StageState::from_text(&text).unwrap(), first.state);
    assert_eq!(judged(2, 3, |_| ()), first);
}

fn plain(canary_breached: bool, control_breached: bool) -> Assessment {
    let slos = [SloRule {
        judged_by: JudgedBy::Plain { for_windows: 3 },
        min_samples: 100,
        ..SloRule::statistical("P95 latency", 0)
    }];
    let window = |window, arm, breached: bool| MergedWindow {
        slo: 0,
        arm,
        window,
        breached,
        value_milli: if breached { 731_500 } else { 210_000 },
        threshold_milli: 500_000,
        devices: Counts::new(5, 5 * u64::from(breached)),
        samples: 400,
    };
    let merged: Vec<_> = (0..4)
        .flat_map(|w| [window(w, Arm::Canary, canary_breached), window(w, Arm::Control, control_breached)])
        .collect();
    let devices: Vec<_> = (0..20)
        .map(|id| DeviceOutcome::new(id, 0, if id < 5 { Arm::Canary } else { Arm::Control }, &[]))
        .collect();
    let observations = Observations {
        slos: &slos,
        devices: &devices,
        merged: &merged,
        needs: needs(),
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 4 },
        looks: Looks { reached: 6, planned: 6 },
        seed: 7,
    };
    assess(&observations, &StageState::new())
}

#[test]
fn the_plain_rule() {
    let worse = plain(true, false);
    println!("{}", worse.sentence);
    assert_eq!(worse.advice, Advice::RollBack);
    assert_eq!(
        worse.sentence,
        "P95 latency outside its limit for 4 windows in a row on updated devices, for 0 on others"
    );
    assert!(worse.statistics.contains("no bound on false rollbacks"));
    let both = plain(true, true);
    println!("{}", both.sentence);
    assert_eq!(both.advice, Advice::Pause);
    assert_eq!(plain(false, false).advice, Advice::Advance);
}

/// Canaries that are worse than their past, and nobody to compare with: the sentence says no more than that.
#[test]
fn without_controls_the_sentence_is_true() {
    let counts = [SloCounts { history: Counts::new(600, 20), post: Counts::new(60, 20) }];
    let judged = |canaries| {
        let devices: Vec<_> =
            (0..canaries).map(|id| DeviceOutcome::new(id, 0, Arm::Canary, &counts)).collect();
        let observations = Observations {
            slos: &[SloRule::statistical("false alarms", 0)],
            devices: &devices,
            merged: &[],
            needs: needs(),
            hard: HardRule::default(),
            silence: SilenceRule::default(),
            budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
            looks: Looks { reached: 6, planned: 6 },
            seed: 7,
        };
        assess(&observations, &StageState::new())
    };
    let many = judged(300);
    let told = &many.per_slo[0].sentence;
    let statistics = &many.per_slo[0].statistics;
    println!("{told}; {statistics}");
    assert_eq!(many.advice, Advice::Pause);
    assert!(told.starts_with("worse than on the same devices before the new version; "), "{told}");
    assert!(statistics.contains("p = "), "{statistics}");
    assert!(many.per_slo[0].p_value_ppb <= many.per_slo[0].threshold_ppb, "{statistics}");
    let few = judged(20);
    println!("{}", few.sentence);
    // A few devices are compared with their own past as well, and ten times the rate is beyond doubt.
    assert_eq!((few.verdict, few.advice), (Verdict::Undecided, Advice::Pause));
    assert!(
        few.sentence.contains("no device is left without it to compare with: false alarms"),
        "{}",
        few.sentence
    );
}

/// Limits of 95 % on each side are a 90 % interval.
#[test]
fn an_interval_is_called_by_its_name() {
    let told = judged(0, 6, |_| ()).per_slo[0].statistics.clone();
    assert!(told.contains("(90 % interval: "), "{told}");
}

/// A tenth of the canaries are silent, too few to take the candidate back: it does not go on either.
#[test]
fn silence_that_proves_nothing_yet_holds() {
    let counts = [SloCounts { history: Counts::new(600, 20), post: Counts::new(60, 2) }];
    let judged = |silent: u32| {
        let device = |id: u32| {
            let arm = if id < 100 { Arm::Canary } else { Arm::Control };
            DeviceOutcome { reporting: id >= silent, ..DeviceOutcome::new(id, 0, arm, &counts) }
        };
        let devices: Vec<_> = (0..200).map(device).collect();
        let observations = Observations {
            slos: &[SloRule::statistical("false alarms", 0)],
            devices: &devices,
            merged: &[],
            needs: needs(),
            hard: HardRule::default(),
            silence: SilenceRule::default(),
            budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 4 },
            looks: Looks { reached: 6, planned: 6 },
            seed: 7,
        };
        assess(&observations, &StageState::new())
    };
    let held = judged(9);
    println!("{}", held.sentence);
    assert_eq!((held.verdict, held.advice), (Verdict::Undecided, Advice::Wait));
    assert!(
        held.sentence.starts_with("no reports from 9 of 100 updated devices, 0 of 100 others"),
        "{}",
        held.sentence
    );
    assert_eq!(judged(1).advice, Advice::Advance, "{}", judged(1).sentence);
    assert_eq!(judged(30).advice, Advice::RollBack, "silence of so many is harm: {}", judged(30).sentence);
}

/// Canaries that a candidate silences are looked at by the clock; a fleet that is away with them is waited for.
#[test]
fn canaries_that_fall_silent_together_are_looked_at() {
    let quiet = |canaries: u32, controls: u32| {
        let device = |id: u32| {
            let (arm, silent) = if id < 5 { (Arm::Canary, canaries) } else { (Arm::Control, 5 + controls) };
            DeviceOutcome { reporting: id >= silent, ..DeviceOutcome::new(id, 0, arm, &[]) }
        };
        gone_quiet(&(0..25).map(device).collect::<Vec<_>>())
    };
    assert!(quiet(5, 0) && quiet(4, 9));
    assert!(quiet(3, 3) && !quiet(3, 4), "three of five, of controls one in seven or one in five");
    assert!(!quiet(2, 0), "two of five: the others report, and looks come by them");
    assert!(!quiet(5, 10), "half of the controls are silent as well");
    assert!(!gone_quiet(&[DeviceOutcome { reporting: false, ..DeviceOutcome::new(0, 0, Arm::Canary, &[]) }]));
}
