//! Whole rollouts over the default stages.

use modelfleet_protocol::draw::Target;
use modelfleet_simulation::{Objective, OfflinePattern, PerSli, Setup};

use super::{Cell, LARGE_PART, with};

/// The default stages.
pub fn rollout(devices: u64) -> Vec<Cell> {
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
        cells.push(Cell { name, runs_part: 1, setup, scenario });
    }
    for (name, rhythm, churn, holdback_ppm) in [
        ("rhythm 0.8", 0.8, 0.0, 0),
        ("rhythm 0.3, churn 1 % a day", 0.3, 0.01, 0),
        ("rhythm 0.8, 5 % held back", 0.8, 0.0, 50_000),
    ] {
        let mut setup = Setup::hourly(Setup::default_stages(), vec![Objective::statistical("slo", 0)]);
        setup.parts.holdback_ppm = holdback_ppm;
        let scenario = with(|s| {
            s.fleet.devices = devices;
            s.fleet.rhythm = rhythm;
            s.fleet.churn_per_day = churn;
            s.fleet.leavers_stay = true;
        });
        cells.push(Cell {
            name: format!("{devices} devices, {name}, rate 1x"),
            runs_part: 1,
            setup,
            scenario,
        });
    }
    cells
}

/// Candidates that do not start on a share of the devices; the default stages.
pub fn fail() -> Vec<Cell> {
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
            cells.push(Cell {
                name,
                runs_part: if devices > 1_000 { LARGE_PART } else { 1 },
                setup,
                scenario,
            });
        }
    }
    cells
}

/// An unchanged model on fleets that are often out of reach; the default stages with so many canaries.
pub fn reach() -> Vec<Cell> {
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
                cells.push(Cell { name, runs_part: 1, setup, scenario });
            }
        }
    }
    cells
}
