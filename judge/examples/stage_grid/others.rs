//! What users have today, on the same fleets: a threshold with a failure limit, and a pooled sequential test.

use crate::stage::LOOKS;
use crate::world::{Fleet, World};
use modelfleet_number::chance::Chance;

/// One of today's rules.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// Roll back when canaries' share of bad devices in a window is above two and a half times the fleet's
    /// usual share, in more windows than this (Argo Rollouts: `failureLimit`; Flagger: `threshold`).
    Threshold { limit: u64 },
    /// Roll back when a sequential likelihood-ratio test on pooled errors, canaries' against all, passes 100
    /// (1 %): mixture over ratios 1.5 to 20, always valid if errors were independent.
    Pooled,
}

/// Does the rule roll back within the stage?
pub fn rolls_back(rule: Rule, world: World, canaries: usize, seed: u64) -> bool {
    let mut fleet = Fleet::new(world, Chance::fork(seed, 1));
    let (known, bad) = fleet
        .devices
        .iter()
        .fold((0, 0), |(k, b), d| (k + d.counts.history.known, b + d.counts.history.bad()));
    let usual = bad as f64 / (known as f64).max(1.0);
    fleet.open_stage(canaries);
    let share = canaries as f64 / world.devices as f64;
    let (mut failures, mut canary, mut all) = (0, 0.0, 0.0);
    for _ in 0..LOOKS[LOOKS.len() - 1] * world.stretch {
        fleet.window();
        match rule {
            Rule::Threshold { limit } => {
                let window = fleet.canary_window;
                let above = window.bad() as f64 > 2.5 * usual * window.known as f64;
                failures += u64::from(above);
                if failures > limit {
                    return true;
                }
            }
            Rule::Pooled => {
                canary += fleet.errors.0 as f64;
                all += (fleet.errors.0 + fleet.errors.1) as f64;
                if pooled_e(canary, all, share) >= 100.0 {
                    return true;
                }
            }
        }
    }
    false
}

/// Mixture likelihood ratio for the canaries' share of all errors.
fn pooled_e(canary: f64, all: f64, share: f64) -> f64 {
    let ratios = [1.5, 2.0, 3.0, 5.0, 10.0, 20.0];
    let sum: f64 = ratios
        .iter()
        .map(|ratio| {
            let risen = ratio * share / (ratio * share + 1.0 - share);
            libm::exp(
                canary * libm::log(risen / share) + (all - canary) * libm::log((1.0 - risen) / (1.0 - share)),
            )
        })
        .sum();
    sum / ratios.len() as f64
}
