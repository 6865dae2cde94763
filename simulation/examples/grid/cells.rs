//! The cells of the grid.

use modelfleet_protocol::draw::Target;
use modelfleet_simulation::{
    Controls, LookPlan, Objective, OfflinePattern, Outage, PerSli, Scenario, Setup, StratumEffect,
    StratumShare,
};

/// One cell.
#[derive(Clone)]
pub struct Cell {
    pub name: String,
    pub setup: Setup,
    pub scenario: Scenario,
}

/// Looks of the stages that are watched for 60 windows.
const LOOKS: [u64; 6] = [5, 10, 20, 30, 45, 60];

/// The cells of a part.
pub fn cells(part: &str) -> Vec<Cell> {
    match part {
        "null" => null(&[(200, 5), (200, 20), (200, 50)]),
        "large" => null(&[(100_000, 1_000)]),
        "odd" => odd(),
        "detect" => detect(),
        "rollout" => rollout(200),
        "rollout-large" => rollout(100_000),
        "today" => today(),
        "fail" => fail(),
        "reach" => reach(),
        _ => Vec::new(),
    }
}

/// 200 devices, sigma 1, 0.2 events a window, 600 windows of history, an unchanged model.
fn plain() -> Scenario {
    let mut scenario = Scenario::default();
    scenario.fleet.base_rate = PerSli::All(0.2);
    scenario
}

fn with(change: impl FnOnce(&mut Scenario)) -> Scenario {
    let mut scenario = plain();
    change(&mut scenario);
    scenario
}

/// One stage of so many canaries, one objective with the whole error budget.
fn one_stage(canaries: u64) -> Setup {
    let mut setup = Setup::one_stage(canaries, 60, Objective::statistical("slo", 0));
    setup.looks = LookPlan::At(LOOKS.to_vec());
    setup
}

fn null(fleets: &[(u64, u64)]) -> Vec<Cell> {
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
                    cells.push(Cell { name, setup: one_stage(canaries), scenario });
                }
            }
        }
    }
    cells
}

fn sites(count: usize) -> Vec<StratumShare> {
    let site = |i: usize| [("site".to_owned(), format!("s{i}"))].into();
    (0..count).map(|i| StratumShare { labels: site(i), share: 1.0, rate_factor: 1.0 }).collect()
}

fn outage(site: bool) -> Vec<Outage> {
    let labels = if site { [("site".to_owned(), "s0".to_owned())].into() } else { Default::default() };
    vec![Outage { start_window: 12, windows: 10, labels, severity: 0.9 }]
}

/// An unchanged model in odd circumstances.
fn odd() -> Vec<Cell> {
    let mut cells = Vec::new();
    for canaries in [5, 20, 50] {
        let mut add = |name: &str, setup: Setup, scenario: Scenario| {
            cells.push(Cell { name: format!("{canaries} of 200, {name}"), setup, scenario });
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
        let mut long = Setup::one_stage(canaries, 600, Objective::statistical("slo", 0));
        long.looks = LookPlan::At(LOOKS.map(|w| w * 10).to_vec());
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

fn detect() -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut add = |name: &str, setup: Setup, scenario: Scenario| {
        cells.push(Cell { name: name.to_owned(), setup, scenario });
    };
    let harm = |ratio: f64, burst: f64| {
        with(|s| {
            s.effect.rate_ratio = PerSli::All(ratio);
            s.fleet.burst = burst;
        })
    };
    add("5 of 5 at 3x, burst 1 (wanted 98 %)", one_stage(5), harm(3.0, 1.0));
    add("5 of 5 at 3x, burst 5 (wanted 78 %)", one_stage(5), harm(3.0, 5.0));
    add("5 of 5 at 2x, burst 1 (wanted 85 %)", one_stage(5), harm(2.0, 1.0));
    let mut part = harm(5.0, 1.0);
    part.effect.affected_share = 0.4;
    add("2 of 5 on average at 5x, burst 1", one_stage(5), part.clone());
    part.effect.affected_share = 0.3;
    add("6 of 20 on average at 5x, burst 1", one_stage(20), part);
    add("20 of 20 at 3x, burst 5 (wanted 99 %)", one_stage(20), harm(3.0, 5.0));
    for (harmed, canaries, sites_count) in [(2, 5, 5), (6, 20, 10), (5, 20, 4)] {
        let mut setup = one_stage(canaries);
        setup.parts.stages[0].spread_by = vec!["site".to_owned()];
        let strata = sites(sites_count);
        let bad = harmed as usize * sites_count / canaries as usize;
        let effect = |s: &StratumShare| StratumEffect {
            labels: s.labels.clone(),
            rate_ratio: PerSli::All(5.0),
            affected_share: 1.0,
            hard_failure_share: 0.0,
            silent_share: 0.0,
        };
        let scenario = with(|s| {
            s.effect.strata = strata[..bad].iter().map(effect).collect();
            s.fleet.strata = strata.clone();
        });
        let name =
            format!("{harmed} of {canaries} at 5x: {bad} of {sites_count} sites, canary spread over them");
        add(&name, setup, scenario);
    }
    let mut late = harm(3.0, 1.0);
    late.truth_delay_windows = PerSli::All(24.0);
    add("20 of 20 at 3x, truth a day late", one_stage(20), late);
    let mut onset = harm(3.0, 1.0);
    onset.effect.onset_windows = 24;
    add("20 of 20 at 3x, a day after activation", one_stage(20), onset);
    cells
}

/// The default stages.
fn rollout(devices: u64) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (sigma, burst, base, ratio) in [
        (0.0, 1.0, 0.2, 1.0),
        (1.0, 1.0, 0.2, 1.0),
        (1.5, 1.0, 0.2, 1.0),
        (1.0, 5.0, 0.2, 1.0),
        (1.0, 20.0, 0.2, 1.0),
        (1.0, 1.0, 0.02, 1.0),
        (1.0, 1.0, 0.002, 1.0),
        (1.5, 20.0, 0.002, 1.0),
        (1.0, 1.0, 0.2, 2.0),
        (1.0, 1.0, 0.2, 1.25),
        (1.0, 5.0, 0.02, 3.0),
    ] {
        let setup = Setup::hourly(Setup::default_stages(), vec![Objective::statistical("slo", 0)]);
        let scenario = with(|s| {
            s.fleet.devices = devices;
            s.fleet.sigma = sigma;
            s.fleet.burst = burst;
            s.fleet.base_rate = PerSli::All(base);
            s.effect.rate_ratio = PerSli::All(ratio);
        });
        let name = format!("{devices} devices, sigma {sigma}, burst {burst}, base {base}, rate {ratio}x");
        cells.push(Cell { name, setup, scenario });
    }
    cells
}

/// Candidates that do not start on a share of the devices; the default stages.
fn fail() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (devices, canaries) in [(200, 5), (200, 20), (100_000, 1_000)] {
        for share in [0.0, 0.02, 0.1, 0.3, 0.8, 1.0] {
            let mut stages = Setup::default_stages();
            stages[0].target = Target::Count(canaries);
            let setup = Setup::hourly(stages, vec![Objective::statistical("slo", 0)]);
            let scenario = with(|s| {
                s.fleet.devices = devices;
                s.effect.hard_failure_share = share;
            });
            let name = format!("{canaries} of {devices}, does not start on {share} of them");
            cells.push(Cell { name, setup, scenario });
        }
    }
    cells
}

