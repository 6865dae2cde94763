//! How a device varies beyond its level, where a scenario asks for it: autocorrelated rates, bad windows that strike all
//! objectives together, and lies. Kept apart from [`crate::device::Device`], so that fleets without it pay nothing.

use libm::{exp, sqrt};
use modelfleet_number::chance::Chance;
use modelfleet_number::normal;

use crate::chances::waiting;
use crate::harm::Tables;

/// What a device says whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// All is good.
    Good,
    /// All is bad.
    Bad,
    /// All is bad with the candidate.
    BadWithCandidate,
}

/// What one window is like for a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowCourse {
    /// Its rates as a multiple of its level.
    pub factor: f32,
    /// Bursts that strike all objectives together; those of each objective alone are so many fewer.
    pub shared: f32,
    /// Such a burst struck.
    pub struck: bool,
}

impl WindowCourse {
    /// As for a device that does not vary.
    pub const STEADY: WindowCourse = WindowCourse { factor: 1.0, shared: 0.0, struck: false };
}

/// How a device varies.
#[derive(Clone, Debug)]
pub struct Variation {
    chance: Chance,
    /// The autoregressive process, in its own standard deviations.
    state: f64,
    /// Bursts until the next one that strikes all objectives together.
    shared_left: f32,
    lie: Option<Lie>,
}

impl Variation {
    /// Of a new device.
    pub fn new(tables: &Tables, mut chance: Chance) -> Variation {
        let liars = &tables.scenario.fleet.liars;
        let place = chance.unit();
        let (good, bad) = (liars.always_good, liars.always_good + liars.always_bad);
        let lie = match place {
            place if place < good => Some(Lie::Good),
            place if place < bad => Some(Lie::Bad),
            place if place < liars.share() => Some(Lie::BadWithCandidate),
            _ => None,
        };
        let state = normal::quantile(chance.unit());
        let shared_left = waiting(&mut chance);
        Variation { chance, state, shared_left, lie }
    }

    /// Lives through a window: what it is like.
    pub fn pass(&mut self, tables: &Tables, stratum: u16, level: f32, window: u32) -> WindowCourse {
        let process = &tables.scenario.fleet.autocorrelation;
        let factor = if process.sigma > 0.0 {
            let fresh = sqrt(1.0 - process.per_window * process.per_window);
            self.state = process.per_window * self.state + fresh * normal::quantile(self.chance.unit());
            exp(process.sigma * self.state - 0.5 * process.sigma * process.sigma) as f32
        } else {
            1.0
        };
        let shared = tables.shared_hazard(stratum, window);
        self.shared_left -= level * factor * shared;
        let struck = self.shared_left <= 0.0;
        if struck {
            self.shared_left = waiting(&mut self.chance);
        }
        WindowCourse { factor, shared, struck }
    }

    /// What the device says of a window that was bad or not; `candidate`: the candidate answered in it.
    pub fn told(&self, bad: bool, candidate: bool) -> bool {
        match self.lie {
            None => bad,
            Some(Lie::Good) => false,
            Some(Lie::Bad) => true,
            Some(Lie::BadWithCandidate) => bad || candidate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Fleet;
    use crate::scenario::{PerSli, Scenario};
    use crate::setup::{Objective, Setup};

    fn tables(change: impl FnOnce(&mut Scenario)) -> Tables {
        let mut scenario = Scenario::default();
        scenario.fleet.sigma = 0.0;
        scenario.fleet.base_rate = PerSli::All(0.2);
        change(&mut scenario);
        let objectives = ["slow", "wrong"].map(|name| Objective::statistical(name, 0)).into();
        Tables::new(&Setup::hourly(Setup::default_stages(), objectives), &scenario)
    }

    #[test]
    fn rates_of_a_device_are_correlated_and_keep_their_mean() {
        let tables = tables(|s| {
            s.fleet.autocorrelation.per_window = 0.9;
            s.fleet.autocorrelation.sigma = 0.5;
        });
        let mut variation = Variation::new(&tables, Chance::new(3));
        let factors: Vec<f64> =
            (0..200_000).map(|w| f64::from(variation.pass(&tables, 0, 1.0, w).factor)).collect();
        let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
        assert!((mean(&factors) - 1.0).abs() < 0.03, "{}", mean(&factors));
        let logs: Vec<f64> = factors.iter().map(|factor| libm::log(*factor) + 0.125).collect();
        let product = |lag: usize| {
            let products: Vec<f64> = logs.iter().zip(&logs[lag..]).map(|(a, b)| a * b).collect();
            mean(&products)
        };
        assert!((product(0) - 0.25).abs() < 0.02, "{}", product(0));
        assert!((product(1) / product(0) - 0.9).abs() < 0.02, "{}", product(1) / product(0));
    }

    /// Of bad windows of the rarer objective the asked share and those by chance are bad in the other one too, and no
    /// objective is bad more often than without.
    #[test]
    fn objectives_share_their_bad_windows() {
        let rate = |share: f64| {
            let tables = tables(|s| {
                s.fleet.shared_bad = share;
                s.fleet.base_rate = PerSli::By([("slow".to_owned(), 0.2), ("wrong".to_owned(), 0.05)].into());
            });
            let fleet = Fleet::new(&tables, 5);
            let bad = |indicator: usize| {
                let counts = (0..fleet.devices.len()).map(|slot| fleet.past(slot, indicator));
                counts.fold((0, 0), |(known, bad), one| (known + one.known, bad + one.bad))
            };
            [bad(0), bad(1)].map(|(known, bad)| bad as f64 / known as f64)
        };
        let (alone, shared) = (rate(0.0), rate(0.8));
        for (alone, shared) in alone.into_iter().zip(shared) {
            assert!((shared / alone - 1.0).abs() < 0.03, "{alone} {shared}");
        }
        let tables = tables(|s| s.fleet.shared_bad = 0.8);
        let mut variation = Variation::new(&tables, Chance::new(3));
        let struck = (0..200_000).filter(|w| variation.pass(&tables, 0, 1.0, *w).struck).count();
        let wanted = -libm::expm1(-0.8 * 0.2) * 200_000.0;
        assert!((struck as f64 / wanted - 1.0).abs() < 0.03, "{struck}, wanted {wanted}");
    }

    #[test]
    fn liars_say_the_same_whatever_happens() {
        let tables = tables(|s| {
            let liars = &mut s.fleet.liars;
            (liars.always_good, liars.always_bad, liars.bad_with_candidate) = (0.2, 0.3, 0.1);
        });
        let mut seen = [0_i32; 4];
        for seed in 0..10_000 {
            let variation = Variation::new(&tables, Chance::fork(9, seed));
            let said = [(true, true), (true, false), (false, true), (false, false)]
                .map(|(bad, candidate)| variation.told(bad, candidate));
            let kind = match said {
                [false, false, false, false] => 0,
                [true, true, true, true] => 1,
                [true, true, true, false] => 2,
                [true, true, false, false] => 3,
                other => panic!("{other:?}"),
            };
            seen[kind] += 1;
        }
        for (seen, wanted) in seen.into_iter().zip([2_000, 3_000, 1_000, 4_000]) {
            assert!((seen - wanted).abs() < 150, "{seen}, wanted {wanted}");
        }
        let fleet = Fleet::new(&tables, 5);
        let pasts: Vec<_> = (0..fleet.devices.len()).map(|slot| fleet.past(slot, 0)).collect();
        assert!(pasts.iter().any(|past| past.bad == 0) && pasts.iter().any(|past| past.bad == past.known));
    }
}
