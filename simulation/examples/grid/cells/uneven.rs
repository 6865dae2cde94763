//! Unchanged models where the arms differ in what is known of them.

use modelfleet_simulation::{Objective, PerSli, Scenario, Setup, ShortReports, ShortenedArm};

use super::{Cell, one_stage, with};

/// Windows that devices remember, as long as their history.
const MEMORY: u32 = 600;

/// Pasts of unequal length, and reports that lack old windows in one arm.
pub fn uneven() -> Vec<Cell> {
    let mut cells = Vec::new();
    for base in [0.2, 0.002] {
        for canaries in [5, 20, 50] {
            let mut add = |name: &str, setup: Setup, change: &dyn Fn(&mut Scenario)| {
                let scenario = with(|s| {
                    s.fleet.base_rate = PerSli::All(base);
                    change(s);
                });
                let name = format!("{canaries} of 200, base {base}, {name}");
                cells.push(Cell { name, runs_part: 1, setup, scenario });
            };
            let memory = |s: &mut Scenario| s.fleet.memory_windows = MEMORY;
            add("controls' past shrinks over 60 windows", one_stage(canaries), &memory);
            let long = Setup::one_stage(canaries, 600, Objective::statistical("slo", 0));
            add("controls' past shrinks over 600 windows", long, &memory);
            for (whose, arm) in [("canaries'", ShortenedArm::Canaries), ("controls'", ShortenedArm::Controls)]
            {
                for (fate, merged) in [("are lost", 0), ("are merged by 16, broken spans left out", 16)] {
                    let short = ShortReports { arm, newest: 32, merged };
                    let name = format!("{whose} windows before the newest 32 {fate}");
                    add(&name, one_stage(canaries), &|s| s.network.short_reports = Some(short));
                }
            }
        }
        let setup = Setup::hourly(Setup::default_stages(), vec![Objective::statistical("slo", 0)]);
        let scenario = with(|s| {
            s.fleet.base_rate = PerSli::All(base);
            s.fleet.memory_windows = MEMORY;
        });
        let name = format!("default stages, base {base}, controls' past shrinks");
        cells.push(Cell { name, runs_part: 1, setup, scenario });
    }
    cells
}
