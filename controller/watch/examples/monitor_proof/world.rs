//! Worlds in which nothing is wrong with the model, hour by hour: counts merged over a fleet.

use libm::{exp, sin};
use modelfleet_number::chance::Chance;
use modelfleet_number::normal::cdf;

use crate::chance::{binomial, heavy, normal};

pub const OBJECTIVES: usize = 4;
pub const SITES: usize = 10;
pub const BINS: usize = 10;
/// Share of windows in which a device is beyond a bound, while nothing is wrong.
pub const RATE: f64 = 0.01;
/// Devices whose histograms are kept, and values of each in a window.
const SAMPLED: f64 = 64.0;
const VALUES: f64 = 60.0;

/// What is not as in the simplest world.
#[derive(Clone, Copy, Debug, Default)]
pub struct World {
    pub name: &'static str,
    /// Correlation of an hour with the one before.
    pub hangs_together: f64,
    /// Swing of rates with the hour of the day, and of values in their deviations.
    pub day: f64,
    /// The same on weekends.
    pub week: f64,
    /// A site is out for four hours, once in 500 hours.
    pub outages: bool,
    /// Hours differ as Student's t with three degrees of freedom does.
    pub heavy: bool,
    /// A twentieth of the devices comes or goes in a week.
    pub churn: bool,
    /// Swing over the year.
    pub season: f64,
    /// Rates of sites differ as log-normal numbers of deviation 1.
    pub spread: bool,
    pub features: usize,
}

const PLAIN: World = World {
    name: "independent hours",
    hangs_together: 0.0,
    day: 0.0,
    week: 0.0,
    outages: false,
    heavy: false,
    churn: false,
    season: 0.0,
    spread: false,
    features: 8,
};

/// The twelve.
pub const WORLDS: [World; 12] = [
    PLAIN,
    World { name: "autocorrelation 0.5", hangs_together: 0.5, ..PLAIN },
    World { name: "autocorrelation 0.9", hangs_together: 0.9, ..PLAIN },
    World { name: "rhythm of the day", day: 0.8, ..PLAIN },
    World { name: "rhythm of the week", week: 0.5, ..PLAIN },
    World { name: "site outages", outages: true, ..PLAIN },
    World { name: "heavy tails", heavy: true, ..PLAIN },
    World { name: "churn", churn: true, ..PLAIN },
    World { name: "slow season", season: 0.3, ..PLAIN },
    World { name: "sites that differ", spread: true, ..PLAIN },
    World { name: "128 features", hangs_together: 0.9, features: 128, ..PLAIN },
    World {
        name: "all at once",
        hangs_together: 0.9,
        day: 0.8,
        week: 0.5,
        outages: true,
        heavy: true,
        churn: true,
        season: 0.3,
        spread: true,
        ..PLAIN
    },
];

/// What is wrong from some hour on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Harm {
    /// Rates are so many times as high.
    pub rate: f64,
    /// Values are so many deviations higher.
    pub shift: f64,
    /// In one site alone.
    pub one_site: bool,
    /// In one feature alone.
    pub one_feature: bool,
}

/// One hour of a fleet.
pub struct Hour {
    /// By objective and site: bad devices of known ones.
    pub bad: [[u64; SITES]; OBJECTIVES],
    /// By site: devices that report.
    pub known: [u64; SITES],
    /// By site: devices of which any objective is broken.
    pub any: [u64; SITES],
    /// Devices that report nothing.
    pub silent: u64,
    pub devices: u64,
    /// By feature.
    pub bins: Vec<[u64; BINS]>,
}

/// A fleet that lives.
pub struct Life {
    world: World,
    devices: f64,
    size: f64,
    chance: Chance,
    /// What hangs together: of each objective, then of each feature.
    drift: Vec<f64>,
    sites: [f64; SITES],
    out: Option<(usize, u32)>,
    hour: u64,
}

impl Life {
    pub fn new(world: World, devices: u64, seed: u64) -> Life {
        let mut chance = Chance::fork(seed, devices);
        let mut sites = [1.0; SITES];
        if world.spread {
            // Of mean 1.
            sites = sites.map(|_| exp(normal(&mut chance) - 0.5));
        }
        let drift = vec![0.0; OBJECTIVES + world.features];
        Life { world, devices: devices as f64, size: 1.0, chance, drift, sites, out: None, hour: 0 }
    }

