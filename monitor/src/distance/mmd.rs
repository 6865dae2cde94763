//! Maximum mean discrepancy.

use libm::exp;

/// Unbiased estimate of MMD^2 with a Gaussian kernel `exp(-gamma |x - y|^2)` (Gretton et al., JMLR 2012,
/// eq. 3; reference 001). Rows are points of equal length; the shorter row counts as cut. Quadratic in the
/// number of points. 0 with fewer than two points on a side.
pub fn mmd_squared(a: &[Vec<f64>], b: &[Vec<f64>], gamma: f64) -> f64 {
    let (n, m) = (a.len() as f64, b.len() as f64);
    if a.len() < 2 || b.len() < 2 {
        return 0.0;
    }
    let kernel =
        |x: &[f64], y: &[f64]| exp(-gamma * x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>());
    let within = |list: &[Vec<f64>]| -> f64 {
        let mut sum = 0.0;
        for (i, x) in list.iter().enumerate() {
            for y in list.iter().take(i) {
                sum += 2.0 * kernel(x, y);
            }
        }
        sum
    };
    let across: f64 = a.iter().map(|x| b.iter().map(|y| kernel(x, y)).sum::<f64>()).sum();
    within(a) / (n * (n - 1.0)) + within(b) / (m * (m - 1.0)) - 2.0 * across / (n * m)
}
