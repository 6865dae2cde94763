//! Harm to one stratum: the exact test within each stratum alone, the smallest p-value counting.
//!
//! Devices of one site or kind are picked at random within it, so that each stratum is an experiment of its own. Where one
//! of many is harmed, a sum over all of them drowns it. The strata share the level (Bonferroni; the picks being
//! independent, Sidak's bound is hardly larger), and only those count that can reach it at all.

use crate::exact::change::Subject;
use crate::exact::permutation::{Stratum, p_value};
use crate::exact::scores;
use crate::observations::Arm;
use crate::sizing::reach::rarest;
use modelfleet_number::chance::Chance;

/// The smallest p-value over strata, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// P-value over all strata.
    pub p: f64,
    /// Which one.
    pub stratum: u16,
}

/// Strata that have canaries and controls.
pub fn mixed(subjects: &[Subject]) -> usize {
    let both = |group: &&[Subject]| group.iter().any(|s| s.arm != group[0].arm);
    subjects.chunk_by(|a, b| a.stratum == b.stratum).filter(both).count()
}

/// The worst stratum at a level, for subjects ordered by stratum with their change scores; `None`: no stratum can reach
/// the level, whichever devices were picked.
pub fn worst(subjects: &[Subject], changes: &[f64], level: f64, seed: u64) -> Option<Worst> {
    let mut lists = Vec::new();
    let mut start = 0;
    for group in subjects.chunk_by(|a, b| a.stratum == b.stratum) {
        let own = changes.get(start..start + group.len()).unwrap_or_default();
        start += group.len();
        let canaries = group.iter().filter(|s| s.arm == Arm::Canary).count();
        if rarest(canaries as u64, (group.len() - canaries) as u64) <= level {
            lists.push((group, own, canaries));
        }
    }
    let level = level / lists.len().max(1) as f64;
    let one = |(group, own, canaries): &(&[Subject], &[f64], usize)| {
        let ranked = scores::of_ranks(own, &scores::tail_weighted(own.len()));
        let of = |arm: Arm| {
            let mut list: Vec<u64> =
                group.iter().zip(&ranked).filter(|(s, _)| s.arm == arm).map(|(_, score)| *score).collect();
            // Order within an arm must not matter, not even for the draws.
            list.sort_unstable();
            list
        };
        let list = Stratum { scores: [of(Arm::Canary), of(Arm::Control)].concat(), canaries: *canaries };
        let stratum = group[0].stratum;
        Worst { p: p_value(&[list], level, Chance::fork(seed, u64::from(stratum))), stratum }
    };
    let worst = lists.iter().map(one).min_by(|a, b| a.p.total_cmp(&b.p))?;
    Some(Worst { p: (worst.p * lists.len() as f64).min(1.0), ..worst })
}
