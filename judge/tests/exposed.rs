//! Rare events: what passes without a proof says so, and which rate it rules out.
#![allow(clippy::unwrap_used)]

use modelfleet_judge::*;
use modelfleet_number::chance::Chance;

/// 20 canaries of 200 devices with `windows` windows each since the stage opened, `bad` of them on the first canary, and a
/// past of 100 000 windows with two bad ones.
fn judged(rule: SloRule<'_>, windows: u64, bad: u64, before: &StageState) -> Assessment {
    let counts: Vec<[SloCounts; 1]> = (0..200)
        .map(|id| {
            let history = Counts::new(500, u64::from(id > 197));
            let post = Counts::new(windows, if id == 0 { bad } else { 0 });
            [SloCounts { history, post }]
        })
        .collect();
    let arm = |id: u32| if id < 20 { Arm::Canary } else { Arm::Control };
    let devices: Vec<_> =
        (0..).zip(&counts).map(|(id, counts)| DeviceOutcome::new(id, 0, arm(id), counts)).collect();
    let observations = Observations {
        slos: &[rule],
        devices: &devices,
        merged: &[],
        needs: Needs { min_devices: 1, min_windows: 5, min_reporting_ppm: 0 },
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 4 },
        looks: Looks { reached: 6, planned: 6 },
        seed: 1,
    };
    assess(&observations, before)
}

#[test]
fn too_few_events_are_told_as_what_they_are() {
    let rule = SloRule::statistical("crashes", 0);
    let passed = judged(rule, 300, 0, &StageState::new());
    assert_eq!((passed.verdict, passed.advice), (Verdict::Exposed, Advice::Advance), "{}", passed.sentence);
    let exposure = passed.per_slo[0].exposure.unwrap();
    assert_eq!(exposure.canary, Counts::new(6_000, 0));
    // The rule of three: 2.9957 over 6 000, and 2 of 154 000 is what was usual.
    assert!((499_000..500_000).contains(&exposure.high_ppb), "{exposure:?}");
    assert!((38_000_000..39_000_000).contains(&exposure.rise_ppm), "{exposure:?}");
    let wanted = "too few events to rule out a rise, so the stage passes on exposure alone: 0 bad of 6000 windows with the new \
                  version rule out a share above 0.05 % (95 % confidence; 38.44x the usual)";
    assert!(passed.sentence.starts_with(wanted), "{}", passed.sentence);
    let one = judged(rule, 300, 1, &StageState::new());
    // scipy.stats.chi2.ppf(0.95, 4) / 2 = 4.7439.
    assert!((790_000..791_000).contains(&one.per_slo[0].exposure.unwrap().high_ppb), "{one:?}");
}

#[test]
fn a_stage_waits_for_the_exposure_and_the_events_that_the_rule_asks_for() {
    let rule = SloRule { min_exposure: 7_000, ..SloRule::statistical("crashes", 0) };
    let waits = judged(rule, 300, 0, &StageState::new());
    assert_eq!((waits.verdict, waits.advice), (Verdict::Undecided, Advice::Wait), "{}", waits.sentence);
    assert!(waits.sentence.contains("the 7000 windows that minExposure asks for"), "{}", waits.sentence);
    assert_eq!(judged(rule, 350, 0, &StageState::new()).verdict, Verdict::Exposed);
    let rule = SloRule { min_events: 1, ..SloRule::statistical("crashes", 0) };
    let waits = judged(rule, 300, 0, &StageState::new());
    assert!(waits.sentence.contains("the 1 bad windows that minEvents asks for"), "{}", waits.sentence);
    assert_eq!(judged(rule, 300, 1, &StageState::new()).verdict, Verdict::Exposed);
}

/// What canaries went through in earlier stages counts, also after a restart.
#[test]
fn exposure_adds_up_over_stages() {
    let rule = SloRule { min_exposure: 12_000, ..SloRule::statistical("crashes", 0) };
    let first = judged(rule, 300, 1, &StageState::new());
    assert_eq!(first.verdict, Verdict::Undecided);
    let text = first.state.next_stage().to_text();
    let before = StageState::from_text(&text).unwrap();
    assert_eq!((before.spent_ppb(), before.to_text()), (0, text));
    let second = judged(rule, 300, 0, &before);
    assert_eq!(second.verdict, Verdict::Exposed, "{}", second.sentence);
    assert_eq!(second.per_slo[0].exposure.unwrap().canary, Counts::new(12_000, 1));
    let again = judged(rule, 300, 0, &second.state);
    assert_eq!(again.per_slo[0].exposure, second.per_slo[0].exposure, "a look twice adds nothing");
}

