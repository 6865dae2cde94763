//! Sample size for comparing two proportions.

use libm::ceil;
use modelfleet_number::normal;

/// Samples per group to see a rate go from `rate_ppm` to `rate_ppm * (1 + rise)` with a two-sided test at
/// `alpha_ppm` and this power; `rise_ppm` is the relative change, up to a rate of 1 and down to 0. `u64::MAX` when nothing changes.
///
/// `n = 2 p (1 - p) (z_(1-alpha/2) + z_power)^2 / (p1 - p2)^2` with `p` the mean of both rates: the
/// formula of reference 003 (`sample_size_calculator`; there 20 % to 22 % at 5 % and 80 % gives 6 510).
pub fn per_group(rate_ppm: u64, rise_ppm: i64, alpha_ppm: u32, power_ppm: u32) -> u64 {
    let before = rate_ppm as f64 * 1e-6;
    let before = before.min(1.0);
    let after = (before * (1.0 + rise_ppm as f64 * 1e-6)).clamp(0.0, 1.0);
    let difference = after - before;
    if difference == 0.0 {
        return u64::MAX;
    }
    let z = normal::quantile(1.0 - f64::from(alpha_ppm.min(1_000_000)) * 0.5e-6)
        + normal::quantile(f64::from(power_ppm.min(1_000_000)) * 1e-6);
    let mean = 0.5 * (before + after);
    ceil(2.0 * mean * (1.0 - mean) * z * z / (difference * difference)) as u64
}

#[cfg(test)]
mod tests {
    use super::per_group;

    #[test]
    fn reference_example() {
        // scipy: 2*0.21*0.79*(1.959963985+0.841621234)^2/0.02^2 = 6510.5...
        assert_eq!(per_group(200_000, 100_000, 50_000, 800_000), 6511);
        assert_eq!(per_group(200_000, 0, 50_000, 800_000), u64::MAX);
    }

    #[test]
    fn no_rate_is_above_one() {
        let (far, whole) =
            (per_group(500_000, 3_000_000, 50_000, 800_000), per_group(500_000, 1_000_000, 50_000, 800_000));
        assert!(far == whole && far > 0, "{far} {whole}");
        assert_eq!(per_group(1_000_000, 1, 50_000, 800_000), u64::MAX);
    }
}
