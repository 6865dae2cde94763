//! Harm to one group: exact tests within each group alone, the worst group counting.
//!
//! Devices of one site or kind are picked at random within it, so that each group is an experiment of its own. Where one
//! of many is harmed, a sum over all of them drowns it. Two tests, each with half of the level:
//!
//! - By each group's own ranks, the smallest p-value; the groups share the level (Bonferroni), and only those count that
//!   can reach it at all (Tarone, *Biometrics* 1990).
//! - By ranks over all devices, the group whose canaries stand out most (Westfall & Young, *Resampling-Based Multiple
//!   Testing*, 1993, ch. 2: the largest statistic). Its p-value is the chance that the canaries of any group would stand out
//!   as much. Three harmed canaries of a hundred devices are the worst of two thousand; no other group has such devices to
//!   pick, so that twenty groups cost hardly more than one.

use crate::exact::change::Subject;
use crate::exact::groups::{Group, Key};
use crate::exact::permutation::{self, Stratum, p_value};
use crate::exact::{pick_tail, scores};
use libm::sqrt;
use modelfleet_number::chance::Chance;

/// Scores over all devices are told apart by this many steps of [`scores::SCALE`]: coarse enough for sums to be counted out.
const COARSE: u64 = 512;

/// The smallest p-value over groups, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// P-value over all groups.
    pub p: f64,
    /// Which one.
    pub key: Key,
}

/// The worst group at a level by both tests, for subjects ordered by stratum with their change scores; `None`: no group can
/// reach the level, whichever devices were picked.
pub fn worst(
    subjects: &[Subject],
    groups: &[Group],
    changes: &[f64],
    level: f64,
    seed: u64,
) -> Option<Worst> {
    let by_own = by_own_ranks(subjects, groups, changes, level / 2.0, seed);
    let by_all = by_all_ranks(subjects, groups, changes, level / 2.0, seed);
    let worst = by_own.into_iter().chain(by_all).min_by(|a, b| a.p.total_cmp(&b.p))?;
    Some(Worst { p: (2.0 * worst.p).min(1.0), ..worst })
}

/// The group with the smallest p-value of its own.
pub fn by_own_ranks(
    subjects: &[Subject],
    groups: &[Group],
    changes: &[f64],
    level: f64,
    seed: u64,
) -> Option<Worst> {
    let able: Vec<&Group> = groups.iter().filter(|group| group.rarest(subjects) <= level).collect();
    let each = level / able.len().max(1) as f64;
    let one = |group: &&Group| {
        let own: Vec<f64> = group.members.iter().map(|place| changes[*place as usize]).collect();
        let ranked = scores::of_ranks(&own, &scores::tail_weighted(own.len()));
        let chance = Chance::fork(seed, u64::from(group.key.code()));
        Worst { p: p_value(&group.cells(subjects, &ranked), each, chance), key: group.key }
    };
    let worst = able.iter().map(one).min_by(|a, b| a.p.total_cmp(&b.p))?;
    Some(Worst { p: (worst.p * able.len() as f64).min(1.0), ..worst })
}

/// A group's canaries among its devices, by ranks over all devices.
struct Standing {
    key: Key,
    cells: Vec<Stratum>,
    /// What a random pick has on the mean, and how far it scatters.
    mean: f64,
    deviation: f64,
    /// How many deviations the canaries are above the mean.
    out: f64,
}

/// The group whose canaries stand out most, where that is beyond the level.
fn by_all_ranks(
    subjects: &[Subject],
    groups: &[Group],
    changes: &[f64],
    level: f64,
    seed: u64,
) -> Option<Worst> {
    let ranked = scores::of_ranks(changes, &scores::tail_weighted(changes.len()));
    let ranked: Vec<u64> = ranked.into_iter().map(|score| score.div_ceil(COARSE)).collect();
    let variance = variance(&ranked);
    let standing = |group: &Group| {
        let own: Vec<u64> = group.members.iter().map(|place| ranked[*place as usize]).collect();
        Standing::of(group.key, group.cells(subjects, &own), variance)
    };
    let all: Vec<Standing> = groups.iter().filter_map(standing).collect();
    let most = all.iter().max_by(|a, b| a.out.total_cmp(&b.out))?;
    // Its own part first: most often that alone is beyond the level.
    let mut p = most.tail(most.out, level, seed);
    for other in all.iter().filter(|other| other.key != most.key) {
        if p > level {
            return None;
        }
        p += other.tail(most.out, level / all.len() as f64, seed);
    }
    (p <= level).then_some(Worst { p, key: most.key })
}

