//! Worlds that differ from the plain one in how rates change, who lies and when harm shows: an unchanged model and harm.

use modelfleet_simulation::{Hours, Objective, PerSli, Scenario, Setup};

use super::margin::bad_share;
use super::{Cell, Rules, with};

/// What a world changes in the plain one.
type Change = fn(&mut Scenario);

/// Worlds in which an unchanged model has to pass, and three times the rate to be found.
const WORLDS: [(&str, Change); 12] = [
    ("autocorrelated 0.95, sigma 1", |s| autocorrelated(s, 0.95, 1.0)),
    ("autocorrelated 0.99, sigma 1.5", |s| autocorrelated(s, 0.99, 1.5)),
    ("weekly rhythm 0.8", |s| s.fleet.weekly_rhythm = 0.8),
    ("season of eight weeks, height 0.8, rising", |s| s.fleet.season.height = 0.8),
    ("season of eight weeks, height 0.8, falling", |s| {
        (s.fleet.season.height, s.fleet.season.phase) = (0.8, 0.5);
    }),
    ("20 % more a week", |s| s.fleet.trend_per_week = 1.2),
    ("Pareto rates of index 1.2", |s| (s.fleet.sigma, s.fleet.rate_tail) = (0.0, 1.2)),
    ("Pareto rates of index 2, burst 20", |s| {
        (s.fleet.sigma, s.fleet.rate_tail, s.fleet.burst) = (0.0, 2.0, 20.0);
    }),
    ("10 % say that all is good", |s| s.fleet.liars.always_good = 0.1),
    ("5 % say that all is bad", |s| s.fleet.liars.always_bad = 0.05),
    ("2 % say that the candidate is bad", |s| s.fleet.liars.bad_with_candidate = 0.02),
    ("all of these a little", |s| {
        autocorrelated(s, 0.95, 0.7);
        (s.fleet.weekly_rhythm, s.fleet.rhythm, s.fleet.trend_per_week) = (0.3, 0.5, 1.05);
        (s.fleet.season.height, s.fleet.rate_tail) = (0.3, 3.0);
        (s.fleet.liars.always_good, s.fleet.liars.always_bad) = (0.03, 0.01);
    }),
];

/// Harm that does not show at once or always.
const HARMS: [(&str, Change); 4] = [
    ("3x at night only, from 22 to 6", |s| s.effect.hours = Some(Hours { from: 22, to: 6 })),
    ("3x after two days", |s| s.effect.onset_windows = 48),
    ("3x after two days, at night only", |s| {
        (s.effect.onset_windows, s.effect.hours) = (48, Some(Hours { from: 22, to: 6 }));
    }),
    ("3x, truth a day late, autocorrelated 0.95, sigma 1", |s| {
        s.truth_delay_windows = PerSli::All(24.0);
        autocorrelated(s, 0.95, 1.0);
    }),
];

fn autocorrelated(s: &mut Scenario, per_window: f64, sigma: f64) {
    (s.fleet.autocorrelation.per_window, s.fleet.autocorrelation.sigma) = (per_window, sigma);
}

/// Stages of a week with 5 and 20 of 200 devices.
pub fn worlds() -> Vec<Cell> {
    let mut cells = Vec::new();
    for canaries in [5, 20] {
        let mut add = |name: &str, objectives: Vec<Objective>, scenario: Scenario| {
            let mut setup = Setup::one_stage(canaries, 168, Objective::statistical("slo", 0));
            setup.objectives = objectives;
            let name = format!("{canaries} of 200, {name}");
            cells.push(Cell { name, runs_part: 1, setup: Rules::All.on(setup), scenario });
        };
        let one = || vec![Objective::statistical("slo", 0)];
        let harmful = |s: &mut Scenario| s.effect.rate_ratio = PerSli::All(3.0);
        for (name, change) in WORLDS {
            add(&format!("{name}: unchanged"), one(), with(change));
            let harm = with(|s| {
                change(s);
                harmful(s);
            });
            add(&format!("{name}: 3x"), one(), harm);
        }
        for (name, change) in HARMS {
            let scenario = with(|s| {
                change(s);
                harmful(s);
            });
            add(name, one(), scenario);
        }
        let two = || ["errors", "latency"].map(|name| Objective::statistical(name, 0)).into();
        for shared in [0.5, 1.0] {
            let name = format!("two objectives that share {shared} of their bad windows");
            let correlated = |s: &mut Scenario| s.fleet.shared_bad = shared;
            add(&format!("{name}: unchanged"), two(), with(correlated));
            let harm = with(|s| {
                correlated(s);
                s.effect.rate_ratio = PerSli::By([("latency".to_owned(), 3.0)].into());
            });
            add(&format!("{name}: 3x in one of them"), two(), harm);
        }
        cells.extend(
            [(0.95, 1.0), (0.99, 1.5)].map(|(per_window, sigma)| at_margin(canaries, per_window, sigma)),
        );
    }
    cells
}

/// Harm as large as the margin that the user set, over autocorrelated rates: one of twenty may pass.
fn at_margin(canaries: u64, per_window: f64, sigma: f64) -> Cell {
    let (rate, ratio) = (0.2, 3.0);
    // Devices differ by their levels, and each by its time: both are log-normal.
    let spread = libm::sqrt(1.0 + sigma * sigma);
    let margin = bad_share(rate * ratio, spread) / bad_share(rate, spread);
    let mut setup = Setup::one_stage(canaries, 168, Objective::statistical("slo", 0));
    setup.parts.stages[0].margin_ppm = Some((margin * 1e6) as u64);
    let scenario = with(|s| {
        autocorrelated(s, per_window, sigma);
        s.effect.rate_ratio = PerSli::All(ratio);
    });
    let name = format!(
        "{canaries} of 200, autocorrelated {per_window}, sigma {sigma}: at the margin of {margin:.2}x"
    );
    Cell { name, runs_part: 1, setup: Rules::All.on(setup), scenario }
}