    fn step(&mut self) {
        let rho = self.world.hangs_together;
        for drift in &mut self.drift {
            let noise = if self.world.heavy { heavy(&mut self.chance) } else { normal(&mut self.chance) };
            *drift = rho * *drift + (1.0 - rho * rho).sqrt() * noise;
        }
        if self.world.churn && self.hour.is_multiple_of(168) {
            self.size = (self.size * (1.0 + 0.05 * normal(&mut self.chance))).clamp(0.5, 1.5);
        }
        self.out = match self.out {
            Some((site, hours)) if hours > 1 => Some((site, hours - 1)),
            _ => (self.world.outages && self.chance.below(500) == 0)
                .then(|| (self.chance.below(SITES as u32) as usize, 4)),
        };
        self.hour += 1;
    }

    /// Swing of the hour, in -1..=1 of each rhythm, added up.
    fn swing(&self) -> f64 {
        let at = self.hour as f64;
        let rhythm = |hours: f64| sin(std::f64::consts::TAU * at / hours);
        let weekend = if self.hour / 24 % 7 >= 5 { -1.0 } else { 0.4 };
        self.world.day * rhythm(24.0) + self.world.week * weekend + self.world.season * rhythm(8_766.0)
    }

    pub fn hour(&mut self, harm: Option<&Harm>) -> Hour {
        self.step();
        let swing = self.swing();
        let each = (self.devices * self.size / SITES as f64).round();
        let mut hour = Hour {
            bad: Default::default(),
            known: [each as u64; SITES],
            any: Default::default(),
            silent: 0,
            devices: each as u64 * SITES as u64,
            bins: Vec::new(),
        };
        let uneven = self.world.hangs_together > 0.0 || self.world.heavy;
        for objective in 0..OBJECTIVES {
            // Rates of hours differ by a third where hours hang together.
            let common = if uneven { exp(self.drift[objective].clamp(-6.0, 6.0) * 0.3 - 0.045) } else { 1.0 };
            for site in 0..SITES {
                let hit = harm.filter(|harm| objective == 0 && (!harm.one_site || site == 0));
                let times = hit.map_or(1.0, |harm| harm.rate.max(1.0));
                let rate = RATE * common * (1.0 + swing).max(0.0) * self.sites[site] * times;
                let out = self.out.is_some_and(|(gone, _)| gone == site);
                hour.bad[objective][site] =
                    if out { each as u64 } else { binomial(each, rate.min(1.0), &mut self.chance) };
            }
        }
        for site in 0..SITES {
            let sum: u64 = hour.bad.iter().map(|bad| bad[site]).sum();
            hour.any[site] = sum.min(each as u64);
        }
        hour.silent = binomial(each * SITES as f64, 0.05, &mut self.chance);
        for feature in 0..self.world.features {
            let own = if uneven { 0.1 * self.drift[OBJECTIVES + feature] } else { 0.0 };
            let mean = own + 0.3 * swing;
            let hit = harm.filter(|harm| !harm.one_feature || feature == 0);
            let (shift, share) = hit.map_or((0.0, 0.0), |harm| {
                (harm.shift, if harm.one_site { 1.0 / SITES as f64 } else { 1.0 })
            });
            let sampled = (SAMPLED.min(self.devices) * VALUES).round();
            let (sound, moved) = (sampled * (1.0 - share), sampled * share);
            let mut bins = [0; BINS];
            for (n, mean) in [(sound, mean), (moved, mean + shift)] {
                if n >= 1.0 {
                    self.add(&mut bins, n, mean);
                }
            }
            hour.bins.push(bins);
        }
        hour
    }

    /// `n` normal values of this mean in bins of equal share under mean 0.
    fn add(&mut self, bins: &mut [u64; BINS], n: f64, mean: f64) {
        let mut left = n;
        let mut rest = 1.0;
        let mut below = 0.0;
        for (bin, count) in bins.iter_mut().enumerate() {
            let upto = if bin + 1 == BINS { 1.0 } else { cdf(EDGES[bin] - mean) };
            let share = (upto - below).max(0.0);
            below = upto;
            let drawn = if bin + 1 == BINS {
                left
            } else {
                binomial(left.round(), (share / f64::max(rest, 1e-12)).min(1.0), &mut self.chance) as f64
            };
            *count += drawn as u64;
            left = (left - drawn).max(0.0);
            rest -= share;
        }
    }
}

/// Deciles of a normal number.
const EDGES: [f64; BINS - 1] = [
    -1.281_551_6,
    -0.841_621_2,
    -0.524_400_5,
    -0.253_347_1,
    0.0,
    0.253_347_1,
    0.524_400_5,
    0.841_621_2,
    1.281_551_6,
];
