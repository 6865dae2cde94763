//! The scenario as tables: what each stratum's rates are in each window, with and without the candidate.

use modelfleet_protocol::selector::Labels;

use crate::scenario::{LabelValues, OfflinePattern, Scenario};
use crate::setup::{Rule, Setup};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// Longest table of a day's rhythm.
const RHYTHM_MAX: u64 = 100_000;

/// What is common to all runs of a simulation.
#[derive(Debug)]
pub struct Tables {
    /// The scenario they were made from.
    pub scenario: Scenario,
    /// Labels of each stratum.
    pub labels: Vec<Labels>,
    /// Sum of the shares up to and with each stratum; the last is 1.
    shares: Vec<f64>,
    /// Bursts in a window, by stratum and indicator.
    base: Vec<f32>,
    /// With the candidate, as a multiple of that.
    ratio: Vec<f32>,
    /// What the candidate does to the devices of each stratum.
    pub fates: Vec<Fate>,
    rhythm: Vec<f32>,
    /// Indicators.
    pub indicators: usize,
    /// Windows until the truth is known, by indicator.
    pub truth_delay: Vec<u32>,
    /// Length of a window, milliseconds.
    pub window_ms: u64,
    /// Windows after activation that do not count.
    pub warmup_windows: u64,
    /// Canaries settle: the judge leaves out their first windows, and the rules that users have today do not.
    pub settles: bool,
    /// First window of the rollout; those before are history.
    pub start: u32,
    /// Windows of a day.
    pub day_windows: u32,
    /// Whether a rule needs the number of errors in a bad window.
    pub counts_errors: bool,
}

/// What the candidate does to devices of a stratum.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    /// Share whose rates change.
    pub affected: f64,
    /// Share on which it does not start.
    pub breaks: f64,
    /// Share that cannot run it.
    pub incompatible: f64,
    /// Share that falls silent.
    pub hangs: f64,
    /// The scenario gives the stratum an effect of its own.
    pub own: bool,
}

impl Tables {
    /// Tables for these.
    pub fn new(setup: &Setup, scenario: &Scenario) -> Tables {
        let fleet = &scenario.fleet;
        let alike =
            [crate::scenario::StratumShare { labels: LabelValues::new(), share: 1.0, rate_factor: 1.0 }];
        let strata = if fleet.strata.is_empty() { &alike[..] } else { &fleet.strata[..] };
        let total: f64 = strata.iter().map(|s| s.share).sum();
        let mean = strata.iter().map(|s| s.share * s.rate_factor).sum::<f64>() / total;
        let mean = if mean > 0.0 { mean } else { 1.0 };
        let effect = &scenario.effect;
        let (mut base, mut ratio, mut fates) = (Vec::new(), Vec::new(), Vec::new());
        for stratum in strata {
            let own = effect.strata.iter().find(|e| carries(&stratum.labels, &e.labels));
            for objective in &setup.objectives {
                let rate = fleet.base_rate.of(&objective.name, DEFAULT_RATE);
                base.push((rate * stratum.rate_factor / mean / fleet.burst) as f32);
                let ratios = own.map_or(&effect.rate_ratio, |own| &own.rate_ratio);
                ratio.push(ratios.of(&objective.name, 1.0) as f32);
            }
            fates.push(own.map_or(
                Fate {
                    affected: effect.affected_share,
                    breaks: effect.hard_failure_share,
                    incompatible: effect.incompatible_share,
                    hangs: effect.silent_share,
                    own: false,
                },
                |own| Fate {
                    affected: own.affected_share,
                    breaks: own.hard_failure_share,
                    incompatible: own.incompatible_share,
                    hangs: own.silent_share,
                    own: true,
                },
            ));
        }
        let day = (DAY_MS / setup.window_ms()).clamp(1, RHYTHM_MAX);
        let swing = |w: u64| fleet.rhythm * libm::sin(std::f64::consts::TAU * w as f64 / day as f64);
        let plain = |o: &crate::setup::Objective| o.evidence != modelfleet_judge::EvidenceKind::Statistical;
        let delay = |o: &crate::setup::Objective| scenario.truth_delay_windows.of(&o.name, 0.0) as u32;
        let mut sum = 0.0;
        let mut upto = |share: f64| {
            sum += share / total;
            sum
        };
        Tables {
            labels: strata.iter().map(|s| s.labels.clone()).collect(),
            shares: strata.iter().map(|s| upto(s.share)).collect(),
            base,
            ratio,
            fates,
            rhythm: (0..day).map(|w| (1.0 + swing(w)) as f32).collect(),
            indicators: setup.objectives.len(),
            truth_delay: setup.objectives.iter().map(delay).collect(),
            window_ms: setup.window_ms(),
            warmup_windows: setup.warmup_windows,
            settles: setup.rule == Rule::Judge,
            start: fleet.history_windows.max(1),
            day_windows: day as u32,
            counts_errors: setup.rule == Rule::Pooled || setup.objectives.iter().any(plain),
            scenario: scenario.clone(),
        }
    }

