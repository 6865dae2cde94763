//! Which numbers of a scenario can be used.

use super::{Effect, Fleet, PerSli, Scenario, ScenarioError, WrongField};

/// Most devices of a fleet.
const DEVICES_MAX: u64 = 10_000_000;
/// Most strata, of the fleet and of the effect.
const STRATA_MAX: usize = 256;
/// Most outages, and most partitions.
const TIMES_MAX: usize = 256;

const SHARE: &str = "must be from 0 to 1";
const RATE: &str = "must be from 0 to 1000000";
const FEW: &str = "must be at most 256";

impl Scenario {
    /// Checks every number.
    ///
    /// # Errors
    /// Names every field that cannot be used.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let mut wrong = Wrong::default();
        wrong.in_fleet(&self.fleet);
        wrong.in_effect(&self.effect);
        wrong.around(self);
        if wrong.fields.is_empty() { Ok(()) } else { Err(ScenarioError { fields: wrong.fields }) }
    }
}

fn is_share(x: f64) -> bool {
    (0.0..=1.0).contains(&x)
}

fn is_rate(x: f64) -> bool {
    (0.0..=1e6).contains(&x)
}

/// What was found.
#[derive(Default)]
struct Wrong {
    fields: Vec<WrongField>,
}

impl Wrong {
    fn rule(&mut self, holds: bool, field: impl Into<String>, problem: &'static str) {
        if !holds {
            self.fields.push(WrongField { field: field.into(), problem });
        }
    }

    /// Every number of one field, by the name that it is given for.
    fn each(&mut self, numbers: &PerSli, field: &str, holds: fn(f64) -> bool, problem: &'static str) {
        match numbers {
            PerSli::All(number) => self.rule(holds(*number), field, problem),
            PerSli::By(numbers) => {
                for (name, number) in numbers {
                    self.rule(holds(*number), format!("{field}.{name}"), problem);
                }
            }
        }
    }

    fn in_fleet(&mut self, fleet: &Fleet) {
        let many = (1..=DEVICES_MAX).contains(&fleet.devices);
        self.rule(many, "fleet.devices", "must be from 1 to 10000000");
        self.rule(fleet.strata.len() <= STRATA_MAX, "fleet.strata", FEW);
        for (i, stratum) in fleet.strata.iter().take(STRATA_MAX).enumerate() {
            let at = |name: &str| format!("fleet.strata[{i}].{name}");
            let share = stratum.share > 0.0 && stratum.share <= 1e9;
            self.rule(share, at("share"), "must be above 0, and at most 1000000000");
            self.rule(is_rate(stratum.rate_factor), at("rateFactor"), RATE);
        }
        self.rule((0.0..=5.0).contains(&fleet.sigma), "fleet.sigma", "must be from 0 to 5");
        self.each(&fleet.base_rate, "fleet.baseRate", is_rate, RATE);
        self.rule((1.0..=1e6).contains(&fleet.burst), "fleet.burst", "must be from 1 to 1000000");
        self.rule(is_share(fleet.rhythm), "fleet.rhythm", SHARE);
        self.in_rates(fleet);
        self.rule(is_share(fleet.churn_per_day), "fleet.churnPerDay", SHARE);
        let offline = &fleet.offline;
        self.rule((0.0..=0.95).contains(&offline.share), "fleet.offline.share", "must be from 0 to 0.95");
        let long = (1.0..=1e6).contains(&offline.mean_windows);
        self.rule(long, "fleet.offline.meanWindows", "must be from 1 to 1000000");
        self.rule(is_share(fleet.broken.share), "fleet.broken.share", SHARE);
        self.rule(is_share(fleet.broken.severity), "fleet.broken.severity", SHARE);
        self.rule(fleet.history_windows <= 60_000, "fleet.historyWindows", "must be at most 60000");
        self.rule(fleet.predictions_per_window > 0, "fleet.predictionsPerWindow", "must be above 0");
    }