/// A state that was written before these tests is read, and nothing that it knows is lost.
#[test]
fn an_older_state_is_read() {
    let old = "judge2;0;0;0,0,0,0,0,0,0,0,0,0,0;0,0,0,0,0,0,0,0,0,0,0;5b1f,1,3,4000,0,77,88,0,0,0,0";
    let state = StageState::from_text(old).unwrap();
    assert_eq!((state.spent_ppb(), state.slos[0].degraded, state.slos[0].threshold_ppb), (4_000, true, 88));
}

/// A few canaries, all of whose windows are bad, beside a few controls without a bad one: too few events for a proof, and
/// nothing that passes.
#[test]
fn canaries_that_are_bad_throughout_do_not_pass_on_exposure() {
    for (canaries, controls, windows, history) in
        [(2, 4, 3, 0), (3, 3, 2, 0), (3, 3, 2, 6), (6, 0, 3, 6), (4, 2, 5, 12)]
    {
        let post = |id: u64| Counts::new(windows, if id < canaries { windows } else { 0 });
        let judged = short(canaries, controls, history, post);
        assert_ne!(judged.advice, Advice::Advance, "{canaries} and {controls}: {}", judged.sentence);
    }
}

/// So many canaries with one bad window of three, and no control with one: seven of twenty hardly ever come by chance.
#[test]
fn a_part_of_the_canaries_that_chance_does_not_explain_does_not_pass_on_exposure() {
    for (canaries, controls, bad, passes) in
        [(20, 20, 7, false), (20, 20, 5, true), (10, 30, 3, true), (10, 30, 4, false), (5, 5, 2, true)]
    {
        let judged = short(canaries, controls, 0, |id| Counts::new(3, u64::from(id < bad)));
        assert_eq!(judged.advice == Advice::Advance, passes, "{bad} of {canaries}: {}", judged.sentence);
    }
}

/// Harmless candidates with few events: hardly one waits because chance speaks against it.
#[test]
fn hardly_a_harmless_candidate_with_few_events_waits() {
    for (canaries, controls, windows, rate) in
        [(20, 20, 3, 0.05), (5, 45, 6, 0.05), (10, 10, 12, 0.03), (20, 180, 24, 0.001)]
    {
        let mut luck = Chance::new(8);
        let waits = (0..400).filter(|_| {
            let bad: Vec<u64> = (0..canaries + controls)
                .map(|_| (0..windows).filter(|_| luck.unit() < rate).count() as u64)
                .collect();
            short(canaries, controls, 0, |id| Counts::new(windows, bad[id as usize])).advice
                != Advice::Advance
        });
        // Two of a hundred, and what chance adds to 400 runs.
        assert!(waits.count() <= 16, "{canaries} of {}, rate {rate}", canaries + controls);
    }
}

/// The last look at an objective that allows 2 %, with this history of good windows and these since the stage opened.
fn short(canaries: u64, controls: u64, history: u64, post: impl Fn(u64) -> Counts) -> Assessment {
    let counts: Vec<[SloCounts; 1]> = (0..canaries + controls)
        .map(|id| [SloCounts { history: Counts::new(history, 0), post: post(id) }])
        .collect();
    let arm = |id: u64| if id < canaries { Arm::Canary } else { Arm::Control };
    let devices: Vec<_> = (0..canaries + controls)
        .zip(&counts)
        .map(|(id, counts)| DeviceOutcome::new(u32::try_from(id).unwrap(), 0, arm(id), counts))
        .collect();
    let observations = Observations {
        slos: &[SloRule::statistical("errors", 20_000)],
        devices: &devices,
        merged: &[],
        needs: Needs { min_devices: 1, min_windows: 2, min_reporting_ppm: 0 },
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 3 },
        looks: Looks { reached: 6, planned: 6 },
        seed: 1,
    };
    assess(&observations, &StageState::new())
}
