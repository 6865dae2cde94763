//! Permutation test within strata: how often would a random pick of canaries look as bad as this one?

use crate::exact::flags;
use libm::sqrt;
use modelfleet_number::chance::Chance;
use modelfleet_number::gamma;
use modelfleet_number::normal;

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
/// The same where an approximation is too near the level to be believed.
const MOST_STEPS_NEAR: f64 = 4e8;
/// An approximation this many times above or below the level decides: it is not so far off.
const NEAR: f64 = 30.0;
/// Hits that settle a test as not significant.
const HITS: u64 = 30;
/// Scores are cut to this, so that no sum of them overflows.
const MOST_SCORE: u64 = 1 << 40;

/// P(sum of the scores of a random pick >= sum of the canaries' scores).
///
/// Two-valued scores are counted out ([`flags`]). Others up to a cost limit by seeded Monte-Carlo, (1 + hits) /
/// (1 + draws), with draws enough to resolve `level` thirty-fold and an early end when it is clear that p > `level`
/// (Besag & Clifford, Biometrika 1991: the p-value stays valid). Above the limit by a Pearson type III curve with
/// the permutation distribution's own mean, variance and skewness (Mielke & Berry, *Permutation Methods*); where
/// that comes near the level, by Monte-Carlo up to a higher limit.
pub fn p_value(strata: &[Stratum], level: f64, chance: Chance) -> f64 {
    let canaries: usize = strata.iter().map(|s| s.canaries.min(s.scores.len())).sum();
    let picks: usize = strata.iter().map(|s| picks(s).0).sum();
    if canaries == 0 || picks == 0 {
        return 1.0;
    }
    if let Some(p) = flags::p_value(strata) {
        return p;
    }
    tail(strata, observed(strata), level, chance)
}

/// Sum of the canaries' scores.
fn observed(strata: &[Stratum]) -> u64 {
    let canaries = strata.iter().flat_map(|s| s.scores.iter().take(s.canaries));
    canaries.map(|score| (*score).min(MOST_SCORE)).sum()
}

/// P(sum of the scores of a random pick >= `at_least`), by Monte-Carlo or the curve.
pub(crate) fn tail(strata: &[Stratum], at_least: u64, level: f64, mut chance: Chance) -> f64 {
    let picks: usize = strata.iter().map(|s| picks(s).0).sum();
    let draws = (HITS as f64 / level.max(1e-9)).ceil().max(1000.0);
    let steps = draws * picks as f64;
    if steps > MOST_STEPS {
        let p = pearson(strata, at_least);
        if steps > MOST_STEPS_NEAR || p < level / NEAR || p > level * NEAR {
            return p;
        }
    }
    sample(strata, at_least, draws as u64, &mut chance)
}

/// The smaller side of a stratum, and whether that is the canaries.
fn picks(stratum: &Stratum) -> (usize, bool) {
    let canaries = stratum.canaries.min(stratum.scores.len());
    let controls = stratum.scores.len() - canaries;
    if canaries <= controls { (canaries, true) } else { (controls, false) }
}

fn sample(strata: &[Stratum], at_least: u64, draws: u64, chance: &mut Chance) -> f64 {
    let mut pools: Vec<(Vec<u64>, usize, bool, u64)> = strata
        .iter()
        .map(|s| {
            let (pick, is_canary) = picks(s);
            let scores: Vec<u64> = s.scores.iter().map(|score| (*score).min(MOST_SCORE)).collect();
            let total = scores.iter().sum();
            (scores, pick, is_canary, total)
        })
        .collect();
    let mut hits = 0;
    for draw in 1..=draws {
        let mut sum = 0;
        for (pool, pick, is_canary, total) in &mut pools {
            let picked = pick_some(pool, *pick, chance);
            sum += if *is_canary { picked } else { *total - picked };
        }
        if sum >= at_least {
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
fn pearson(strata: &[Stratum], at_least: u64) -> f64 {
    let (mut distance, mut variance, mut third) = (at_least as f64, 0.0, 0.0);
    for s in strata {
        let n = s.scores.len() as f64;
        let k = s.canaries.min(s.scores.len()) as f64;
        let mean = s.scores.iter().map(|&x| x as f64).sum::<f64>() / n.max(1.0);
        distance -= k * mean;
        if k == 0.0 || k == n {
            continue;
        }
        let (mut m2, mut m3) = (0.0, 0.0);
        for &x in &s.scores {
            let d = x as f64 - mean;
            m2 += d * d;
            m3 += d * d * d;
        }
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
    // So little skew moves no tail that matters, and the gamma's shape would be too large for its sums.
    if skew.abs() < 1e-4 {
        return normal::upper_tail(z);
    }
    // A gamma of shape 4/skew^2, scaled to variance 1, mean 0.
    let shape = 4.0 / (skew * skew);
    let x = shape + z * sqrt(shape) * skew.signum();
    if skew > 0.0 { gamma::upper(shape, x.max(0.0)) } else { gamma::lower(shape, x.max(0.0)) }
}

#[cfg(test)]
mod tests {
    use super::{Stratum, observed, p_value, pearson, sample};
    use crate::exact::fisher::fisher_greater;
    use crate::exact::scores::{SCALE, tail_weighted};
    use modelfleet_number::chance::Chance;

    /// However many devices: flags are Fisher's test, not a curve through its moments.
    #[test]
    fn flags_are_exact() {
        for (canaries, rest, marked, others) in [(1_000, 1_000, 12, 1), (40, 160, 5, 0), (100, 100, 13, 2)] {
            let flags = |marked, all| (0..all).map(move |i| u64::from(i < marked));
            let scores = flags(marked, canaries).chain(flags(others, rest)).collect();
            let p = p_value(&[Stratum { scores, canaries }], 1e-5, Chance::new(1));
            let want = fisher_greater(marked as u64, canaries as u64, others as u64, rest as u64);
            assert!((p / want - 1.0).abs() < 1e-12, "{p}, want {want}");
        }
    }

    /// Near the level the draws decide, far from it the curve; huge scores are no reason to panic.
    #[test]
    fn near_the_level_it_is_drawn() {
        // Every third device of the ranks is a canary, and so many of the highest in a row.
        let strata = |lead: usize| {
            let worth: Vec<u64> = tail_weighted(300).iter().map(|w| (w * SCALE) as u64).collect();
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for (i, score) in worth.iter().rev().enumerate() {
                if i < lead || i % 3 == 0 { ours.push(*score) } else { theirs.push(*score) }
            }
            let canaries = ours.len();
            ours.extend(theirs);
            vec![Stratum { scores: ours, canaries }]
        };
        let level = 1e-4;
        let (near, far) = (strata(17), strata(60));
        let rough = pearson(&near, observed(&near));
        assert!((level / 30.0..level * 30.0).contains(&rough), "{rough}");
        assert_eq!(
            p_value(&near, level, Chance::new(3)),
            sample(&near, observed(&near), 300_000, &mut Chance::new(3))
        );
        assert_eq!(p_value(&far, level, Chance::new(3)), pearson(&far, observed(&far)));
        let huge = [Stratum { scores: vec![u64::MAX, u64::MAX - 1, u64::MAX, 0, 0, 1], canaries: 3 }];
        assert!(p_value(&huge, 0.01, Chance::new(1)) < 0.2);
    }
}
