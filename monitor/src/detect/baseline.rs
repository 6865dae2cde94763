//! What a control chart takes for usual.

use crate::detect::Welford;
use libm::sqrt;

/// Fewest values that tell a deviation.
const FEWEST: u64 = 2;
/// Values closer together than this share of their mean are equal: the difference is rounding.
const EQUAL: f64 = 1e-9;

/// Mean and deviation of the first `warm_up` values.
///
/// Equal values tell no scale by which a later one could be far. They are waited through, and the first that differs
/// begins the warm-up anew: the chart neither alarms on a hair's breadth nor stays silent for good. So the change from
/// equal values to others is not called itself, only what changes after it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Baseline {
    warm_up: u64,
    learnt: Welford,
}

impl Baseline {
    /// Learns from so many values, at least two.
    pub fn new(warm_up: u64) -> Self {
        Self { warm_up: warm_up.max(FEWEST), learnt: Welford::default() }
    }

    /// Whether the value belongs to the warm-up; it is learnt from.
    pub fn learns(&mut self, value: f64) -> bool {
        if self.learnt.count() < self.warm_up {
            self.learnt.update(value);
            return true;
        }
        let mean = self.mean();
        let hair = EQUAL * mean.abs();
        if self.deviation() > hair {
            return false;
        }
        if (value - mean).abs() > hair {
            *self = Self::new(self.warm_up);
            self.learnt.update(value);
        }
        true
    }

    pub fn mean(&self) -> f64 {
        self.learnt.mean()
    }

    pub fn deviation(&self) -> f64 {
        sqrt(self.learnt.variance())
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::{Cusum, Detector, Ewma, Signal};
    use modelfleet_number::chance::Chance;
    use modelfleet_number::normal;

    fn charts() -> [(&'static str, Box<dyn Detector>); 4] {
        [
            ("CUSUM", Box::<Cusum>::default()),
            ("EWMA", Box::<Ewma>::default()),
            ("CUSUM without a warm-up", Box::new(Cusum::new(0.5, 8.0, 0))),
            ("EWMA without a warm-up", Box::new(Ewma::new(0.2, 3.5, 0))),
        ]
    }

    /// A warm-up of equal values, and later ones that differ from them by a hair, now and then or from one on.
    #[test]
    fn equal_values_make_no_alarm_of_a_hair() {
        for usual in [0.0, 5.0, -0.1, 1e9] {
            for (name, mut chart) in charts() {
                for turn in 0..1_000 {
                    // One unit in the last place of 5, or nothing.
                    let hair = if turn > 300 && turn % 7 == 0 { usual * 1e-16 } else { 0.0 };
                    assert_eq!(chart.update(usual + hair), Signal::Stable, "{name} at {usual}");
                }
            }
            for (name, mut chart) in charts().into_iter().take(2) {
                for turn in 0..500 {
                    let step = if turn >= 150 { 1e-6 } else { 0.0 };
                    assert_eq!(chart.update(usual + step), Signal::Stable, "{name} at {usual}, {turn}");
                }
            }
        }
    }

    #[test]
    fn equal_values_do_not_silence_a_chart_for_good() {
        for (name, mut chart) in charts().into_iter().take(2) {
            let mut chance = Chance::new(4);
            let mut noise = || normal::quantile(chance.unit());
            (0..400).for_each(|_| assert_eq!(chart.update(7.0), Signal::Stable));
            let early = (0..150).any(|_| chart.update(7.0 + noise()) == Signal::Drift);
            let late = (0..50).position(|_| chart.update(12.0 + noise()) == Signal::Drift);
            assert!(!early && late.is_some_and(|delay| delay < 10), "{name}: {early} {late:?}");
        }
    }
}
