//! Kayenta's judge (`NetflixACAJudge-v1.0`): a Mann-Whitney U test of the two arms' time series.
//!
//! Each window gives one point for the canaries and one for the baseline: the share of requests that went wrong. A metric
//! is classified High where the lower limit of the 98 % confidence interval of the shift between the series (Hodges and
//! Lehmann) is above a quarter of its estimate: which is where the test of that shift, with correction for continuity and
//! ties, has a normal score above the 99 % quantile. With one metric the canary score is then 0, below any marginal score
//! (75 in the examples), and the canary fails; else it is 100, above the pass score (95). The baseline is all devices
//! without the candidate. The analysis is made three times over a stage, each over all windows so far (`count: 3`,
//! `lookback: true` in the example of Argo Rollouts' provider for Kayenta).
//!
//! Sources: [Kayenta](https://github.com/spinnaker/kayenta), `NetflixACAJudge.scala` and `MannWhitneyClassifier.scala`
//! (tolerance 0.25, confidence level 0.98); [Canary config](https://spinnaker.io/docs/guides/user/canary/config/).

use libm::{fabs, sqrt};

use super::{Reading, ends_part};

/// The 99 % quantile of the normal distribution: a two-sided interval of 98 %.
pub const BAR: f64 = 2.326_347_874_040_841;
/// Of the estimated shift, what is tolerated.
const TOLERANCE: f64 = 0.25;
/// Analyses in a stage.
const ANALYSES: u64 = 3;
/// Most points of a series that are compared; older ones are left out.
const POINTS_MAX: usize = 512;

/// The points of both arms so far.
#[derive(Clone, Debug, Default)]
pub struct Series {
    canary: Vec<f64>,
    baseline: Vec<f64>,
}

impl Series {
    /// Takes the window's points; the score of the test where an analysis is due.
    pub fn read(&mut self, reading: &Reading) -> Option<f64> {
        let [canary, baseline] = reading.requests.map(|requests| requests.share());
        self.canary.extend(canary);
        self.baseline.extend(baseline);
        if !ends_part(reading, ANALYSES) {
            return None;
        }
        let newest = |points: &[f64]| points[points.len().saturating_sub(POINTS_MAX)..].to_vec();
        score(&newest(&self.canary), &newest(&self.baseline))
    }
}

/// Normal score of the test that canaries are higher by more than is tolerated; nothing where it cannot be made.
fn score(canary: &[f64], baseline: &[f64]) -> Option<f64> {
    let mut shifts: Vec<f64> = canary.iter().flat_map(|c| baseline.iter().map(move |b| c - b)).collect();
    if shifts.is_empty() {
        return None;
    }
    shifts.sort_by(f64::total_cmp);
    let middle = shifts.len() / 2;
    let estimate = match shifts.len() % 2 {
        0 => (shifts[middle - 1] + shifts[middle]) / 2.0,
        _ => shifts[middle],
    };
    let tolerated = TOLERANCE * fabs(estimate);
    let above = shifts.iter().map(|shift| match shift.total_cmp(&tolerated) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    });
    let (n, m) = (canary.len() as f64, baseline.len() as f64);
    let distance = above.sum::<f64>() - n * m / 2.0;
    let correction = if distance == 0.0 { 0.0 } else { 0.5 * distance.signum() };
    let mut all: Vec<f64> = canary.iter().map(|c| c - tolerated).chain(baseline.iter().copied()).collect();
    all.sort_by(f64::total_cmp);
    let ties: f64 = all.chunk_by(|a, b| a == b).map(|tied| tied.len() as f64).map(|t| t * t * t - t).sum();
    let variance = n * m / 12.0 * (n + m + 1.0 - ties / ((n + m) * (n + m - 1.0)));
    (variance > 0.0).then(|| (distance - correction) / sqrt(variance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_u_test() {
        // The shift is 1, and all canaries are higher by more than the quarter of it: U is 25 of 25, its mean 12.5 and its
        // variance 25 * 11 / 12 = 22.92, so that z = (12.5 - 0.5) / 4.787.
        let canary = [2.0, 2.1, 2.2, 2.3, 2.4];
        let baseline = [1.0, 1.1, 1.2, 1.3, 1.4];
        let z = score(&canary, &baseline).unwrap();
        assert!((z - 2.506_65).abs() < 1e-4, "{z}");
        assert!(score(&baseline, &canary).unwrap() < 0.0);
        assert_eq!(score(&[1.0, 1.0], &[1.0, 1.0]), None, "all are tied");
        assert_eq!(score(&[], &baseline), None);
    }
}