/// An unchanged model on fleets that are often out of reach; the default stages with so many canaries.
fn reach() -> Vec<Cell> {
    let mut cells = Vec::new();
    for canaries in [5, 20, 50] {
        for (share, pattern) in [
            (0.2, OfflinePattern::Spells),
            (0.4, OfflinePattern::Spells),
            (0.4, OfflinePattern::Chronic),
            (0.4, OfflinePattern::Night),
        ] {
            for works_on in [true, false] {
                let mut stages = Setup::default_stages();
                stages[0].target = Target::Count(canaries);
                stages[1].target = Target::Count(canaries.max(20) + 10);
                let setup = Setup::hourly(stages, vec![Objective::statistical("slo", 0)]);
                let scenario = with(|s| {
                    s.fleet.offline.share = share;
                    s.fleet.offline.pattern = pattern;
                    s.fleet.offline.works_on = works_on;
                });
                let counts = if works_on { "counting on" } else { "switched off" };
                let name = format!("{canaries} of 200, out of reach {share} ({pattern:?}), {counts}");
                cells.push(Cell { name, setup, scenario });
            }
        }
    }
    cells
}

/// The fleets on which the rules of today are compared with the judge.
fn today() -> Vec<Cell> {
    let mut cells = Vec::new();
    for canaries in [5, 20] {
        let mut add = |name: &str, change: &dyn Fn(&mut Scenario)| {
            let name = format!("{canaries} of 200, {name}");
            cells.push(Cell { name, setup: one_stage(canaries), scenario: with(|s| change(s)) });
        };
        add("unchanged, sigma 0", &|s| s.fleet.sigma = 0.0);
        add("unchanged, sigma 1", &|_| {});
        add("unchanged, sigma 1.5", &|s| s.fleet.sigma = 1.5);
        add("unchanged, sigma 1, burst 5", &|s| s.fleet.burst = 5.0);
        add("unchanged, sigma 1, burst 20", &|s| s.fleet.burst = 20.0);
        add("unchanged, sigma 1, base 0.02", &|s| s.fleet.base_rate = PerSli::All(0.02));
        add("unchanged, sigma 1, rhythm 0.8", &|s| s.fleet.rhythm = 0.8);
        add("unchanged, sigma 1, outage common to all", &|s| s.outages = outage(false));
        add("3x", &|s| s.effect.rate_ratio = PerSli::All(3.0));
        add("3x, burst 5", &|s| {
            s.effect.rate_ratio = PerSli::All(3.0);
            s.fleet.burst = 5.0;
        });
    }
    cells
}
