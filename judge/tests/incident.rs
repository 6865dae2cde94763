//! What is an incident, and what is not: controls suffer, and canaries suffer with them.
#![allow(clippy::unwrap_used)]

use modelfleet_judge::*;
use modelfleet_number::chance::Chance;

/// The windows lived through since the stage opened, and how often each arm was bad in them, in percent.
#[derive(Clone, Copy)]
struct Burning {
    windows: u64,
    canaries: u64,
    /// Canaries' first window.
    from: u64,
    canary: u32,
    control: u32,
    allowance: u32,
}

/// 200 devices with a past of 2 % bad windows.
fn judged(case: Burning, two: Option<u32>) -> Assessment {
    judged_of(200, case, two)
}

/// So many devices with a past of 2 % bad windows, of which a tenth has told of the newest window; `two`: a second SLO in which the canaries are bad this often in percent,
/// and controls as in the past.
fn judged_of(fleet: u32, case: Burning, two: Option<u32>) -> Assessment {
    let mut luck = Chance::new(5);
    let mut bad = |percent: u32| u64::from(luck.below(100) < percent);
    let mut counts: Vec<Vec<SloCounts>> = Vec::new();
    let mut merged: Vec<MergedWindow> = Vec::new();
    let shares: Vec<(u32, u32)> =
        [Some((case.canary, case.control)), two.map(|canary| (canary, 2))].into_iter().flatten().collect();
    for device in 0..u64::from(fleet) {
        let canary = device < case.canaries;
        let mut own = Vec::new();
        for (slo, share) in shares.iter().enumerate() {
            let (arm, percent) = if canary { (Arm::Canary, share.0) } else { (Arm::Control, share.1) };
            let mut post = Counts::default();
            // The others will report it in a moment.
            let told = if device % 10 == 0 { case.windows + 1 } else { case.windows };
            for window in (if canary { case.from } else { 0 })..told {
                let one = Counts::new(1, bad(percent));
                post = post.plus(one);
                let slo = slo as u32;
                match merged.iter_mut().find(|m| (m.slo, m.arm, m.window) == (slo, arm, window)) {
                    Some(sum) => sum.devices = sum.devices.plus(one),
                    None => merged.push(MergedWindow {
                        slo,
                        arm,
                        window,
                        breached: false,
                        value_milli: 0,
                        threshold_milli: 0,
                        devices: one,
                        samples: 0,
                    }),
                }
            }
            own.push(SloCounts { history: Counts::new(600, 12), post });
        }
        counts.push(own);
    }
    let devices: Vec<_> = (0..fleet)
        .map(|id| {
            let arm = if u64::from(id) < case.canaries { Arm::Canary } else { Arm::Control };
            DeviceOutcome::new(id, 0, arm, &counts[id as usize])
        })
        .collect();
    let slos = [
        SloRule::statistical("answers", case.allowance * 10_000),
        SloRule::statistical("latency", case.allowance * 10_000),
    ];
    let observations = Observations {
        slos: &slos[..shares.len()],
        devices: &devices,
        merged: &merged,
        needs: Needs { min_devices: 1, min_windows: 5, min_reporting_ppm: 800_000 },
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 4 },
        looks: Looks { reached: u16::try_from(case.windows / 10).unwrap(), planned: 6 },
        seed: 7,
    };
    assess(&observations, &StageState::new())
}

