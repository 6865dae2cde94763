//! What users have today, in the place of the judge: a threshold with a failure limit, and a pooled sequential test.

use modelfleet_judge::{Arm, Looks};
use modelfleet_rollout::{Coverage, Evidence, State, Verdict};

use crate::fleet::Fleet;
use crate::setup::{Rule, Setup};

/// Rates that the pooled test looks for, equally likely beforehand.
const RATIOS: [f64; 6] = [1.5, 2.0, 3.0, 5.0, 10.0, 20.0];
/// The pooled test is at 1 %.
const LOG_BAR: f64 = 4.605_170_185_988_092;
/// A window is above the threshold at so many times the usual share.
const THRESHOLD_FACTOR: f64 = 2.5;

/// What is carried from window to window.
#[derive(Debug, Default)]
pub struct Today {
    indicators: Vec<Progress>,
    seen: Option<u32>,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    /// Usual share of bad device-windows, from the fleet's past.
    usual: f64,
    failures: u32,
    /// Logarithm of the likelihood ratio for each of [`RATIOS`].
    log_ratios: [f64; RATIOS.len()],
}

impl Today {
    /// Reads the newest window and says what the rule says.
    pub fn judge(
        &mut self,
        setup: &Setup,
        state: &State,
        fleet: &Fleet,
        window: u32,
        looks: Looks,
    ) -> Evidence {
        if self.indicators.is_empty() {
            self.indicators = (0..fleet.tables.indicators).map(|i| Progress::usual(fleet, i)).collect();
        }
        // The newest window that everybody who is in reach has reported.
        let delay = fleet.tables.scenario.network.report_delay_windows + 1;
        let newest = window.checked_sub(delay).filter(|w| *w >= fleet.stage_first);
        let mut harm = false;
        if let Some(at) = newest.filter(|at| self.seen.is_none_or(|seen| seen < *at)) {
            self.seen = Some(at);
            for (indicator, progress) in self.indicators.iter_mut().enumerate() {
                progress.read(fleet, indicator, at);
            }
        }
        for progress in &self.indicators {
            harm |= match setup.rule {
                Rule::Judge => false,
                Rule::Threshold { limit } => progress.failures > limit,
                Rule::Pooled => progress.log_e() >= LOG_BAR,
            };
        }
        let verdict = match (harm, looks.is_final()) {
            (true, _) => Verdict::Degraded,
            (false, true) => Verdict::Healthy,
            (false, false) => Verdict::Undecided,
        };
        Evidence {
            attempt: state.attempt,
            stage: state.stage,
            verdict,
            coverage: Coverage::Met,
            final_look: looks.is_final(),
            ..Evidence::default()
        }
    }
}

impl Progress {
    fn usual(fleet: &Fleet, indicator: usize) -> Progress {
        let meters = fleet.meters.iter().skip(indicator).step_by(fleet.tables.indicators);
        let (known, bad) = meters.fold((0, 0), |(known, bad), meter| {
            let past = meter.past();
            (known + past.known, bad + past.bad())
        });
        Progress { usual: bad as f64 / (known as f64).max(1.0), ..Progress::default() }
    }

    fn read(&mut self, fleet: &Fleet, indicator: usize, window: u32) {
        let canary = fleet.windows.at(Arm::Canary, indicator, window);
        let control = fleet.windows.at(Arm::Control, indicator, window);
        let above = f64::from(canary.bad) > THRESHOLD_FACTOR * self.usual * f64::from(canary.known);
        self.failures += u32::from(canary.known > 0 && above);
        if canary.known == 0 || control.known == 0 {
            return;
        }
        let share = f64::from(canary.known) / f64::from(canary.known + control.known);
        for (log_ratio, ratio) in self.log_ratios.iter_mut().zip(RATIOS) {
            let risen = ratio * share / (ratio * share + 1.0 - share);
            *log_ratio += canary.errors as f64 * libm::log(risen / share)
                + control.errors as f64 * libm::log((1.0 - risen) / (1.0 - share));
        }
    }

    /// Logarithm of the mixture.
    fn log_e(&self) -> f64 {
        let most = self.log_ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.log_ratios.iter().map(|l| libm::exp(l - most)).sum();
        most + libm::log(sum / RATIOS.len() as f64)
    }
}
