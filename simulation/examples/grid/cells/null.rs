//! Unchanged models: false rollbacks in stages of 60 windows.

use modelfleet_simulation::{Controls, Objective, OfflinePattern, PerSli, Scenario, Setup};

use super::{Cell, Rules, one_stage, outage, plain, sites, with};

/// An unchanged model.
pub fn null(fleets: &[(u64, u64)], rules: Rules) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &(devices, canaries) in fleets {
        for sigma in [0.0, 0.5, 1.0, 1.5] {
            for burst in [1.0, 5.0, 20.0] {
                for (base, history) in [(0.2, 600), (0.2, 60), (0.002, 600), (0.002, 60)] {
                    let scenario = with(|s| {
                        s.fleet.devices = devices;
                        s.fleet.sigma = sigma;
                        s.fleet.burst = burst;
                        s.fleet.base_rate = PerSli::All(base);
                        s.fleet.history_windows = history;
                    });
                    let name = format!(
                        "{canaries} of {devices}, sigma {sigma}, burst {burst}, base {base}, history {history}"
                    );
                    cells.push(Cell { name, runs_part: 1, setup: rules.on(one_stage(canaries)), scenario });
                }
            }
        }
    }
    cells
}

/// An unchanged model in odd circumstances.
pub fn odd(rules: Rules) -> Vec<Cell> {
    let mut cells = Vec::new();
    for canaries in [5, 20, 50] {
        let mut add = |name: &str, setup: Setup, scenario: Scenario| {
            let name = format!("{canaries} of 200, {name}");
            cells.push(Cell { name, runs_part: 1, setup: rules.on(setup), scenario });
        };
        let stage = || one_stage(canaries);
        add("rhythm 0.8", stage(), with(|s| s.fleet.rhythm = 0.8));
        add("offline 0.4", stage(), with(|s| s.fleet.offline.share = 0.4));
        let mut alike = stage();
        alike.controls = Controls::InReachAtDraw;
        add("offline 0.4, controls in reach at the draw", alike, with(|s| s.fleet.offline.share = 0.4));
        let chronic = |s: &mut Scenario| {
            s.fleet.offline.share = 0.4;
            s.fleet.offline.pattern = OfflinePattern::Chronic;
            s.fleet.offline.works_on = false;
            s.fleet.rhythm = 0.8;
        };
        add("switched off 0.4, some more than others, rhythm 0.8", stage(), with(chronic));
        add("truth a day late", stage(), with(|s| s.truth_delay_windows = PerSli::All(24.0)));
        add("churn 1 % a day", stage(), with(|s| s.fleet.churn_per_day = 0.01));
        add("reports lost 0.3", stage(), with(|s| s.network.report_loss = 0.3));
        let mut slow = stage();
        slow.parts.fetch.spread_ms = 12 * 3_600_000;
        add("downloads over 12 hours, rhythm 0.8", slow, with(|s| s.fleet.rhythm = 0.8));
        let mut spread = stage();
        spread.parts.stages[0].spread_by = vec!["site".to_owned()];
        add("spread over 4 sites", spread.clone(), with(|s| s.fleet.strata = sites(4)));
        let long = Setup::one_stage(canaries, 600, Objective::statistical("slo", 0));
        add("600 windows", long, plain());
        let mut bounded = stage();
        bounded.objectives[0].allowance_ppm = 50_000;
        let calm = |s: &mut Scenario| s.fleet.base_rate = PerSli::All(0.02);
        let common = |s: &mut Scenario| {
            calm(s);
            s.outages = outage(false);
        };
        add("outage common to all", bounded.clone(), with(common));
        bounded.parts.stages[0].spread_by = vec!["site".to_owned()];
        let site = |s: &mut Scenario| {
            calm(s);
            s.fleet.strata = sites(4);
            s.outages = outage(true);
        };
        add("outage of one site of 4", bounded, with(site));
    }
    cells
}
