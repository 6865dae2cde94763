//! An e-process and a confidence sequence for the ratio of canaries to controls.
//!
//! The unit is the device. Each look gives one contrast: canaries' bad windows minus what their own past
//! times the stratum's common factor lets expect, with a variance from how *devices* scatter. Whether the
//! scatter comes from bursts, from devices that wander off for good, or from short histories, the contrasts
//! at successive looks have the covariance of a Brownian motion in information time (the canonical joint
//! distribution: Jennison & Turnbull, *Group Sequential Methods*, ch. 3); information stops growing when
//! what is left is persistent scatter, so waiting longer cannot turn a few odd devices into evidence.
//! On that motion a normal mixture over harmful effects is a martingale (Robbins 1970), and by Ville's
//! inequality its maximum exceeds 1/alpha with probability at most alpha, however often one looks. The use
//! of estimated variances makes it asymptotic in the number of devices (Waudby-Smith, Arbour, Sinha, Kennedy
//! & Ramdas 2021, arXiv 2103.06476).

use crate::exact::change::Subject;
use crate::observations::Arm;
use libm::{log, sqrt};
use modelfleet_number::normal;

/// Typical size of the harm looked for, as standard deviation of the logarithm of the ratio.
const EFFECT: f64 = 0.5;

/// Canaries against controls at one look.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Contrast {
    /// Canaries that entered.
    pub canaries: usize,
    /// Controls that entered.
    pub controls: usize,
    /// Bad windows that canaries would have without the candidate.
    pub expected: f64,
    /// Observed minus expected.
    pub excess: f64,
    /// Variance of the excess, from the devices' scatter.
    pub variance: f64,
    /// How much the excess grows per unit of the ratio's logarithm.
    pub slope: f64,
}

impl Contrast {
    /// From subjects ordered by stratum. Without controls in any stratum canaries are held against their own
    /// past alone, at the day's busiest hour; a stratum with one arm only adds nothing otherwise.
    pub fn of(subjects: &[Subject]) -> Self {
        let alone = subjects.iter().all(|s| s.arm == Arm::Canary);
        let mut sum = Self::default();
        for group in subjects.chunk_by(|a, b| a.stratum == b.stratum) {
            sum.add(group, alone);
        }
        sum
    }

    fn add(&mut self, group: &[Subject], alone: bool) {
        // Controls live through the same hours. The own past does not: without controls, what a rhythm of the day
        // explains is expected.
        let usual = |s: &Subject| if alone { s.at_the_busiest_hour() } else { s.known * s.usual };
        let total = |arm: Arm| {
            group
                .iter()
                .filter(|s| s.arm == arm)
                .fold((0, 0.0, 0.0), |(n, bad, sum), s| (n + 1, bad + s.bad, sum + usual(s)))
        };
        let (canaries, canary_bad, canary_usual) = total(Arm::Canary);
        let (controls, control_bad, control_usual) = total(Arm::Control);
        if canaries == 0 || (controls == 0 && !alone) {
            return;
        }
        let (common, share) = if alone {
            (1.0, 0.0)
        } else {
            let both = canary_usual + control_usual;
            ((canary_bad + control_bad) / both, canary_usual / both)
        };
        for s in group {
            let rest = s.bad - common * usual(s);
            let weight = if s.arm == Arm::Canary { 1.0 - share } else { share };
            self.variance += weight * weight * rest * rest;
        }
        self.canaries += canaries;
        self.controls += controls;
        self.expected += common * canary_usual;
        self.excess += canary_bad - common * canary_usual;
        self.slope += common * canary_usual * (1.0 - share);
    }

    /// Excess over its standard deviation; 0 when nothing scatters.
    pub fn z(&self) -> f64 {
        if self.variance > 0.0 { self.excess / sqrt(self.variance) } else { 0.0 }
    }

    /// Information about the logarithm of the ratio.
    pub fn information(&self) -> f64 {
        if self.variance > 0.0 { self.slope * self.slope / self.variance } else { 0.0 }
    }
}

/// Natural logarithm of the e-value against "no harm": a half-normal mixture over harmful effects.
pub fn log_e_value(z: f64, information: f64) -> f64 {
    if !(z.is_finite() && information.is_finite()) || information <= 0.0 {
        return 0.0;
    }
    let growth = EFFECT * EFFECT * information;
    let y = z * sqrt(growth / (1.0 + growth));
    // exp(y^2 / 2) times P(Z < y); far below zero both leave the range of a float, their product does not.
    let mixed = if y < -30.0 {
        -log(-y * sqrt(2.0 * std::f64::consts::PI))
    } else {
        0.5 * y * y + log(normal::cdf(y))
    };
    mixed - 0.5 * log(1.0 + growth) + std::f64::consts::LN_2
}

/// Half-width of the two-sided 1 - `alpha` confidence sequence for the logarithm of the ratio: the estimate
/// `excess / slope` is within it at all times at once (Robbins' normal mixture).
pub fn half_width(information: f64, alpha: f64) -> f64 {
    if !(information > 0.0 && alpha > 0.0) {
        return f64::INFINITY;
    }
    let growth = EFFECT * EFFECT * information;
    sqrt((1.0 + growth) / growth * (log(1.0 + growth) - 2.0 * log(alpha)) / information)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_information_is_no_evidence() {
        assert_eq!(log_e_value(5.0, 0.0), 0.0);
        assert_eq!(log_e_value(f64::NAN, 1.0), 0.0);
        assert!(half_width(0.0, 0.05).is_infinite());
        assert!(log_e_value(-1e6, 1e6) < 0.0, "better canaries are no evidence of harm");
    }

    /// The mixture integrates to one under "no harm": a check of the closed form by quadrature.
    #[test]
    fn expectation_is_one() {
        for information in [0.5, 10.0, 500.0] {
            let steps = 20_000;
            let mean: f64 = (0..steps)
                .map(|i| {
                    let z = -120.0 + 240.0 * (f64::from(i) + 0.5) / f64::from(steps);
                    let density = -0.5 * z * z - 0.5 * log(2.0 * std::f64::consts::PI);
                    libm::exp(density + log_e_value(z, information)) * 240.0 / f64::from(steps)
                })
                .sum();
            assert!((mean - 1.0).abs() < 1e-6, "{mean}");
        }
    }
}