#[test]
fn an_incident_is_what_both_arms_suffer_from() {
    let all = Burning { windows: 60, canaries: 5, from: 1, canary: 0, control: 70, allowance: 5 };
    let table = [
        ("both suffer alike", Burning { canary: 70, ..all }, true),
        ("both suffer alike, without an allowance", Burning { canary: 70, allowance: 0, ..all }, true),
        ("one canary suffers as controls do", Burning { canaries: 1, canary: 70, ..all }, true),
        ("half of the fleet suffers", Burning { canaries: 100, canary: 70, ..all }, true),
        ("canaries suffer less by chance", Burning { canary: 68, ..all }, true),
        ("canaries do not suffer", all, false),
        ("canaries do not suffer, without an allowance", Burning { allowance: 0, ..all }, false),
        ("a single canary does not suffer", Burning { canaries: 1, ..all }, false),
        ("half of the fleet does not suffer", Burning { canaries: 100, ..all }, false),
        ("canaries suffer far less", Burning { canary: 20, ..all }, false),
        ("many canaries suffer less", Burning { canaries: 100, canary: 45, ..all }, false),
        ("canaries have begun now", Burning { windows: 10, from: 9, ..all }, false),
        ("no canary has begun", Burning { windows: 10, from: 10, ..all }, false),
        ("nobody suffers", Burning { control: 2, canary: 2, ..all }, false),
    ];
    for (name, case, expected) in table {
        let assessment = judged(case, None);
        let found = assessment.incident.is_some();
        assert_eq!(found, expected, "{name}: {}", assessment.sentence);
        assert_eq!(assessment.advice == Advice::Pause, expected, "{name}: {}", assessment.sentence);
    }
}

#[test]
fn the_fix_passes_while_production_burns() {
    for canaries in [1, 5, 20, 100] {
        let case = Burning { windows: 60, canaries, from: 1, canary: 1, control: 80, allowance: 5 };
        let assessment = judged(case, None);
        assert_eq!(assessment.advice, Advice::Advance, "{canaries}: {}", assessment.sentence);
    }
}

/// Better in what burns, and worse in something else: that is still harm.
#[test]
fn a_fix_that_does_other_harm_is_taken_back() {
    for canaries in [5, 100] {
        let case = Burning { windows: 60, canaries, from: 1, canary: 0, control: 80, allowance: 5 };
        let assessment = judged(case, Some(30));
        assert_eq!(assessment.advice, Advice::RollBack, "{canaries}: {}", assessment.sentence);
        assert!(assessment.sentence.starts_with("latency "), "{}", assessment.sentence);
    }
}

/// Every device has the version, and too few do for a test of their own past: what all of them suffer from is told.
#[test]
fn a_small_fleet_without_controls_is_told_what_it_suffers_from() {
    for fleet in [5, 24, 49, 200] {
        let canaries = u64::from(fleet);
        let case = Burning { windows: 60, canaries, from: 0, canary: 90, control: 0, allowance: 5 };
        let assessment = judged_of(fleet, case, None);
        let incident = assessment.incident.as_ref().map(|incident| incident.kind);
        assert_eq!(incident, Some(IncidentKind::NoControls), "{fleet}: {}", assessment.sentence);
        assert_eq!(assessment.advice, Advice::Pause, "{fleet}: {}", assessment.sentence);
        let as_before = judged_of(fleet, Burning { canary: 2, ..case }, None);
        assert_eq!(as_before.incident, None, "{fleet}: {}", as_before.sentence);
        let at_rush_hour = judged_of(fleet, Burning { canary: 4, ..case }, None);
        assert_eq!(at_rush_hour.incident, None, "{fleet}: {}", at_rush_hour.sentence);
    }
}

/// While production burns a stage that spares its canaries ends early, and only such a one.
#[test]
fn the_fix_ends_its_stage_early_while_production_burns() {
    for canaries in [5, 20, 100] {
        let case = Burning { windows: 20, canaries, from: 1, canary: 1, control: 80, allowance: 5 };
        let early = judged(case, None);
        assert!(early.early && early.advice == Advice::Advance, "{canaries}: {}", early.sentence);
        assert!(early.sentence.starts_with("devices without the new version suffer"), "{}", early.sentence);
        let soon = judged(Burning { windows: 10, ..case }, None);
        assert!(!soon.early && soon.advice == Advice::Wait, "{canaries}: {}", soon.sentence);
        let last = judged(Burning { windows: 60, ..case }, None);
        assert!(!last.early && last.advice == Advice::Advance, "{canaries}: {}", last.sentence);
        for (what, canary, control, other) in
            [("nothing burns", 2, 2, None), ("both burn", 80, 80, None), ("other harm", 1, 80, Some(30))]
        {
            let assessment = judged(Burning { canary, control, ..case }, other);
            let advances = assessment.advice == Advice::Advance;
            assert!(!assessment.early && !advances, "{canaries}, {what}: {}", assessment.sentence);
        }
    }
}
