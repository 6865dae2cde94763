//! The permutation test of flags: where every device scores one of two values, it can be counted out.

use crate::exact::permutation::Stratum;
use modelfleet_number::hypergeometric::{mass, upper_tail};

/// Steps that the count may take; above, the caller has to do without.
const MOST_STEPS: usize = 50_000_000;
/// Chances below this part of a stratum's likeliest count are left out: together far below any level.
const LEAST: f64 = 1e-30;

/// One stratum as a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    /// Devices in all.
    pub devices: u64,
    /// Of these marked.
    pub marked: u64,
    /// Of all devices canaries.
    pub canaries: u64,
}

impl Table {
    /// It has canaries and controls.
    pub(crate) fn is_mixed(&self) -> bool {
        self.canaries > 0 && self.canaries < self.devices
    }
}

/// P(as many or more of the higher scores among a random pick of canaries), exact: Fisher's test, over strata by
/// convolution. `None` where scores take more than two values, or the count would take too long.
pub fn p_value(strata: &[Stratum]) -> Option<f64> {
    let all = || strata.iter().flat_map(|s| &s.scores).copied();
    let (low, high) = (all().min()?, all().max()?);
    if all().any(|score| score != low && score != high) {
        return None;
    }
    if low == high {
        return Some(1.0);
    }
    let count = |scores: &[u64]| scores.iter().filter(|&&score| score == high).count() as u64;
    let mut seen = 0;
    let tables: Vec<Table> = strata
        .iter()
        .map(|s| {
            let canaries = s.canaries.min(s.scores.len());
            seen += count(&s.scores[..canaries]);
            Table { devices: s.scores.len() as u64, marked: count(&s.scores), canaries: canaries as u64 }
        })
        .collect();
    at_least(&tables, seen)
}

/// P(so many or more of the marked devices among a random pick of canaries), over all tables. `None` where the count would
/// take too long.
pub(crate) fn at_least(tables: &[Table], seen: u64) -> Option<f64> {
    // Strata without a choice add what they must.
    let (fixed, free): (Vec<Table>, Vec<Table>) = tables
        .iter()
        .partition(|t| t.marked == 0 || t.marked == t.devices || t.canaries == 0 || t.canaries == t.devices);
    let must: u64 = fixed.iter().map(|t| t.marked.min(t.canaries)).sum();
    let seen = seen.saturating_sub(must);
    match free[..] {
        [] => Some(1.0),
        [one] => Some(upper_tail(seen, one.devices, one.marked, one.canaries)),
        _ => over_strata(&free, seen),
    }
}

/// Chances of each count from `from` on.
struct Counts {
    from: u64,
    chances: Vec<f64>,
}

fn over_strata(tables: &[Table], seen: u64) -> Option<f64> {
    let mut sum = Counts { from: 0, chances: vec![1.0] };
    let mut steps = 0;
    for table in tables {
        let one = counts(*table);
        steps += one.chances.len() * sum.chances.len();
        if steps > MOST_STEPS {
            return None;
        }
        let mut chances = vec![0.0; one.chances.len() + sum.chances.len() - 1];
        for (i, a) in sum.chances.iter().enumerate() {
            for (b, chance) in one.chances.iter().zip(&mut chances[i..]) {
                *chance += a * b;
            }
        }
        sum = Counts { from: sum.from + one.from, chances };
    }
    let least = usize::try_from(seen.saturating_sub(sum.from)).unwrap_or(usize::MAX);
    // The small ones first, so that they keep their digits.
    let tail: f64 = sum.chances.iter().skip(least).rev().sum();
    Some(tail.min(1.0))
}

/// The hypergeometric distribution around its mean, as far as it matters.
fn counts(t: Table) -> Counts {
    let (low, high) = ((t.marked + t.canaries).saturating_sub(t.devices), t.marked.min(t.canaries));
    let mean = (t.marked as f64 * t.canaries as f64 / t.devices as f64) as u64;
    let middle = mean.clamp(low, high);
    let chance = |k: u64| mass(k, t.devices, t.marked, t.canaries);
    let most = chance(middle);
    let matters = |k: &u64| chance(*k) > LEAST * most;
    let from = (low..middle).rev().take_while(matters).last().unwrap_or(middle);
    let to = (middle..=high).take_while(matters).last().unwrap_or(middle);
    Counts { from, chances: (from..=to).map(chance).collect() }
}

#[cfg(test)]
mod tests {
    use super::p_value;
    use crate::exact::permutation::Stratum;

    /// `marked` of the canaries and of the rest score `high`, the others `low`.
    fn stratum(canaries: [usize; 2], rest: [usize; 2], low: u64, high: u64) -> Stratum {
        let part = |[marked, all]: [usize; 2]| (0..all).map(move |i| if i < marked { high } else { low });
        Stratum { scores: part(canaries).chain(part(rest)).collect(), canaries: canaries[1] }
    }

    #[test]
    fn tables_and_their_sums() {
        // scipy.stats.hypergeom.sf(2, 20, 4, 5) and, over two such strata, the convolution's tail from 6 on.
        let one = [stratum([3, 5], [1, 15], 0, 1)];
        assert!((p_value(&one).unwrap() - 0.031_991_744).abs() < 1e-8);
        let two = [one[0].clone(), stratum([3, 5], [1, 15], 0, 1)];
        assert!((p_value(&two).unwrap() - 0.001_470_775).abs() < 1e-8, "{:?}", p_value(&two));
        let scaled = two.map(|s| Stratum { scores: s.scores.iter().map(|x| 7 + 900 * x).collect(), ..s });
        assert!((p_value(&scaled).unwrap() - 0.001_470_775).abs() < 1e-8);
    }

    #[test]
    fn nothing_to_choose_is_no_evidence() {
        assert_eq!(p_value(&[stratum([0, 5], [0, 15], 0, 1)]), Some(1.0));
        assert_eq!(p_value(&[stratum([2, 5], [0, 0], 0, 1)]), Some(1.0));
        assert_eq!(p_value(&[Stratum { scores: vec![1, 2, 3], canaries: 1 }]), None);
        assert_eq!(p_value(&[]), None);
    }
}
