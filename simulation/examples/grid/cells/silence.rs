//! Devices that are away for long or for good, and candidates that silence devices; the default stages.

use modelfleet_simulation::{Objective, Scenario, Setup};

use super::{Cell, with};

/// A week of hourly windows.
const WEEK: f64 = 168.0;

/// Unchanged and silencing candidates on fleets with long absences.
pub fn silence() -> Vec<Cell> {
    let mut cells = Vec::new();
    let away = |s: &mut Scenario| {
        s.fleet.offline.share = 0.1;
        s.fleet.offline.mean_windows = WEEK;
    };
    let leaving = |s: &mut Scenario| {
        s.fleet.churn_per_day = 0.01;
        s.fleet.leavers_stay = true;
    };
    for (devices, runs_part) in [(200, 1), (20_000, 10)] {
        let mut add = |name: &str, change: &dyn Fn(&mut Scenario)| {
            let setup = Setup::hourly(Setup::default_stages(), vec![Objective::statistical("slo", 0)]);
            let scenario = with(|s| {
                s.fleet.devices = devices;
                change(s);
            });
            cells.push(Cell { name: format!("{devices} devices, {name}"), runs_part, setup, scenario });
        };
        add("10 % away in spells of a week", &away);
        add("10 % away in spells of a week, switched off", &|s| {
            away(s);
            s.fleet.offline.works_on = false;
        });
        add("1 % a day leave and stay known", &leaving);
        add("10 % away in spells of a week, 1 % a day leave and stay known", &|s| {
            away(s);
            leaving(s);
        });
        for share in [0.05, 0.2, 0.5, 1.0] {
            add(&format!("silenced on {share} of the devices"), &|s| s.effect.silent_share = share);
            add(&format!("silenced on {share} of the devices, 10 % away in spells of a week"), &|s| {
                away(s);
                s.effect.silent_share = share;
            });
        }
    }
    cells
}
