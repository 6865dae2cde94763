//! A small world of devices with bad and good windows, for measuring how often the judge is wrong.

use crate::fast::binomial;
use modelfleet_judge::{Arm, Counts, SloCounts, matched_start_sorted};
use modelfleet_number::{chance::Chance, normal};

/// Windows in a day, for rhythm and late truth.
pub const DAY: u64 = 24;

/// How a fleet behaves, and what the candidate does to it.
#[derive(Debug, Clone, Copy)]
pub struct World {
    pub devices: usize,
    pub strata: usize,
    /// Spread between devices: standard deviation of the logarithm of the rate.
    pub sigma: f64,
    /// Mean errors per burst; a burst falls into one window.
    pub burst: f64,
    /// Mean windows that a bad spell lasts (1: windows are independent).
    pub spell: f64,
    /// Mean errors per device-window.
    pub base: f64,
    /// Devices change for good after the stage opened: standard deviation of the logarithm.
    pub wander: f64,
    /// Relative height of the daily rhythm.
    pub rhythm: f64,
    /// Mean share of windows in which a device is offline.
    pub offline: f64,
    /// Truth arrives this many windows late.
    pub late: u64,
    /// Windows under the model before.
    pub history: u64,
    /// From this window on for ten windows everything (or stratum 0 alone) is bad nine times of ten.
    pub outage: Option<(u64, bool)>,
    /// Looks fall this many times later (10: the last at window 600).
    pub stretch: u64,
    /// The SLO's allowance.
    pub allowance_ppm: u32,
    /// The margin that the user set.
    pub margin_ppm: Option<u64>,
    /// Canaries activate at random within this many windows.
    pub stagger: u64,
    /// Controls count from a matched canary's start, not from the stage's opening.
    pub matched: bool,
    /// Rate ratio of harmed canaries.
    pub ratio: f64,
    /// How many canaries are harmed; `usize::MAX`: all.
    pub harmed: usize,
    /// Harm only in this stratum.
    pub only_stratum: Option<usize>,
}

impl World {
    /// 200 devices, sigma 1, 0.2 errors per window, 600 windows of history, an unchanged model.
    pub const fn plain() -> Self {
        Self {
            devices: 200,
            strata: 1,
            sigma: 1.0,
            burst: 1.0,
            spell: 1.0,
            base: 0.2,
            wander: 0.0,
            rhythm: 0.0,
            offline: 0.0,
            late: 0,
            history: 600,
            outage: None,
            allowance_ppm: 0,
            margin_ppm: None,
            stretch: 1,
            stagger: 0,
            matched: true,
            ratio: 1.0,
            harmed: usize::MAX,
            only_stratum: None,
        }
    }
}

impl World {
    /// The ratio of bad device-windows that `ratio` of errors makes: smaller where windows are often bad.
    pub fn ratio_of_windows(&self) -> f64 {
        let mean = |ratio: f64| -> f64 {
            let points = 2_000;
            let bad = |i: u32| {
                let z = normal::quantile((f64::from(i) + 0.5) / f64::from(points));
                let rate = self.base * libm::exp(self.sigma * z - self.sigma * self.sigma / 2.0);
                -libm::expm1(-ratio * rate / self.burst)
            };
            (0..points).map(bad).sum()
        };
        mean(self.ratio) / mean(1.0)
    }
}

/// One device's life.
#[derive(Debug, Clone)]
pub struct Device {
    pub stratum: usize,
    rate: f64,
    wander: f64,
    offline: f64,
    in_spell: bool,
    starts: u64,
    pub harmed: bool,
    pub arm: Arm,
    /// Outcomes of this stage that wait for truth, oldest first.
    waiting: Vec<(u64, bool)>,
    pub counts: SloCounts,
}

/// A fleet in one run.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub world: World,
    pub devices: Vec<Device>,
    /// Windows since the beginning.
    pub now: u64,
    stage_opened: u64,
    chance: Chance,
    /// Outcomes of controls in the stage's windows: (window, counts).
    pub recent: Vec<(u64, Counts)>,
    /// Errors of the newest window, bursts and all: (canaries, controls), and canaries' (known, bad) devices.
    pub errors: (u64, u64),
    pub canary_window: Counts,
}

impl Fleet {
    /// A fleet with its history lived through.
    pub fn new(world: World, mut chance: Chance) -> Self {
        let devices = (0..world.devices)
            .map(|i| {
                let z = normal::quantile(chance.unit());
                let stratum = i % world.strata;
                // Strata differ twofold from one end to the other.
                let level = libm::exp2((stratum as f64 + 0.5) / world.strata as f64 - 0.5);
                let rate = world.base * level * libm::exp(world.sigma * z - world.sigma * world.sigma / 2.0);
                Device {
                    stratum,
                    rate,
                    wander: libm::exp(world.wander * normal::quantile(chance.unit())),
                    offline: (2.0 * world.offline * chance.unit()).min(0.95),
                    in_spell: false,
                    starts: 0,
                    harmed: false,
                    arm: Arm::Control,
                    waiting: Vec::new(),
                    counts: SloCounts::default(),
                }
            })
            .collect();
        let mut fleet = Self {
            world,
            devices,
            now: 0,
            stage_opened: u64::MAX,
            chance,
            recent: Vec::new(),
            errors: (0, 0),
            canary_window: Counts::default(),
        };
        fleet.live(world.history);
        fleet
    }