    /// How rates change with time and from device to device.
    fn in_rates(&mut self, fleet: &Fleet) {
        self.rule(is_share(fleet.weekly_rhythm), "fleet.weeklyRhythm", SHARE);
        self.rule(is_share(fleet.season.height), "fleet.season.height", SHARE);
        self.rule(is_share(fleet.season.phase), "fleet.season.phase", SHARE);
        let period = (2..=1_000_000).contains(&fleet.season.period_windows);
        self.rule(period, "fleet.season.periodWindows", "must be from 2 to 1000000");
        let trend = (0.5..=2.0).contains(&fleet.trend_per_week);
        self.rule(trend, "fleet.trendPerWeek", "must be from 0.5 to 2");
        let tail = fleet.rate_tail == 0.0 || (1.05..=100.0).contains(&fleet.rate_tail);
        self.rule(tail, "fleet.rateTail", "must be 0, or from 1.05 to 100");
        let correlated = (0.0..1.0).contains(&fleet.autocorrelation.per_window);
        self.rule(correlated, "fleet.autocorrelation.perWindow", "must be from 0 to below 1");
        let sigma = (0.0..=5.0).contains(&fleet.autocorrelation.sigma);
        self.rule(sigma, "fleet.autocorrelation.sigma", "must be from 0 to 5");
        self.rule(is_share(fleet.shared_bad), "fleet.sharedBad", SHARE);
        let liars = &fleet.liars;
        for (field, share) in [
            ("fleet.liars.alwaysGood", liars.always_good),
            ("fleet.liars.alwaysBad", liars.always_bad),
            ("fleet.liars.badWithCandidate", liars.bad_with_candidate),
        ] {
            self.rule(is_share(share), field, SHARE);
        }
        self.rule(liars.share() <= 1.0 + 1e-9, "fleet.liars", "must be at most 1 together");
    }

    fn in_effect(&mut self, effect: &Effect) {
        self.each(&effect.rate_ratio, "effect.rateRatio", is_rate, RATE);
        self.rule(is_share(effect.affected_share), "effect.affectedShare", SHARE);
        self.rule(is_share(effect.swap_cost_severity), "effect.swapCostSeverity", SHARE);
        self.rule(is_share(effect.hard_failure_share), "effect.hardFailureShare", SHARE);
        self.rule(is_share(effect.incompatible_share), "effect.incompatibleShare", SHARE);
        self.rule(is_share(effect.silent_share), "effect.silentShare", SHARE);
        let hours =
            effect.hours.is_none_or(|hours| hours.from < 24 && hours.to < 24 && hours.from != hours.to);
        self.rule(hours, "effect.hours", "must be two different hours from 0 to 23");
        self.rule(effect.strata.len() <= STRATA_MAX, "effect.strata", FEW);
        for (i, stratum) in effect.strata.iter().take(STRATA_MAX).enumerate() {
            let at = |name: &str| format!("effect.strata[{i}].{name}");
            self.each(&stratum.rate_ratio, &at("rateRatio"), is_rate, RATE);
            self.rule(is_share(stratum.affected_share), at("affectedShare"), SHARE);
            self.rule(is_share(stratum.hard_failure_share), at("hardFailureShare"), SHARE);
            self.rule(is_share(stratum.incompatible_share), at("incompatibleShare"), SHARE);
            self.rule(is_share(stratum.silent_share), at("silentShare"), SHARE);
        }
    }

