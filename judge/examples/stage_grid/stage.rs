//! One stage lived and judged; a whole rollout of default stages.

use crate::world::{Fleet, World};
use modelfleet_judge::{
    Advice, Arm, Assessment, Budget, DeviceOutcome, Evidence, HardRule, Looks, MergedWindow, Needs,
    SilenceRule, SloCounts, SloRule, StageState, assess,
};
use modelfleet_number::chance::Chance;

/// Windows at which the planned looks fall.
pub const LOOKS: [u64; 6] = [5, 10, 20, 30, 45, 60];

/// How a stage ended.
#[derive(Debug, Clone)]
pub struct End {
    pub advice: Advice,
    /// Window of the decision.
    pub window: u64,
    pub last: Assessment,
}

/// Judges at the planned looks until the advice is more than to wait. A pause is taken as the end.
pub fn judge_stage(fleet: &mut Fleet, rules: &[SloRule<'_>], needs: Needs, budget: Budget, seed: u64) -> End {
    let mut state = StageState::new();
    let opened = fleet.now;
    let mut end = None;
    for (look, &at) in LOOKS.iter().enumerate() {
        let at = at * fleet.world.stretch;
        // Incidents are watched at every window; the tests wait for their looks.
        while fleet.world.outage.is_some() && fleet.now - opened < at {
            fleet.window();
            let looks = Looks { reached: look as u16, planned: LOOKS.len() as u16 };
            let last = look_at(fleet, rules, needs, budget, looks, seed, &state);
            if last.advice == Advice::Pause {
                return End { advice: last.advice, window: fleet.now - opened, last };
            }
        }
        fleet.live(at.saturating_sub(fleet.now - opened));
        let looks = Looks { reached: look as u16 + 1, planned: LOOKS.len() as u16 };
        let assessment = look_at(fleet, rules, needs, budget, looks, seed, &state);
        state = assessment.state.clone();
        let advice = assessment.advice;
        end = Some(End { advice, window: at, last: assessment });
        if matches!(advice, Advice::RollBack | Advice::Pause) {
            break;
        }
    }
    end.expect("there are looks")
}

fn look_at(
    fleet: &Fleet,
    rules: &[SloRule<'_>],
    needs: Needs,
    budget: Budget,
    looks: Looks,
    seed: u64,
    state: &StageState,
) -> Assessment {
    let counts: Vec<[SloCounts; 1]> = fleet.devices.iter().map(|d| [d.counts]).collect();
    let devices: Vec<DeviceOutcome<'_>> = fleet
        .devices
        .iter()
        .zip(&counts)
        .enumerate()
        .map(|(i, (d, c))| DeviceOutcome::new(i as u32, d.stratum as u16, d.arm, c))
        .collect();
    let merged: Vec<MergedWindow> = fleet
        .recent
        .iter()
        .map(|&(window, devices)| MergedWindow {
            slo: 0,
            arm: Arm::Control,
            window,
            breached: false,
            value_milli: 0,
            threshold_milli: 0,
            devices,
            samples: devices.known,
        })
        .collect();
    let evidence = Evidence {
        slos: rules,
        devices: &devices,
        merged: &merged,
        needs,
        hard: HardRule { weight: 0, ..HardRule::default() },
        silence: SilenceRule { weight: 0, ..SilenceRule::default() },
        budget,
        looks,
        seed,
    };
    assess(&evidence, state)
}

/// One stage of `canaries` with the whole budget on one SLO.
pub fn one_stage(world: World, canaries: usize, seed: u64) -> End {
    let mut fleet = Fleet::new(world, Chance::fork(seed, 1));
    fleet.open_stage(canaries);
    let needs = Needs { min_devices: canaries.min(5) as u32, min_windows: 5, min_reporting_ppm: 500_000 };
    let budget = Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 };
    let rule = SloRule { margin_ppm: world.margin_ppm, ..SloRule::statistical("slo", world.allowance_ppm) };
    judge_stage(&mut fleet, &[rule], needs, budget, seed)
}

/// How a rollout over the default stages ended.
#[derive(Debug, Clone)]
pub struct Rollout {
    pub end: End,
    /// Stage in which it ended, from 0.
    pub stage: usize,
}

/// Canary 2.5 %, early adopter 10 %, broad 50 %, full with 2 % held back; each 60 windows.
pub fn rollout(world: World, seed: u64) -> Rollout {
    let mut fleet = Fleet::new(world, Chance::fork(seed, 2));
    let n = world.devices;
    let sizes = [n / 40, n / 10, n / 2, n - n / 50];
    let mut spent = 0;
    let mut result = None;
    for (stage, &size) in sizes.iter().enumerate() {
        fleet.open_stage(size);
        let needs = Needs { min_devices: size.min(5) as u32, min_windows: 5, min_reporting_ppm: 500_000 };
        let stages_left = (sizes.len() - stage) as u16;
        let budget = Budget { total_ppm: 10_000, spent_ppb: spent, stages_left };
        let rules = [SloRule::statistical("slo", world.allowance_ppm)];
        let end = judge_stage(&mut fleet, &rules, needs, budget, Chance::fork(seed, stage as u64).next_u64());
        spent += end.last.spent_ppb;
        let stop = end.advice != Advice::Advance;
        result = Some(Rollout { end, stage });
        if stop {
            break;
        }
    }
    result.expect("there are stages")
}