    /// Opens a stage: the first `canaries` devices run the candidate from now on.
    pub fn open_stage(&mut self, canaries: usize) {
        self.stage_opened = self.now;
        self.recent.clear();
        for (i, device) in self.devices.iter_mut().enumerate() {
            if device.arm == Arm::Control {
                // What a control did in the stage before is its past now.
                device.counts.history = device.counts.history.plus(device.counts.post);
            }
            device.counts.post = Counts::default();
            device.waiting.clear();
            if i < canaries {
                device.arm = Arm::Canary;
                device.starts = (self.chance.unit() * self.world.stagger as f64) as u64;
                let here = self.world.only_stratum.is_none_or(|s| s == device.stratum);
                device.harmed = here && i < self.world.harmed;
            }
        }
        self.match_starts(canaries);
    }

    fn match_starts(&mut self, canaries: usize) {
        for stratum in 0..self.world.strata {
            let mut starts: Vec<u64> =
                self.devices[..canaries].iter().filter(|d| d.stratum == stratum).map(|d| d.starts).collect();
            starts.sort_unstable();
            let controls = self.devices.iter_mut().enumerate().skip(canaries);
            for (i, device) in controls.filter(|(_, d)| d.stratum == stratum && self.world.matched) {
                device.starts = matched_start_sorted(1, i as u32, &starts).unwrap_or(0);
            }
        }
    }

    /// Nothing varies from window to window: many can be drawn at once.
    fn is_simple(&self) -> bool {
        let w = &self.world;
        w.spell <= 1.0
            && w.rhythm == 0.0
            && w.offline == 0.0
            && w.late == 0
            && w.outage.is_none()
            && w.stagger == 0
    }

    /// So many windows for all devices.
    pub fn live(&mut self, windows: u64) {
        if !self.is_simple() || self.devices.len() < 10_000 {
            for _ in 0..windows {
                self.window();
            }
            return;
        }
        let in_stage = self.stage_opened != u64::MAX;
        let world = self.world;
        for device in &mut self.devices {
            let mut rate = device.rate;
            if in_stage {
                rate *= device.wander * if device.harmed { world.ratio } else { 1.0 };
            }
            let bad = binomial(windows, -libm::expm1(-rate / world.burst), &mut self.chance);
            let counts = Counts::new(windows, bad);
            let side = if in_stage { &mut device.counts.post } else { &mut device.counts.history };
            *side = side.plus(counts);
        }
        self.now += windows;
    }

    /// One window for all devices.
    pub fn window(&mut self) {
        let world = self.world;
        let in_stage = self.stage_opened != u64::MAX;
        let age = self.now.wrapping_sub(self.stage_opened);
        let hour = (self.now % DAY) as f64 / DAY as f64;
        let rhythm = 1.0 + world.rhythm * libm::sin(2.0 * std::f64::consts::PI * hour);
        let outage = world.outage.filter(|(from, _)| in_stage && age >= *from && age < from + 10);
        let mut control = Counts::default();
        self.canary_window = Counts::default();
        self.errors = (0, 0);
        for device in &mut self.devices {
            let online = device.offline == 0.0 || self.chance.unit() >= device.offline;
            let mut rate = device.rate * rhythm;
            if in_stage {
                rate *= device.wander * if device.harmed { world.ratio } else { 1.0 };
            }
            let starts = -libm::expm1(-rate / (world.burst * world.spell));
            let mut bad = device.in_spell || self.chance.unit() < starts;
            device.in_spell = world.spell > 1.0 && bad && self.chance.unit() >= 1.0 / world.spell;
            if outage.is_some_and(|(_, site)| !site || device.stratum == 0) {
                bad = self.chance.unit() < 0.9;
            }
            if !online || (in_stage && age < device.starts) {
                continue;
            }
            let one = Counts::new(1, u64::from(bad));
            if !in_stage {
                device.counts.history = device.counts.history.plus(one);
                continue;
            }
            if world.late > 0 {
                device.waiting.push((self.now + world.late, bad));
            } else {
                device.counts.post = device.counts.post.plus(one);
            }
            let errors = if bad { burst(world.burst, &mut self.chance) } else { 0 };
            if device.arm == Arm::Control {
                control = control.plus(one);
                self.errors.1 += errors;
            } else {
                self.canary_window = self.canary_window.plus(one);
                self.errors.0 += errors;
            }
        }
        if in_stage {
            self.recent.push((self.now, control));
        }
        self.now += 1;
        self.let_truth_arrive();
    }

    fn let_truth_arrive(&mut self) {
        if self.world.late == 0 || self.stage_opened == u64::MAX {
            return;
        }
        for device in &mut self.devices {
            let due = device.waiting.iter().take_while(|(at, _)| *at <= self.now).count();
            for (_, bad) in device.waiting.drain(..due) {
                device.counts.post = device.counts.post.plus(Counts::new(1, u64::from(bad)));
            }
        }
    }
}

/// Errors in a bad window: geometric with this mean.
fn burst(mean: f64, chance: &mut Chance) -> u64 {
    if mean <= 1.0 { 1 } else { 1 + (libm::log(chance.unit()) / libm::log1p(-1.0 / mean)) as u64 }
}
