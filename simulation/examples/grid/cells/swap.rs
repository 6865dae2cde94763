//! Changing models costs a device some bad windows, whatever the model. Controls change nothing and do not pay.

use modelfleet_simulation::{Objective, PerSli, Scenario, Setup};

use super::{Cell, Rules, one_stage, with};

/// Windows of warm-up in these stages: the cost is counted from behind them.
const WARMUP: u32 = 1;

/// Bad events of a device and window.
const RATES: [f64; 3] = [0.002, 0.02, 0.2];

fn costs(windows: u32, rate: f64) -> Scenario {
    with(|s| {
        s.fleet.base_rate = PerSli::All(rate);
        s.effect.swap_cost_windows = if windows > 0 { WARMUP + windows } else { 0 };
    })
}

fn cell(name: String, setup: Setup, scenario: Scenario) -> Cell {
    Cell { name, runs_part: 1, setup, scenario }
}

/// An unchanged model whose activation costs one to five counted windows.
pub fn swap() -> Vec<Cell> {
    let mut cells = Vec::new();
    for canaries in [5, 20] {
        for rate in RATES {
            for windows in 0..=5 {
                let name =
                    format!("{canaries} of 200, base {rate}, {windows} windows after the swap are bad");
                cells.push(cell(name, one_stage(canaries), costs(windows, rate)));
            }
        }
    }
    for severity in [0.5, 0.2] {
        let mut scenario = costs(5, 0.02);
        scenario.effect.swap_cost_severity = severity;
        let name = format!("20 of 200, base 0.02, 5 windows after the swap are bad with chance {severity}");
        cells.push(cell(name, one_stage(20), scenario));
    }
    cells.push(cell(
        "60 of 200, base 0.02, 5 windows after the swap are bad".to_owned(),
        one_stage(60),
        costs(5, 0.02),
    ));
    let all_rules = Rules::All.on(one_stage(20));
    cells.push(cell(
        "20 of 200, all rules, base 0.02, 5 windows after the swap are bad".to_owned(),
        all_rules,
        costs(5, 0.02),
    ));
    let mut slow = one_stage(20);
    slow.parts.fetch.spread_ms = 12 * 3_600_000;
    cells.push(cell(
        "20 of 200, downloads over 12 hours, base 0.02, 5 windows after the swap are bad".to_owned(),
        slow,
        costs(5, 0.02),
    ));
    let stages = Setup::hourly(Setup::default_stages(), one_stage(5).objectives);
    cells.push(cell(
        "default stages of 200, base 0.02, 5 windows after the swap are bad".to_owned(),
        stages,
        costs(5, 0.02),
    ));
    cells
}

/// Lasting harm on top of what the change of models costs, beside the same harm without it.
pub fn harm() -> Vec<Cell> {
    let mut cells = Vec::new();
    for canaries in [5, 20] {
        for rate in RATES {
            for windows in [0, 1, 2, 5] {
                let mut scenario = costs(windows, rate);
                scenario.effect.rate_ratio = PerSli::All(3.0);
                let name =
                    format!("{canaries} of 200 at 3x, base {rate}, {windows} windows after the swap are bad");
                cells.push(cell(name, one_stage(canaries), scenario));
            }
        }
    }
    cells
}

/// An unchanged model whose activation costs more windows than the settling time has.
pub fn long() -> Vec<Cell> {
    let mut cells = Vec::new();
    for canaries in [5, 20] {
        for rate in RATES {
            for windows in [6, 8, 10, 15, 24] {
                let name =
                    format!("{canaries} of 200, base {rate}, {windows} windows after the swap are bad");
                cells.push(cell(name, one_stage(canaries), costs(windows, rate)));
            }
        }
    }
    cells
}

/// An unchanged model, and one that harms, whose labels come late: as the rollout is told, and as it is not.
pub fn late_labels() -> Vec<Cell> {
    const HOUR_MS: u64 = 3_600_000;
    let mut cells = Vec::new();
    for (hours, ratio) in [(0, 1.0), (24, 1.0), (72, 1.0), (168, 1.0), (0, 3.0), (72, 3.0)] {
        for told in [true, false] {
            if hours == 0 && !told {
                continue;
            }
            let mut labelled = Objective::statistical("missed", 0);
            labelled.late_windows = if told { hours } else { 0 };
            let objectives = vec![labelled, Objective::statistical("errors", 0)];
            let mut setup = Setup::hourly(Setup::default_stages(), objectives);
            if told {
                setup.parts.stages.iter_mut().for_each(|stage| stage.max_wait_ms += hours * HOUR_MS);
            }
            let scenario = with(|s| {
                s.truth_delay_windows = PerSli::By([("missed".to_owned(), hours as f64)].into());
                s.effect.rate_ratio = PerSli::By([("missed".to_owned(), ratio)].into());
            });
            let said = if told { "as labelDelay says" } else { "without labelDelay" };
            let name = format!("200 devices at {ratio}x, labels {hours} hours late, {said}");
            cells.push(cell(name, setup, scenario));
        }
    }
    cells
}
