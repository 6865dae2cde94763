//! Ranks and what a rank is worth.
//!
//! A Wilcoxon sum gives every step in rank the same worth and misses harm that touches a part of the
//! canaries. Tail-sensitive scores give the highest ranks most of the worth: Savage scores (expected order
//! statistics of the exponential; Savage 1956, Lehmann & D'Abrera, *Nonparametrics*, ch. 2).

use std::cmp::Ordering;

/// Scores are kept in these units, so that sums of them are exact.
pub const SCALE: f64 = 4096.0;

/// The Savage score of each rank among `n`, lowest rank first: `sum 1/j for j = n-i+1 ..= n`.
pub fn savage(n: usize) -> Vec<f64> {
    let mut score = 0.0;
    (0..n)
        .map(|i| {
            score += 1.0 / (n - i) as f64;
            score
        })
        .collect()
}

/// Savage scores to the power 1.5, lowest rank first: the worth that the judge uses.
///
/// Plain Savage scores find two harmed canaries of five in 71 % of runs, squares in 96 % but lose five points
/// where all five are mildly worse; the power between them loses two and finds 92 %.
pub fn tail_weighted(n: usize) -> Vec<f64> {
    savage(n).into_iter().map(|score| score * libm::sqrt(score)).collect()
}

/// Gives each value the worth of its rank; equal values share the mean of theirs. NaN ranks lowest.
pub fn of_ranks(values: &[f64], worth: &[f64]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| compare(values[a], values[b]).then(a.cmp(&b)));
    let mut scores = vec![0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && compare(values[order[start]], values[order[end]]) == Ordering::Equal {
            end += 1;
        }
        let mean = worth.get(start..end).map_or(0.0, |w| w.iter().sum::<f64>() / (end - start) as f64);
        for &device in &order[start..end] {
            scores[device] = (mean * SCALE).round() as u64;
        }
        start = end;
    }
    scores
}

fn compare(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn savage_sums_to_n() {
        for n in [1, 2, 7, 200] {
            assert!((savage(n).iter().sum::<f64>() - n as f64).abs() < 1e-9);
        }
    }

    #[test]
    fn ties_share() {
        let scores = of_ranks(&[1.0, 1.0, 5.0, f64::NAN], &[0.0, 1.0, 3.0, 10.0]);
        assert_eq!(scores, vec![8192, 8192, 40960, 0]);
    }
}
