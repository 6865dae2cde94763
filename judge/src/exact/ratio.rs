//! The ratio of the canaries' rate to what their past and the controls let expect, with limits.
//!
//! Given their sum, the canaries' and the controls' counts of bad windows are a binomial split whose share
//! depends on the ratio alone (Przyborowski & Wilenski, Biometrika 1940), so limits for a share
//! (Clopper & Pearson, Biometrika 1934) are limits for the ratio. Both counts are first divided by their
//! overdispersion (quasi-likelihood: McCullagh & Nelder, *Generalized Linear Models*, ch. 9), which comes from
//! how devices scatter around their own past and so carries bursts, spread between devices and short
//! histories. These limits are for Healthy and for people; Degraded rests on the exact test.

use crate::evidence::Arm;
use crate::exact::change::Subject;
use crate::number::beta;

/// Canaries against controls, summed over devices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Bad windows of canaries.
    pub canary: f64,
    /// Bad windows of controls (of the canaries' own past when there are no controls).
    pub control: f64,
    /// Bad windows that canaries would have per bad window of controls, without the candidate.
    pub exposure: f64,
    /// Variance over mean of both counts, from the devices' scatter.
    pub dispersion: f64,
}

/// Limits of one side: 95 %.
const CONFIDENCE: f64 = 0.95;
/// Dispersion is never taken below this.
const LEAST_DISPERSION: f64 = 0.25;

impl Ratio {
    /// From subjects ordered by stratum. Without controls canaries are held against their own past alone.
    /// `None` without canaries.
    pub fn of(subjects: &[Subject]) -> Option<Self> {
        let (canaries, canary, canary_usual) = totals(subjects, Arm::Canary);
        let (controls, control_bad, control_usual) = totals(subjects, Arm::Control);
        if canaries == 0 {
            return None;
        }
        // The larger arm tells best how devices scatter; each arm around its own level, so that harm
        // that all canaries share is not taken for scatter.
        let arm = if controls >= canaries { Arm::Control } else { Arm::Canary };
        let dispersion = scatter(subjects, arm).max(LEAST_DISPERSION);
        if controls == 0 {
            let past: f64 = subjects.iter().map(|s| s.past * s.usual).sum();
            return Some(Self { canary, control: past, exposure: quotient(canary_usual, past), dispersion });
        }
        let fleet = (control_bad + 0.5) / (control_usual + 0.5);
        let mut expected = 0.0;
        for stratum in subjects.chunk_by(|a, b| a.stratum == b.stratum) {
            expected += common_factor(stratum, Arm::Control, fleet) * totals(stratum, Arm::Canary).2;
        }
        let exposure =
            if control_bad > 0.0 { expected / control_bad } else { quotient(canary_usual, control_usual) };
        Some(Self { canary, control: control_bad, exposure, dispersion })
    }

    /// The ratio itself; infinite when controls had no bad window and canaries had one.
    pub fn estimate(&self) -> f64 {
        let expected = self.control * self.exposure;
        if expected > 0.0 {
            self.canary / expected
        } else if self.canary > 0.0 {
            f64::INFINITY
        } else {
            1.0
        }
    }

    /// Lower 95 % limit.
    pub fn low(&self) -> f64 {
        if self.canary <= 0.0 || self.exposure <= 0.0 {
            return 0.0;
        }
        let (c, k) = (self.canary / self.dispersion, self.control / self.dispersion);
        self.ratio_of(beta::inverse(c, k + 1.0, 1.0 - CONFIDENCE))
    }

    /// Upper 95 % limit; infinite when controls had no bad window.
    pub fn high(&self) -> f64 {
        self.high_if(self.canary, self.control)
    }

    /// The smallest ratio that a harmless candidate's upper limit stays below with probability `pass`.
    /// Looks at the sum of both arms only, not at who had the bad windows.
    pub fn smallest_margin(&self, pass: f64) -> f64 {
        let both = self.canary + self.control;
        let canary = self.harmless_count(both, pass);
        self.high_if(canary, both - canary)
    }

    fn high_if(&self, canary: f64, control: f64) -> f64 {
        if self.exposure <= 0.0 || control <= 0.0 {
            return f64::INFINITY;
        }
        let (c, k) = (canary.max(0.0) / self.dispersion, control / self.dispersion);
        self.ratio_of(beta::inverse(c + 1.0, k, CONFIDENCE))
    }

    /// The ratio at which canaries have this share of all bad windows.
    fn ratio_of(&self, share: f64) -> f64 {
        if share >= 1.0 { f64::INFINITY } else { share / (1.0 - share) / self.exposure }
    }

    /// The whole count that a harmless candidate stays at or below with probability `pass`.
    fn harmless_count(&self, both: f64, pass: f64) -> f64 {
        let size = both / self.dispersion;
        let share = self.exposure / (1.0 + self.exposure);
        let (mut low, mut high) = (0.0, size);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            // P(X <= middle) for X binomial.
            let below = if middle >= size {
                1.0
            } else {
                beta::regularised(size - middle, middle + 1.0, 1.0 - share)
            };
            if below < pass {
                low = middle;
            } else {
                high = middle;
            }
        }
        (high * self.dispersion - 1e-6).ceil().clamp(0.0, both)
    }
}

fn quotient(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// Variance over mean of one arm's device counts around their usual rates.
pub(crate) fn scatter(subjects: &[Subject], arm: Arm) -> f64 {
    let (size, bad, usual) = totals(subjects, arm);
    let level = (bad + 0.5) / (usual + 0.5);
    let (mut squares, mut mean) = (0.0, 0.0);
    for stratum in subjects.chunk_by(|a, b| a.stratum == b.stratum) {
        let common = common_factor(stratum, arm, level);
        for s in stratum.iter().filter(|s| s.arm == arm) {
            let usual = common * s.known * s.usual;
            squares += (s.bad - usual) * (s.bad - usual);
            mean += usual;
        }
    }
    let freedom = size as f64 / (size as f64 - 1.0).max(1.0);
    // Few events leave the scatter unknown: pull it towards 1 with the weight of two events.
    (squares * freedom + 2.0) / (mean + 2.0)
}

/// Devices, bad windows and usual bad windows of one arm.
fn totals(subjects: &[Subject], arm: Arm) -> (usize, f64, f64) {
    subjects
        .iter()
        .filter(|s| s.arm == arm)
        .fold((0, 0.0, 0.0), |(n, bad, usual), s| (n + 1, bad + s.bad, usual + s.known * s.usual))
}

/// What is common to a stratum, from one arm, drawn towards the fleet's factor with the weight of
/// ten events.
fn common_factor(stratum: &[Subject], group: Arm, fleet: f64) -> f64 {
    let (_, bad, usual) = totals(stratum, group);
    (bad + 10.0 * fleet) / (usual + 10.0)
}