fn variance(scores: &[u64]) -> f64 {
    let n = scores.len().max(1) as f64;
    let mean = scores.iter().map(|&score| score as f64).sum::<f64>() / n;
    scores.iter().map(|&score| (score as f64 - mean) * (score as f64 - mean)).sum::<f64>() / n
}

impl Standing {
    /// `None`: nothing can be picked, or all devices are alike. `variance`: of the scores of all devices, whatever the group, so
    /// that only a group with such devices stands out.
    fn of(key: Key, cells: Vec<Stratum>, variance: f64) -> Option<Self> {
        let (mut mean, mut spread, mut sum) = (0.0, 0.0, 0.0);
        for cell in &cells {
            let (n, k) = (cell.scores.len() as f64, cell.canaries as f64);
            mean += k * cell.scores.iter().map(|&score| score as f64).sum::<f64>() / n;
            spread += k * (1.0 - k / n);
            sum += cell.scores[..cell.canaries].iter().map(|&score| score as f64).sum::<f64>();
        }
        let deviation = sqrt(variance * spread);
        (deviation > 0.0).then(|| Self { key, cells, mean, deviation, out: (sum - mean) / deviation })
    }

    /// The chance that a random pick stands out as much.
    fn tail(&self, out: f64, level: f64, seed: u64) -> f64 {
        // Rounded so that no pick that stands out as much is left out.
        let at_least = (self.mean + out * self.deviation - 1e-6).ceil().max(0.0) as u64;
        pick_tail::tail(&self.cells, at_least).unwrap_or_else(|| {
            let chance = Chance::fork(seed ^ 0x616c_6c20_7261_6e6b, u64::from(self.key.code()));
            permutation::tail(&self.cells, at_least, level, chance)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::groups;
    use crate::observations::Arm;

    type Test = fn(&[Subject], &[Group], &[f64], f64, u64) -> Option<Worst>;

    /// Devices that scatter far, in groups of unlike sizes, in one stratum or in three.
    fn picked(seed: u64, strata: u32) -> (Vec<Subject>, Vec<f64>) {
        let mut luck = Chance::new(seed);
        let list: Vec<(u32, f64)> = (0..240).map(|id| (id, -libm::log(luck.unit().max(1e-9)))).collect();
        let mut subjects: Vec<Subject> = list
            .iter()
            .map(|&(id, _)| Subject {
                id,
                stratum: (id % strata) as u16,
                watched: [1 + (libm::sqrt(f64::from(id)) as u16) / 2, 0, 0, 0],
                arm: if luck.unit() < 0.2 { Arm::Canary } else { Arm::Control },
                bad: 0.0,
                known: 1.0,
                usual: 0.1,
                past: 0.0,
                past_bad: 0.0,
                mean: 0.1,
            })
            .collect();
        subjects.sort_by_key(|s| (s.stratum, s.id));
        let changes = subjects.iter().map(|s| list[s.id as usize].1 * f64::from(1 + s.id % 7)).collect();
        (subjects, changes)
    }

    /// Where canaries are picked at random, a p-value is below a level no more often than the level says.
    #[test]
    fn a_random_pick_is_seldom_significant() {
        for (strata, level) in [(1, 0.05), (3, 0.05), (1, 0.01)] {
            let below = |test: Test| {
                let hit = |seed: &u64| {
                    let (subjects, changes) = picked(*seed, strata);
                    let groups = groups::of(&subjects);
                    test(&subjects, &groups, &changes, level, *seed).is_some_and(|worst| worst.p <= level)
                };
                (0..600).filter(hit).count() as f64
            };
            let most = 600.0 * level + 3.0 * libm::sqrt(600.0 * level);
            for test in [by_own_ranks, by_all_ranks, worst] {
                assert!(below(test) <= most, "{strata} strata, level {level}: {}", below(test));
            }
        }
    }
}
