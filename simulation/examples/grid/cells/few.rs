//! Harm to a few devices, or to one stratum, under a candidate that is as good as before or better for the rest.

use modelfleet_simulation::{Objective, PerSli, Scenario, Setup, StratumEffect};

use super::{Cell, one_stage, sites, with};

/// Of the runs of small fleets so many times fewer for fleets of 2 000.
const PART: u64 = 4;

/// The default stages, 200 and 2 000 devices.
pub fn few() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (devices, runs_part) in [(200, 1), (2_000, PART)] {
        let mut add = |name: &str, spread: bool, change: &dyn Fn(&mut Scenario)| {
            let mut stages = Setup::default_stages();
            if spread {
                stages.iter_mut().for_each(|stage| stage.spread_by = vec!["site".to_owned()]);
            }
            let setup = Setup::hourly(stages, vec![Objective::statistical("slo", 0)]);
            let scenario = with(|s| {
                s.fleet.devices = devices;
                change(s);
            });
            cells.push(Cell { name: format!("{devices} devices, {name}"), runs_part, setup, scenario });
        };
        for rest in [0.3, 1.0] {
            add(&format!("20x on 3 % of them, {rest}x on the rest"), false, &|s| mixed(s, 0.03, 20.0, rest));
        }
        add("better for all: 0.3x", false, &|s| s.effect.rate_ratio = PerSli::All(0.3));
        for ratio in [3.0, 5.0] {
            add(&format!("{ratio}x in one stratum of twenty, spread over them"), true, &|s| {
                stratum(s, ratio);
            });
        }
        add("unchanged, spread over twenty strata", true, &|s| s.fleet.strata = sites(20));
    }
    cells.extend(one());
    cells.extend(watched());
    cells
}

/// The default stages, drawn from anywhere; harm is looked for in the values of a label.
fn watched() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (devices, runs_part) in [(200, 1), (2_000, PART)] {
        let mut add = |name: &str, change: &dyn Fn(&mut Scenario)| {
            let mut stages = Setup::default_stages();
            stages.iter_mut().for_each(|stage| stage.watch_by = vec!["site".to_owned()]);
            let setup = Setup::hourly(stages, vec![Objective::statistical("slo", 0)]);
            let scenario = with(|s| {
                s.fleet.devices = devices;
                change(s);
            });
            cells.push(Cell { name: format!("{devices} devices, {name}"), runs_part, setup, scenario });
        };
        for ratio in [3.0, 5.0] {
            add(&format!("{ratio}x in one site of twenty, watched"), &|s| stratum(s, ratio));
        }
        add("unchanged, twenty sites watched", &|s| s.fleet.strata = sites(20));
    }
    cells
}

/// One stage of 200 devices of 2 000, large enough for each stratum to have ten canaries.
fn one() -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut add = |name: &str, spread: bool, change: &dyn Fn(&mut Scenario)| {
        let mut setup = one_stage(200);
        if spread {
            setup.parts.stages[0].spread_by = vec!["site".to_owned()];
        }
        let scenario = with(|s| {
            s.fleet.devices = 2_000;
            change(s);
        });
        cells.push(Cell { name: format!("200 of 2000, {name}"), runs_part: PART, setup, scenario });
    };
    add("20x on 3 % of them, 0.3x on the rest", false, &|s| mixed(s, 0.03, 20.0, 0.3));
    for ratio in [3.0, 5.0] {
        add(&format!("{ratio}x in one stratum of twenty, spread over them"), true, &|s| stratum(s, ratio));
    }
    cells
}

/// `worse` times the rate on this share of the devices, `rest` times on the others: kinds of devices that no stage is
/// spread over.
fn mixed(s: &mut Scenario, share: f64, worse: f64, rest: f64) {
    s.fleet.strata = sites(2);
    (s.fleet.strata[0].share, s.fleet.strata[1].share) = (share, 1.0 - share);
    let ratios = [worse, rest];
    s.effect.strata = s.fleet.strata.iter().zip(ratios).map(|(kind, ratio)| only(kind, ratio)).collect();
}

/// So many times the rate in the first of twenty strata.
fn stratum(s: &mut Scenario, ratio: f64) {
    s.fleet.strata = sites(20);
    s.effect.strata = vec![only(&s.fleet.strata[0], ratio)];
}

fn only(kind: &modelfleet_simulation::StratumShare, ratio: f64) -> StratumEffect {
    StratumEffect {
        labels: kind.labels.clone(),
        rate_ratio: PerSli::All(ratio),
        affected_share: 1.0,
        hard_failure_share: 0.0,
        incompatible_share: 0.0,
        silent_share: 0.0,
    }
}