    fn around(&mut self, scenario: &Scenario) {
        let network = &scenario.network;
        let loss = (0.0..1.0).contains(&network.report_loss);
        self.rule(loss, "network.reportLoss", "must be from 0 to below 1");
        let delay = network.report_delay_windows <= 10_000;
        self.rule(delay, "network.reportDelayWindows", "must be at most 10000");
        self.rule(network.partitions.len() <= TIMES_MAX, "network.partitions", FEW);
        let short = network.short_reports.is_none_or(|short| (1..=64).contains(&short.newest));
        self.rule(short, "network.shortReports.newest", "must be from 1 to 64");
        self.rule(scenario.outages.len() <= TIMES_MAX, "outages", FEW);
        for (i, outage) in scenario.outages.iter().take(TIMES_MAX).enumerate() {
            self.rule(is_share(outage.severity), format!("outages[{i}].severity"), SHARE);
        }
        let is_delay = |w: f64| (0.0..=1e4).contains(&w);
        self.each(&scenario.truth_delay_windows, "truthDelayWindows", is_delay, "must be from 0 to 10000");
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::{Hours, Outage, PerSli, Scenario, StratumShare};

    /// The fields that are named for a scenario which was good before this change.
    fn wrong(change: impl FnOnce(&mut Scenario)) -> String {
        let mut scenario = Scenario::default();
        change(&mut scenario);
        match scenario.check() {
            Ok(()) => String::new(),
            Err(error) => error.fields.into_iter().map(|wrong| wrong.field).collect::<Vec<_>>().join(" "),
        }
    }

    #[test]
    fn rates_over_time_are_bounded() {
        assert_eq!(wrong(|s| s.fleet.weekly_rhythm = 1.1), "fleet.weeklyRhythm");
        assert_eq!(wrong(|s| s.fleet.season.height = -0.1), "fleet.season.height");
        assert_eq!(wrong(|s| s.fleet.season.phase = f64::NAN), "fleet.season.phase");
        assert_eq!(wrong(|s| s.fleet.season.period_windows = 1), "fleet.season.periodWindows");
        assert_eq!(wrong(|s| s.fleet.trend_per_week = 2.1), "fleet.trendPerWeek");
        assert_eq!(wrong(|s| s.fleet.rate_tail = 1.0), "fleet.rateTail");
        assert_eq!(wrong(|s| s.fleet.autocorrelation.per_window = 1.0), "fleet.autocorrelation.perWindow");
        assert_eq!(wrong(|s| s.fleet.autocorrelation.sigma = 5.1), "fleet.autocorrelation.sigma");
        assert_eq!(wrong(|s| s.fleet.shared_bad = 1.1), "fleet.sharedBad");
        let good = |s: &mut Scenario| {
            s.fleet.rate_tail = 1.5;
            (s.fleet.autocorrelation.per_window, s.fleet.autocorrelation.sigma) = (0.95, 1.0);
            (s.fleet.season.height, s.fleet.season.phase) = (1.0, 1.0);
        };
        assert_eq!(wrong(good), "");
    }

    #[test]
    fn liars_and_hours_are_bounded() {
        assert_eq!(wrong(|s| s.fleet.liars.always_good = -0.1), "fleet.liars.alwaysGood");
        assert_eq!(wrong(|s| s.fleet.liars.always_bad = f64::NAN), "fleet.liars.alwaysBad fleet.liars");
        assert_eq!(wrong(|s| s.fleet.liars.bad_with_candidate = -1.0), "fleet.liars.badWithCandidate");
        let many = |s: &mut Scenario| (s.fleet.liars.always_good, s.fleet.liars.always_bad) = (0.6, 0.6);
        assert_eq!(wrong(many), "fleet.liars");
        assert_eq!(wrong(|s| s.effect.hours = Some(Hours { from: 22, to: 24 })), "effect.hours");
        assert_eq!(wrong(|s| s.effect.hours = Some(Hours { from: 6, to: 6 })), "effect.hours");
        assert_eq!(wrong(|s| s.effect.hours = Some(Hours { from: 22, to: 6 })), "");
    }

    #[test]
    fn every_wrong_field_is_named() {
        let mut scenario = Scenario::default();
        assert_eq!(scenario.check(), Ok(()));
        scenario.fleet.sigma = 9.0;
        let labels = || [("site".to_owned(), "north".to_owned())].into();
        scenario.fleet.strata = vec![
            StratumShare { labels: labels(), share: 1.0, rate_factor: 1.0 },
            StratumShare { labels: labels(), share: 0.0, rate_factor: f64::NAN },
        ];
        scenario.effect.rate_ratio =
            PerSli::By([("errors".to_owned(), -1.0), ("slow".to_owned(), 2.0)].into());
        scenario.outages = vec![Outage {
            start_window: 1,
            windows: 1,
            labels: labels(),
            severity: 1.5,
            spares_candidate: false,
        }];
        let said = scenario.check().unwrap_err().to_string();
        let fields: Vec<&str> = said.split("; ").map(|one| one.split(": ").next().unwrap()).collect();
        let all = [
            "fleet.strata[1].share",
            "fleet.strata[1].rateFactor",
            "fleet.sigma",
            "effect.rateRatio.errors",
            "outages[0].severity",
        ];
        assert_eq!(fields, all, "{said}");
    }
}