    /// The stratum at this place between 0 and 1.
    pub fn stratum_at(&self, place: f64) -> u16 {
        let at = self.shares.partition_point(|upto| *upto <= place).min(self.shares.len() - 1);
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// Bursts of an indicator in a window, for a device of level 1.
    #[inline]
    pub fn hazard(&self, stratum: u16, indicator: usize, window: u32, candidate: bool) -> f32 {
        let at = usize::from(stratum) * self.indicators + indicator;
        let rhythm = self.rhythm[window as usize % self.rhythm.len()];
        self.base[at] * rhythm * if candidate { self.ratio[at] } else { 1.0 }
    }

    /// Bursts of an indicator in a window on average over the day, for a device of level 1.
    pub fn usual_hazard(&self, stratum: u16, indicator: usize) -> f64 {
        f64::from(self.base[usize::from(stratum) * self.indicators + indicator])
    }

    /// The chance that a window is bad because of an outage, if there is one that the candidate does not mend.
    pub fn outage(&self, stratum: u16, window: u32, candidate: bool) -> Option<f64> {
        let since = window.checked_sub(self.start)?;
        let labels = &self.labels[usize::from(stratum)];
        let mut outages = self.scenario.outages.iter();
        let there = outages.find(|o| within(since, o.start_window, o.windows) && carries(labels, &o.labels));
        let there = there.filter(|o| !(candidate && o.spares_candidate));
        there.map(|o| o.severity)
    }

    /// Whether a window still suffers from the change of models, on a device whose first whole window with the candidate was
    /// `entered`.
    #[inline]
    pub fn pays_for_the_swap(&self, entered: u32, window: u32) -> bool {
        within(window, entered, self.scenario.effect.swap_cost_windows)
    }

    /// Which strata are cut off in a window; `None`: none.
    pub fn cut_off(&self, window: u32) -> Option<Vec<bool>> {
        let since = window.checked_sub(self.start)?;
        let partitions = &self.scenario.network.partitions;
        let now: Vec<_> = partitions.iter().filter(|p| within(since, p.start_window, p.windows)).collect();
        let cut = |labels: &Labels| now.iter().any(|p| carries(labels, &p.labels));
        (!now.is_empty()).then(|| self.labels.iter().map(cut).collect())
    }

    /// Whether the hours in which everybody is out of reach are now, and the window in which that changes.
    pub fn night(&self, window: u32) -> (bool, u32) {
        let dark = (self.scenario.fleet.offline.share * f64::from(self.day_windows)) as u32;
        let hour = window % self.day_windows;
        let next = if hour < dark { dark - hour } else { self.day_windows - hour };
        (hour < dark, window.saturating_add(next))
    }

    /// Whether devices are out of reach in the same hours.
    pub fn has_nights(&self) -> bool {
        let offline = &self.scenario.fleet.offline;
        offline.pattern == OfflinePattern::Night && offline.share > 0.0
    }
}

/// Bad events of a window where a scenario says nothing.
const DEFAULT_RATE: f64 = 0.02;

fn within(since: u32, start: u32, windows: u32) -> bool {
    since >= start && since - start < windows
}

fn carries(labels: &Labels, wanted: &LabelValues) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}
