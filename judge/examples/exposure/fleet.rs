//! A simulated fleet whose canaries and controls were watched for different times.

use modelfleet_judge::*;
use modelfleet_number::{chance::Chance, normal};

/// A fleet with an unchanged (or harmful) model, and how long each arm was watched.
#[derive(Clone, Copy)]
pub struct Fleet {
    pub devices: u32,
    pub canaries: u32,
    pub base: f64,
    pub ratio: f64,
    /// Windows of history of canaries and controls.
    pub history: (u64, u64),
    /// Windows known since of canaries and controls.
    pub known: (u64, u64),
}

/// 50 canaries of 200 devices, rare events, both arms watched for the same time.
pub const FLEET: Fleet =
    Fleet { devices: 200, canaries: 50, base: 0.002, ratio: 1.0, history: (600, 600), known: (60, 60) };

/// A run of a fleet: rates, history and what was seen so far.
pub struct Run {
    fleet: Fleet,
    rates: Vec<f64>,
    counts: Vec<[SloCounts; 1]>,
    chance: Chance,
}

impl Run {
    /// Devices with rates apart by a deviation of 1, and their history.
    pub fn new(fleet: Fleet, run: u64) -> Self {
        let mut levels = Chance::fork(98, run);
        let rate = |_| fleet.base * libm::exp(normal::quantile(levels.unit()) - 0.5);
        let rates: Vec<f64> = (0..fleet.devices).map(rate).collect();
        let mut run = Self { fleet, rates, counts: Vec::new(), chance: Chance::fork(99, run) };
        for id in 0..fleet.devices {
            let windows = run.pick(id, fleet.history);
            let history = run.lived(windows, run.rates[id as usize]);
            run.counts.push([SloCounts { history, post: Counts::default() }]);
        }
        run
    }

    fn pick(&self, id: u32, (ours, theirs): (u64, u64)) -> u64 {
        if id < self.fleet.canaries { ours } else { theirs }
    }

    fn lived(&mut self, windows: u64, rate: f64) -> Counts {
        let share = -libm::expm1(-rate);
        Counts::new(windows, (0..windows).filter(|_| self.chance.unit() < share).count() as u64)
    }

    /// On to so many windows of sixty; an arm that knows fewer in the end lacks the first ones.
    pub fn until(&mut self, window: u64) {
        for id in 0..self.fleet.devices {
            let lacking = 60_u64.saturating_sub(self.pick(id, self.fleet.known));
            let risen = if id < self.fleet.canaries { self.fleet.ratio } else { 1.0 };
            let known = self.counts[id as usize][0].post.known;
            let more = window.saturating_sub(lacking).saturating_sub(known);
            let lived = self.lived(more, self.rates[id as usize] * risen);
            let post = &mut self.counts[id as usize][0].post;
            *post = post.plus(lived);
        }
    }

    /// With the whole budget on one rule.
    pub fn judged(&self, reached: u16, state: &StageState, seed: u64) -> Assessment {
        let arm = |id| if id < self.fleet.canaries { Arm::Canary } else { Arm::Control };
        let devices: Vec<_> =
            (0..).zip(&self.counts).map(|(id, c)| DeviceOutcome::new(id, 0, arm(id), c)).collect();
        let observations = Observations {
            slos: &[SloRule::statistical("alarms", 0)],
            devices: &devices,
            merged: &[],
            needs: Needs { min_devices: 1, min_windows: 5, min_reporting_ppm: 800_000 },
            hard: HardRule { weight: 0, ..HardRule::default() },
            silence: SilenceRule { weight: 0, ..SilenceRule::default() },
            budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
            looks: Looks { reached, planned: 6 },
            seed,
        };
        assess(&observations, state)
    }
}
