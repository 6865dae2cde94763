//! Runs spread over threads. Each run depends on its number alone, so the order does not matter.

use std::sync::atomic::{AtomicU64, Ordering};

use modelfleet_rollout::PolicyError;
use modelfleet_simulation::{Outcome, Simulation};

use super::SimulateError;

/// All runs, in the order of their numbers.
pub fn run_all(
    simulation: &Simulation,
    seed: u64,
    runs: u64,
    threads: u64,
) -> Result<Vec<Outcome>, SimulateError> {
    let next = AtomicU64::new(0);
    let work = || -> Result<Vec<(u64, Outcome)>, PolicyError> {
        let mut own = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= runs {
                return Ok(own);
            }
            own.push((number, simulation.run(seed, number, &mut |_| {})?));
        }
    };
    let mut all = std::thread::scope(|scope| -> Result<Vec<(u64, Outcome)>, SimulateError> {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for thread in started {
            all.extend(thread.join().map_err(|_| SimulateError::Thread)??);
        }
        Ok(all)
    })?;
    all.sort_unstable_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, outcome)| outcome).collect())
}
