//! Harmful models: how often harm is shown.

use modelfleet_simulation::{PerSli, Scenario, Setup, StratumEffect, StratumShare};

use super::{Cell, one_stage, sites, with};

/// Harmful models in one stage.
pub fn detect() -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut add = |name: &str, setup: Setup, scenario: Scenario| {
        cells.push(Cell { name: name.to_owned(), runs_part: 1, setup, scenario });
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
    part.effect.exact_share = true;
    add("2 of 5 exactly at 5x, burst 1 (wanted 60 %)", one_stage(5), part.clone());
    part.effect.affected_share = 0.3;
    add("6 of 20 exactly at 5x, burst 1 (wanted 95 %)", one_stage(20), part.clone());
    part.effect.exact_share = false;
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
            incompatible_share: 0.0,
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
