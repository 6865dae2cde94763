//! The exact tail of a sum of scores over a random pick, counted out device by device.
//!
//! What Monte-Carlo cannot resolve at a level of a millionth is counted here: the chance of each number of picked devices
//! and each sum, one device after the other (the recursion of Pagano & Tritchler, *JASA* 1983, with sums in whole units).

use crate::exact::permutation::Stratum;

/// Most steps of the count.
const MOST_STEPS: usize = 20_000_000;

/// P(sum of the scores of a random pick of the canaries of each stratum >= `at_least`). `None`: it would take too long.
pub fn tail(strata: &[Stratum], at_least: u64) -> Option<f64> {
    if at_least == 0 {
        return Some(1.0);
    }
    if highest(strata) < at_least {
        return Some(0.0);
    }
    let bins = usize::try_from(at_least).ok()?.checked_add(1)?;
    let steps =
        strata.iter().map(|s| s.scores.len().saturating_mul(s.canaries)).fold(0, usize::saturating_add);
    if steps.saturating_mul(bins) > MOST_STEPS {
        return None;
    }
    // Chance of each sum so far; the last bin holds all that is large enough.
    let mut sums = vec![0.0; bins];
    sums[0] = 1.0;
    for stratum in strata {
        let (picks, all) = (stratum.canaries.min(stratum.scores.len()), stratum.scores.len());
        let mut by_picked = vec![vec![0.0; bins]; picks + 1];
        by_picked[0] = sums;
        for (place, &score) in stratum.scores.iter().enumerate() {
            let shift = usize::try_from(score).unwrap_or(bins).min(bins - 1);
            let left = (all - place) as f64;
            for picked in (0..=picks.min(place + 1)).rev() {
                let chance = (picks - picked) as f64 / left;
                by_picked[picked].iter_mut().for_each(|p| *p *= 1.0 - chance);
                if picked > 0 {
                    let (fewer, more) = by_picked.split_at_mut(picked);
                    take(&fewer[picked - 1], &mut more[0], shift, (picks - picked + 1) as f64 / left);
                }
            }
        }
        sums = by_picked.pop().unwrap_or_default();
    }
    sums.last().copied()
}

/// The largest sum that a pick can have.
fn highest(strata: &[Stratum]) -> u64 {
    let most = |stratum: &Stratum| {
        let mut scores = stratum.scores.clone();
        scores.sort_unstable_by(|a, b| b.cmp(a));
        scores.iter().take(stratum.canaries).fold(0, |sum: u64, score| sum.saturating_add(*score))
    };
    strata.iter().map(most).fold(0, u64::saturating_add)
}

/// Adds what comes of picking one more device with this score.
fn take(from: &[f64], into: &mut [f64], shift: usize, chance: f64) {
    let last = into.len() - 1;
    let whole = last - shift;
    for (p, more) in from[..whole].iter().zip(&mut into[shift..last]) {
        *more += p * chance;
    }
    into[last] += chance * from[whole..].iter().sum::<f64>();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pick of two or three strata, one by one.
    fn by_hand(strata: &[Stratum], at_least: u64) -> f64 {
        let mut sums = vec![0_u64];
        for stratum in strata {
            let picks =
                (0_u32..1 << stratum.scores.len()).filter(|p| p.count_ones() as usize == stratum.canaries);
            let of = |pick: u32| {
                let chosen = stratum.scores.iter().enumerate().filter(|(i, _)| pick >> i & 1 == 1);
                chosen.map(|(_, score)| score).sum::<u64>()
            };
            let own: Vec<u64> = picks.map(of).collect();
            sums = sums.iter().flat_map(|sum| own.iter().map(move |more| sum + more)).collect();
        }
        sums.iter().filter(|sum| **sum >= at_least).count() as f64 / sums.len() as f64
    }

    #[test]
    fn it_is_what_all_picks_say() {
        let one = Stratum { scores: vec![9, 4, 4, 0, 7, 1, 30, 2], canaries: 3 };
        let two = Stratum { scores: vec![5, 5, 11, 0, 1], canaries: 2 };
        let whole = Stratum { scores: vec![3, 4], canaries: 2 };
        for strata in [vec![one.clone()], vec![one.clone(), two.clone()], vec![two, whole, one]] {
            for at_least in 0..80 {
                let (got, want) = (tail(&strata, at_least).unwrap_or(f64::NAN), by_hand(&strata, at_least));
                assert!((got - want).abs() < 1e-12, "{at_least}: {got}, want {want}");
            }
        }
    }

    #[test]
    fn the_worst_pick_of_three_in_a_hundred_is_one_of_all() {
        let scores: Vec<u64> = (0..100).rev().collect();
        let p = tail(&[Stratum { scores, canaries: 3 }], 99 + 98 + 97);
        assert!(p.is_some_and(|p| (p * 161_700.0 - 1.0).abs() < 1e-9), "{p:?}");
    }
}
