//! Incidents that the candidate mends: production burns, and devices that have it do not.

use modelfleet_simulation::{Objective, Outage, PerSli, Scenario, Setup};

use super::{Cell, one_stage, with};

/// Outages that spare the candidate, and candidates that bring harm of their own.
pub fn cure() -> Vec<Cell> {
    let mut cells = Vec::new();
    let burning = |severity: f64, start: u32, spares: bool| {
        move |s: &mut Scenario| {
            s.fleet.base_rate = PerSli::All(0.02);
            s.outages = vec![Outage {
                start_window: start,
                windows: 100_000,
                labels: Default::default(),
                severity,
                spares_candidate: spares,
            }];
        }
    };
    let mut add = |name: String, setup: Setup, change: &dyn Fn(&mut Scenario)| {
        cells.push(Cell { name, runs_part: 1, setup, scenario: with(|s| change(s)) });
    };
    for allowance in [0, 50_000] {
        let stage = |canaries| {
            let mut setup = one_stage(canaries);
            setup.objectives[0].allowance_ppm = allowance;
            setup
        };
        let percent = allowance / 10_000;
        for severity in [0.3, 0.8] {
            for canaries in [5, 20] {
                for start in [0, 20] {
                    let name = format!(
                        "{canaries} of 200, {severity} of windows bad from window {start} on, but with the candidate, \
                         allowance {percent} %"
                    );
                    add(name, stage(canaries), &burning(severity, start, true));
                }
            }
            let setup =
                Setup::hourly(Setup::default_stages(), vec![Objective::statistical("slo", allowance)]);
            let name = format!(
                "default stages of 200, {severity} of windows bad from window 0 on, but with the candidate, \
                 allowance {percent} %"
            );
            add(name, setup, &burning(severity, 0, true));
        }
        let name =
            format!("20 of 200, 0.8 of windows bad from window 20 on in both arms, allowance {percent} %");
        add(name, stage(20), &burning(0.8, 20, false));
    }
    cells
}
