//! The scenario as tables: what each stratum's rates are in each window, with and without the candidate.

use modelfleet_protocol::selector::Labels;

use crate::scenario::{Effect, Fleet, Hours, LabelValues, OfflinePattern, Scenario, StratumEffect};
use crate::setup::{Rule, Setup};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// Longest table of a day's rhythm.
const RHYTHM_MAX: u64 = 100_000;
/// Longest table of rates over the whole run; a run that lasts longer begins it anew.
const COURSE_MAX: u32 = 1_000_000;
/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

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
    /// Factor of all rates by window: over one day where nothing else than the day changes them, else over the whole run.
    rhythm: Vec<f32>,
    /// Bursts in a window that strike all indicators together, by stratum; empty: none.
    shared: Vec<f32>,
    /// Whether the candidate changes rates, by the window of the day; empty: in all of them.
    harm_hours: Vec<bool>,
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

impl Fate {
    /// Of the stratum with an effect of its own, or of all others.
    fn of(effect: &Effect, own: Option<&StratumEffect>) -> Fate {
        own.map_or(
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
        )
    }
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
            fates.push(Fate::of(effect, own));
        }
        let day = (DAY_MS / setup.window_ms()).clamp(1, RHYTHM_MAX);
        let start = fleet.history_windows.max(1);
        let course = if changes_over_weeks(fleet) {
            start.saturating_add(setup.horizon_windows()).min(COURSE_MAX)
        } else {
            day as u32
        };
        let hour = |w: u64| (w.saturating_mul(setup.window_ms()) / HOUR_MS % 24) as u32;
        let harmful = |hours: Hours| (0..day).map(|w| hours.contains(hour(w))).collect();
        let rarest = |rates: &[f32]| rates.iter().copied().fold(f32::INFINITY, f32::min);
        let shared = base.chunks(setup.objectives.len().max(1)).map(|r| fleet.shared_bad as f32 * rarest(r));
        let shared: Vec<f32> = if fleet.shared_bad > 0.0 { shared.collect() } else { Vec::new() };
        let plain = |o: &crate::setup::Objective| o.judged_by != modelfleet_judge::JudgedBy::Statistical;
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
            rhythm: (0..course).map(|w| rate_factor(fleet, w, day as u32, start) as f32).collect(),
            shared,
            harm_hours: effect.hours.map_or_else(Vec::new, harmful),
            indicators: setup.objectives.len(),
            truth_delay: setup.objectives.iter().map(delay).collect(),
            window_ms: setup.window_ms(),
            warmup_windows: setup.warmup_windows,
            settles: setup.rule == Rule::Judge,
            start,
            day_windows: day as u32,
            counts_errors: setup.rule != Rule::Judge || setup.objectives.iter().any(plain),
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

    /// Bursts in a window that strike all indicators together, for a device of level 1.
    #[inline]
    pub fn shared_hazard(&self, stratum: u16, window: u32) -> f32 {
        let rhythm = self.rhythm[window as usize % self.rhythm.len()];
        self.shared.get(usize::from(stratum)).map_or(0.0, |shared| shared * rhythm)
    }

    /// Whether the candidate changes rates at this time of the day.
    #[inline]
    pub fn harms_at(&self, window: u32) -> bool {
        self.harm_hours.is_empty() || self.harm_hours[window as usize % self.harm_hours.len()]
    }

    /// Whether devices have more of their own than a level.
    pub fn devices_vary(&self) -> bool {
        let fleet = &self.scenario.fleet;
        fleet.autocorrelation.sigma > 0.0 || fleet.shared_bad > 0.0 || fleet.liars.share() > 0.0
    }

    /// Whether the past has to be lived through window by window: rates were not the same in all of it.
    pub fn past_varies(&self) -> bool {
        self.devices_vary() || changes_over_weeks(&self.scenario.fleet)
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

    /// The chance that a window of a broken device is bad, once it is broken.
    pub fn broken(&self, window: u32) -> Option<f64> {
        let broken = &self.scenario.fleet.broken;
        window.checked_sub(self.start).filter(|since| *since >= broken.start_window).map(|_| broken.severity)
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
pub const DEFAULT_RATE: f64 = 0.02;

/// Whether anything but the time of the day changes the rates of all devices.
fn changes_over_weeks(fleet: &Fleet) -> bool {
    fleet.weekly_rhythm > 0.0 || fleet.season.height > 0.0 || fleet.trend_per_week != 1.0
}

/// Factor of all rates in a window. Days and weeks are counted from window 0, seasons and trends from the rollout's start.
fn rate_factor(fleet: &Fleet, window: u32, day: u32, start: u32) -> f64 {
    let sinus = |at: f64, period: f64| libm::sin(std::f64::consts::TAU * at / period);
    let (at, since) = (f64::from(window), f64::from(window) - f64::from(start));
    let week = 7.0 * f64::from(day);
    let daily = 1.0 + fleet.rhythm * sinus(at, f64::from(day));
    let weekly = 1.0 + fleet.weekly_rhythm * sinus(at, week);
    let season = &fleet.season;
    let period = f64::from(season.period_windows.max(1));
    let slow = 1.0 + season.height * sinus(since + season.phase * period, period);
    let trend = libm::pow(fleet.trend_per_week, since / week).clamp(0.001, 1_000.0);
    daily * weekly * slow * trend
}

fn within(since: u32, start: u32, windows: u32) -> bool {
    since >= start && since - start < windows
}

fn carries(labels: &Labels, wanted: &LabelValues) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Objective;

    fn tables(change: impl FnOnce(&mut Scenario)) -> Tables {
        let mut scenario = Scenario::default();
        change(&mut scenario);
        Tables::new(&Setup::one_stage(20, 60, Objective::statistical("slo", 0)), &scenario)
    }

    fn factor(tables: &Tables, since_start: i64) -> f64 {
        let window = (i64::from(tables.start) + since_start) as u32;
        f64::from(tables.hazard(0, 0, window, false)) / DEFAULT_RATE
    }

    #[test]
    fn rates_follow_weeks_seasons_and_trends() {
        let season = tables(|s| {
            s.fleet.season.height = 0.5;
            s.fleet.season.period_windows = 400;
            s.fleet.season.phase = 0.25;
        });
        for (since, wanted) in [(0, 1.5), (100, 1.0), (200, 0.5), (-200, 0.5), (-400, 1.5)] {
            assert!((factor(&season, since) - wanted).abs() < 1e-6, "{since}: {}", factor(&season, since));
        }
        let trend = tables(|s| s.fleet.trend_per_week = 1.1);
        for (since, wanted) in [(0, 1.0), (168, 1.1), (-336, 1.0 / 1.21)] {
            assert!((factor(&trend, since) - wanted).abs() < 1e-6, "{since}: {}", factor(&trend, since));
        }
        let weekly = tables(|s| s.fleet.weekly_rhythm = 0.8);
        // Weeks are counted from window 0.
        let at = |window: i64| factor(&weekly, window - i64::from(weekly.start));
        assert!(
            (at(42) - 1.8).abs() < 1e-6 && (at(126) - 0.2).abs() < 1e-6 && (at(168 + 42) - 1.8).abs() < 1e-6
        );
        assert_eq!(tables(|_| {}).rhythm.len(), 24, "a table of a day where nothing changes over weeks");
    }

    #[test]
    fn harm_keeps_its_hours() {
        let night = tables(|s| s.effect.hours = Some(Hours { from: 22, to: 6 }));
        let harmful: Vec<u32> = (0..24).filter(|hour| night.harms_at(24 * 7 + hour)).collect();
        assert_eq!(harmful, [0, 1, 2, 3, 4, 5, 22, 23]);
        assert!((0..24).all(|hour| tables(|_| {}).harms_at(hour)));
    }
}
