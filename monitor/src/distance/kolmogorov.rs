//! The Kolmogorov-Smirnov distance.

use crate::distance::both;
use modelfleet_number::kolmogorov;

/// Largest size for which the exact p-value is counted out; above it a limiting one is used. As scipy's `auto`.
const EXACT: usize = 10_000;
/// With so few values in the smaller sample it is counted out whatever the larger one has.
const FEW: usize = 200;

/// Largest difference of the cumulated shares of two histograms at an edge (Kolmogorov 1933, Smirnov 1939).
///
/// The distance of the values behind them is at least this, and at most the greatest over bins of `d + p` and
/// `q - d`, where `d` is the difference before the bin and `p` and `q` are the two shares in it.
pub fn ks_histogram(a: &[u64], b: &[u64]) -> f64 {
    let (p, q) = both(a, b);
    let (mut above, mut most) = (0.0, 0.0_f64);
    for (p, q) in p.iter().zip(&q) {
        above += p - q;
        most = most.max(f64::abs(above));
    }
    most
}

/// Distance and two-sided p-value from samples (`scipy.stats.ks_2samp`): exact by counting lattice paths up to
/// 10 000 values each (Hodges 1958), above that as if one sample of n m / (n + m) values were held against a
/// known distribution. (0, 1) if either is empty; values that are not numbers are left out.
pub fn ks_two_sample(a: &[f64], b: &[f64]) -> (f64, f64) {
    let sorted = |list: &[f64]| {
        let mut list: Vec<f64> = list.iter().copied().filter(|v| !v.is_nan()).collect();
        list.sort_unstable_by(f64::total_cmp);
        list
    };
    let (a, b) = (sorted(a), sorted(b));
    let (n, m) = (a.len(), b.len());
    if n == 0 || m == 0 {
        return (0.0, 1.0);
    }
    // In units of 1/(n m): an integer, so that ties in the exact count are exact.
    let mut most = 0_u128;
    let (mut i, mut j) = (0, 0);
    while i < n && j < m {
        let value = a[i].min(b[j]);
        i += a[i..].iter().take_while(|&&v| v <= value).count();
        j += b[j..].iter().take_while(|&&v| v <= value).count();
        most = most.max((i as u128 * m as u128).abs_diff(j as u128 * n as u128));
    }
    let distance = most as f64 / (n as f64 * m as f64);
    let p = if n.max(m) <= EXACT || n.min(m) <= FEW {
        exact(n, m, most)
    } else {
        let size = (n as f64 * m as f64 / (n as f64 + m as f64)).round_ties_even();
        kolmogorov::upper_tail(size as u64, distance)
    };
    (distance, p)
}

/// P(distance >= d): the share of lattice paths from (0, 0) to (n, m) that stray so far. What strays is summed, not
/// what stays, so that small chances keep their digits.
fn exact(n: usize, m: usize, most: u128) -> f64 {
    if most == 0 {
        return 1.0;
    }
    // Chance of being at (i, j) along a random path that has not strayed, row by row: |i m - j n| < most. A path
    // goes on to row i + 1 with chance (n - i) / (what is left of both), otherwise to column j + 1.
    let (wide, long) = (m as u128, n as u128);
    let band = |i: usize| {
        let at = i as u128 * wide;
        let from = if at < most { 0 } else { ((at - most) / long + 1) as usize };
        from..(((at + most - 1) / long) as usize).min(m) + 1
    };
    let mut strayed = 0.0;
    let mut row = vec![0.0; m + 1];
    row[0] = 1.0;
    let mut here = band(0);
    for i in 0..=n {
        let next = if i < n { band(i + 1) } else { 0..m + 1 };
        let mut beside = 0.0;
        for j in here.clone() {
            let left = (n - i + m - j) as f64;
            let at = row[j] + beside;
            if left == 0.0 {
                break;
            }
            beside = at * (m - j) as f64 / left;
            let down = at * (n - i) as f64 / left;
            if next.contains(&j) {
                row[j] = down;
            } else {
                strayed += down;
                row[j] = 0.0;
            }
        }
        if here.end <= m {
            strayed += beside;
        }
        here = next;
    }
    strayed.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::ks_two_sample;

    /// Two samples that do not overlap: two of all C(60, 30) orders are as far apart.
    #[test]
    fn small_chances_keep_their_digits() {
        let (a, b): (Vec<f64>, Vec<f64>) = (0..30).map(|i| (f64::from(i), f64::from(i + 100))).unzip();
        let (distance, p) = ks_two_sample(&a, &b);
        let want = 2.0 / 118_264_581_564_861_424.0;
        assert!(distance == 1.0 && (p / want - 1.0).abs() < 1e-12, "{p}, want {want}");
    }
}
