//! Permutation test within strata: how often would a random pick of canaries look as bad as this one?

use crate::number::chance::Chance;
use crate::number::gamma;
use crate::number::normal;
use libm::sqrt;

/// One stratum: a score per device, and which of them are canaries (the first `canaries` in the list).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stratum {
    /// Scores, canaries first.
    pub scores: Vec<u64>,
    /// How many of them are canaries.
    pub canaries: usize,
}

/// Draws that a test may take in all (steps of the shuffle).
const MOST_STEPS: f64 = 2e7;
/// Hits that settle a test as not significant.
const HITS: u64 = 30;

/// P(sum of the scores of a random pick >= sum of the canaries' scores).
///
/// Up to a cost limit by seeded Monte-Carlo, (1 + hits) / (1 + draws), with draws enough to resolve `level`
/// thirty-fold and an early end when it is clear that p > `level` (Besag & Clifford, Biometrika 1991: the
/// p-value stays valid). Above the limit by a Pearson type III curve with the permutation distribution's own
/// mean, variance and skewness (Mielke & Berry, *Permutation Methods*).
pub fn p_value(strata: &[Stratum], level: f64, mut chance: Chance) -> f64 {
    let canaries: usize = strata.iter().map(|s| s.canaries.min(s.scores.len())).sum();
    let picks: usize = strata.iter().map(|s| picks(s).0).sum();
    if canaries == 0 || picks == 0 {
        return 1.0;
    }
    let draws = (HITS as f64 / level.max(1e-9)).ceil().max(1000.0);
    if draws * picks as f64 > MOST_STEPS {
        return pearson(strata);
    }
    sample(strata, draws as u64, &mut chance)
}

/// The smaller side of a stratum, and whether that is the canaries.
fn picks(stratum: &Stratum) -> (usize, bool) {
    let canaries = stratum.canaries.min(stratum.scores.len());
    let controls = stratum.scores.len() - canaries;
    if canaries <= controls { (canaries, true) } else { (controls, false) }
}

fn sample(strata: &[Stratum], draws: u64, chance: &mut Chance) -> f64 {
    let observed: u64 = strata
        .iter()
        .map(|s| s.scores.iter().take(s.canaries).fold(0, |a: u64, b| a.saturating_add(*b)))
        .sum();
    let mut pools: Vec<(Vec<u64>, usize, bool, u64)> = strata
        .iter()
        .map(|s| {
            let (pick, is_canary) = picks(s);
            (s.scores.clone(), pick, is_canary, s.scores.iter().sum())
        })
        .collect();
    let mut hits = 0;
    for draw in 1..=draws {
        let mut sum = 0;
        for (pool, pick, is_canary, total) in &mut pools {
            let picked = pick_some(pool, *pick, chance);
            sum += if *is_canary { picked } else { *total - picked };
        }
        if sum >= observed {
            hits += 1;
            if hits > HITS {
                return hits as f64 / draw as f64;
            }
        }
    }
    (1 + hits) as f64 / (1 + draws) as f64
}

/// Sum of `count` random entries; a partial Fisher-Yates shuffle, so the pool stays a permutation.
fn pick_some(pool: &mut [u64], count: usize, chance: &mut Chance) -> u64 {
    let mut sum = 0;
    let length = pool.len();
    for i in 0..count {
        let j = i + chance.below((length - i) as u32) as usize;
        pool.swap(i, j);
        sum += pool[i];
    }
    sum
}

/// Tail of a shifted gamma with the permutation distribution's first three moments.
fn pearson(strata: &[Stratum]) -> f64 {
    let (mut distance, mut variance, mut third) = (0.0, 0.0, 0.0);
    for s in strata {
        let n = s.scores.len() as f64;
        let k = s.canaries.min(s.scores.len()) as f64;
        if k == 0.0 || k == n {
            continue;
        }
        let mean = s.scores.iter().map(|&x| x as f64).sum::<f64>() / n;
        let (mut m2, mut m3) = (0.0, 0.0);
        for &x in &s.scores {
            let d = x as f64 - mean;
            m2 += d * d;
            m3 += d * d * d;
        }
        distance += s.scores.iter().take(s.canaries).map(|&x| x as f64 - mean).sum::<f64>();
        variance += m2 * k * (n - k) / (n * (n - 1.0));
        if n > 2.0 {
            third += m3 * k * (n - k) * (n - 2.0 * k) / (n * (n - 1.0) * (n - 2.0));
        }
    }
    if variance <= 0.0 {
        return 1.0;
    }
    let z = distance / sqrt(variance);
    let skew = third / (variance * sqrt(variance));
    if skew.abs() < 1e-6 {
        return normal::upper_tail(z);
    }
    // A gamma of shape 4/skew^2, scaled to variance 1, mean 0.
    let shape = 4.0 / (skew * skew);
    let x = shape + z * sqrt(shape) * skew.signum();
    if skew > 0.0 { gamma::upper(shape, x.max(0.0)) } else { gamma::lower(shape, x.max(0.0)) }
}
