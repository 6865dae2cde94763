//! What is usual, on the same hours: how often it would have called.

use modelfleet_monitor::detect::{Cusum, Detector, Signal};
use modelfleet_monitor::distance::{DriftGate, psi};

use crate::world::{BINS, Hour, OBJECTIVES};

/// Rules of a kind that people set up, each with how often it began to call.
pub struct Usual {
    cusum: Vec<Cusum>,
    /// By rule: whether it calls now.
    calls: [bool; 4],
    /// By rule: how often it began to.
    pub began: [u64; 4],
    day: Vec<[u64; BINS]>,
    hours: u64,
}

pub const NAMES: [&str; 4] = [
    "PSI above 0.2, any feature, hourly",
    "CUSUM 0.5 and 8",
    "half of the features drift, daily",
    "share above the bound, hourly",
];

/// Counts of the reference profile.
pub const REFERENCE: [u64; BINS] = [1_000; BINS];
/// Share of devices that may be bad.
pub const ALLOWED: f64 = 0.05;

impl Usual {
    pub fn new() -> Usual {
        Usual {
            cusum: (0..OBJECTIVES).map(|_| Cusum::default()).collect(),
            calls: [false; 4],
            began: [0; 4],
            day: Vec::new(),
            hours: 0,
        }
    }

    pub fn take(&mut self, hour: &Hour) {
        let known: u64 = hour.known.iter().sum();
        let share = |objective: usize| hour.bad[objective].iter().sum::<u64>() as f64 / known.max(1) as f64;
        let drifted = hour.bins.iter().any(|bins| psi(&REFERENCE, bins) > 0.2);
        self.note(0, drifted);
        // It begins afresh after each alarm, so each is one.
        let alarms = (0..OBJECTIVES).filter(|&o| self.cusum[o].update(share(o)) == Signal::Drift).count();
        self.began[1] += alarms as u64;
        self.note(3, (0..OBJECTIVES).any(|o| share(o) > ALLOWED));
        self.day.resize(hour.bins.len(), [0; BINS]);
        for (sum, bins) in self.day.iter_mut().zip(&hour.bins) {
            sum.iter_mut().zip(bins).for_each(|(sum, count)| *sum += count);
        }
        self.hours += 1;
        if self.hours.is_multiple_of(24) {
            let gate = DriftGate::default();
            let drifted =
                self.day.iter().filter(|bins| gate.judge(&REFERENCE, *bins).drift == Some(true)).count();
            self.note(2, drifted * 2 >= self.day.len() && !self.day.is_empty());
            self.day.clear();
        }
    }

    fn note(&mut self, rule: usize, calls: bool) {
        self.began[rule] += u64::from(calls && !self.calls[rule]);
        self.calls[rule] = calls;
    }
}
