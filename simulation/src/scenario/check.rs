//! Which numbers of a scenario can be used.

use super::{PerSli, Scenario, ScenarioError};

/// Most devices of a fleet.
const DEVICES_MAX: u64 = 10_000_000;
/// Most strata.
const STRATA_MAX: usize = 256;

impl Scenario {
    /// Checks every number.
    ///
    /// # Errors
    /// Names the first field that cannot be used.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let fleet = &self.fleet;
        let rate = |rates: &PerSli| rates.all(|r| (0.0..=1e6).contains(&r));
        let many = (1..=DEVICES_MAX).contains(&fleet.devices);
        rule(many, "fleet.devices", "must be from 1 to 10000000")?;
        rule(fleet.strata.len() <= STRATA_MAX, "fleet.strata", "must be at most 256")?;
        let shares = fleet.strata.iter().all(|s| s.share > 0.0 && s.share.is_finite());
        rule(shares, "fleet.strata.share", "must be above 0")?;
        let factors = fleet.strata.iter().all(|s| (0.0..=1e6).contains(&s.rate_factor));
        rule(factors, "fleet.strata.rateFactor", "must be from 0 to 1000000")?;
        rule((0.0..=5.0).contains(&fleet.sigma), "fleet.sigma", "must be from 0 to 5")?;
        rule(rate(&fleet.base_rate), "fleet.baseRate", "must be from 0 to 1000000")?;
        rule((1.0..=1e6).contains(&fleet.burst), "fleet.burst", "must be from 1 to 1000000")?;
        rule((0.0..=1.0).contains(&fleet.rhythm), "fleet.rhythm", "must be from 0 to 1")?;
        rule((0.0..=1.0).contains(&fleet.churn_per_day), "fleet.churnPerDay", "must be from 0 to 1")?;
        let offline = &fleet.offline;
        rule((0.0..=0.95).contains(&offline.share), "fleet.offline.share", "must be from 0 to 0.95")?;
        let long = (1.0..=1e6).contains(&offline.mean_windows);
        rule(long, "fleet.offline.meanWindows", "must be from 1 to 1000000")?;
        rule(fleet.history_windows <= 60_000, "fleet.historyWindows", "must be at most 60000")?;
        rule(fleet.predictions_per_window > 0, "fleet.predictionsPerWindow", "must be above 0")?;
        self.check_effect()?;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        rule(
            (0.0..1.0).contains(&self.network.report_loss),
            "network.reportLoss",
            "must be from 0 to below 1",
        )?;
        rule(
            self.network.report_delay_windows <= 10_000,
            "network.reportDelayWindows",
            "must be at most 10000",
        )?;
        let short = self.network.short_reports.is_none_or(|short| (1..=64).contains(&short.newest));
        rule(short, "network.shortReports.newest", "must be from 1 to 64")?;
        rule(self.outages.iter().all(|o| share(o.severity)), "outages.severity", "must be from 0 to 1")?;
        let delay = self.truth_delay_windows.all(|w| (0.0..=10_000.0).contains(&w));
        rule(delay, "truthDelayWindows", "must be from 0 to 10000")
    }

    fn check_effect(&self) -> Result<(), ScenarioError> {
        let effect = &self.effect;
        let strata = &effect.strata;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let rate = |rates: &PerSli| rates.all(|r| (0.0..=1e6).contains(&r));
        let ratios = rate(&effect.rate_ratio) && strata.iter().all(|s| rate(&s.rate_ratio));
        rule(ratios, "effect.rateRatio", "must be from 0 to 1000000")?;
        let affected = share(effect.affected_share) && strata.iter().all(|s| share(s.affected_share));
        rule(affected, "effect.affectedShare", "must be from 0 to 1")?;
        let hard = share(effect.hard_failure_share) && strata.iter().all(|s| share(s.hard_failure_share));
        rule(hard, "effect.hardFailureShare", "must be from 0 to 1")?;
        let silent = share(effect.silent_share) && strata.iter().all(|s| share(s.silent_share));
        rule(silent, "effect.silentShare", "must be from 0 to 1")
    }
}

fn rule(holds: bool, field: &'static str, problem: &'static str) -> Result<(), ScenarioError> {
    if holds { Ok(()) } else { Err(ScenarioError { field, problem }) }
}
