//! The ratio of the canaries' rate to what their past and the controls let expect, with limits.
//!
//! Given their sum, the canaries' and the controls' counts of bad windows are a binomial split whose share
//! depends on the ratio alone (Przyborowski & Wilenski, Biometrika 1940), so limits for a share
//! (Clopper & Pearson, Biometrika 1934) are limits for the ratio. Both counts are first divided by their
//! overdispersion (quasi-likelihood: McCullagh & Nelder, *Generalized Linear Models*, ch. 9), which comes from
//! how devices scatter around their own past and so carries bursts, spread between devices and short
//! histories. These limits are for Healthy and for people; Degraded rests on the exact test.

use crate::exact::change::Subject;
use crate::observations::Arm;
use modelfleet_number::{beta, gamma};

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

/// Chance that the ratio lies beyond one limit of those for people: both together are a 90 % interval.
pub const BEYOND: f64 = 0.05;
/// Dispersion is never taken below this.
pub(crate) const LEAST_DISPERSION: f64 = 0.25;
/// Nor above this where canaries alone can tell it: harm to a part of them would pass as scatter.
pub(crate) const MOST_DISPERSION_ALONE: f64 = 4.0;
/// Chance that fewer controls than canaries scatter so little that their bound cuts the canaries' true scatter.
const CUT: f64 = 0.1;

impl Ratio {
    /// From subjects ordered by stratum. Without controls canaries are held against their own past alone.
    /// `None` without canaries.
    pub fn of(subjects: &[Subject]) -> Option<Self> {
        let (canaries, canary, canary_usual) = totals(subjects, Arm::Canary);
        let (controls, control_bad, control_usual) = totals(subjects, Arm::Control);
        if canaries == 0 {
            return None;
        }
        if controls == 0 {
            return Self::of_past(subjects);
        }
        let dispersion = dispersion(subjects, canaries, controls);
        let fleet = (control_bad + 0.5) / (control_usual + 0.5);
        let mut expected = 0.0;
        for stratum in subjects.chunk_by(|a, b| a.stratum == b.stratum) {
            expected += common_factor(stratum, Arm::Control, fleet) * totals(stratum, Arm::Canary).2;
        }
        let exposure =
            if control_bad > 0.0 { expected / control_bad } else { quotient(canary_usual, control_usual) };
        Some(Self { canary, control: control_bad, exposure, dispersion })
    }

    /// Canaries against their own past alone. `None` without canaries.
    pub fn of_past(subjects: &[Subject]) -> Option<Self> {
        let ours = || subjects.iter().filter(|s| s.arm == Arm::Canary);
        let (canaries, canary, usual) = totals(subjects, Arm::Canary);
        let past: f64 = ours().map(|s| s.past * s.usual).sum();
        let controls = subjects.len() - canaries;
        let dispersion = dispersion(subjects, canaries, controls);
        (canaries > 0).then(|| Self { canary, control: past, exposure: quotient(usual, past), dispersion })
    }

    /// The ratio itself; infinite when controls had no bad window and canaries had one.
    pub fn estimate(&self) -> f64 {
        let expected = self.expected();
        if expected > 0.0 {
            self.canary / expected
        } else if self.canary > 0.0 {
            f64::INFINITY
        } else {
            1.0
        }
    }

    /// The same, with canaries expected to have at least what their strata's mean lets expect: where bad windows are
    /// rare, an empty past makes a single one a thousand times the expected.
    pub fn forgiving(&self, subjects: &[Subject]) -> Self {
        let total =
            |arm: Arm| subjects.iter().filter(|s| s.arm == arm).map(|s| s.known * s.mean).sum::<f64>();
        let by_mean = quotient(total(Arm::Canary), total(Arm::Control));
        Self { exposure: self.exposure.max(by_mean), ..*self }
    }

    /// Bad windows that canaries would have without the candidate.
    pub fn expected(&self) -> f64 {
        self.control * self.exposure
    }

    /// The ratio is below this limit with probability `beyond`.
    pub fn low(&self, beyond: f64) -> f64 {
        if self.canary <= 0.0 || self.exposure <= 0.0 {
            return 0.0;
        }
        let (c, k) = (self.canary / self.dispersion, self.control / self.dispersion);
        self.ratio_of(beta::inverse(c, k + 1.0, beyond))
    }

    /// The ratio is above this limit with probability `beyond`; infinite when controls had no bad window.
    pub fn high(&self, beyond: f64) -> f64 {
        self.high_if(self.canary, self.control, beyond)
    }

    /// The smallest ratio that a harmless candidate's upper limit stays below with probability `pass`.
    /// Looks at the sum of both arms only, not at who had the bad windows.
    pub fn smallest_margin(&self, pass: f64, beyond: f64) -> f64 {
        let both = self.canary + self.control;
        let canary = self.harmless_count(both, pass);
        self.high_if(canary, both - canary, beyond)
    }

    fn high_if(&self, canary: f64, control: f64, beyond: f64) -> f64 {
        if self.exposure <= 0.0 || control <= 0.0 {
            return f64::INFINITY;
        }
        let (c, k) = (canary.max(0.0) / self.dispersion, control / self.dispersion);
        self.ratio_of(beta::inverse(c + 1.0, k, 1.0 - beyond))
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

/// How devices scatter when the candidate does no harm. Controls tell; each arm is taken around its own level, so
/// that harm that all share is not taken for scatter. Where canaries are more, they tell it better, but harm to a
/// part of them looks like scatter: they are believed up to what the controls' scatter (chi-squared) allows.
fn dispersion(subjects: &[Subject], canaries: usize, controls: usize) -> f64 {
    let control = || scatter(subjects, Arm::Control);
    let own = match controls {
        0 => scatter(subjects, Arm::Canary).min(MOST_DISPERSION_ALONE),
        _ if controls >= canaries => control(),
        _ => {
            let freedom = (controls as f64 - 1.0).max(1.0);
            let most = control() * freedom / (2.0 * gamma::lower_inverse(0.5 * freedom, CUT));
            scatter(subjects, Arm::Canary).min(most)
        }
    };
    own.max(LEAST_DISPERSION)
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

/// What a rhythm of the day may make of the canaries' count where no controls live through the same hours: at most
/// about 2. With controls 1.
pub(crate) fn rhythm(subjects: &[Subject]) -> f64 {
    if subjects.iter().any(|s| s.arm == Arm::Control) {
        return 1.0;
    }
    let busiest: f64 = subjects.iter().map(Subject::at_the_busiest_hour).sum();
    quotient(busiest, totals(subjects, Arm::Canary).2).max(1.0)
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
