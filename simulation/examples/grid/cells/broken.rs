//! Devices that are bad whatever runs on them, and devices that are often switched off.

use modelfleet_simulation::{Objective, OfflinePattern, PerSli, Scenario, Setup};

use super::{Cell, one_stage, with};

/// Unchanged and harmful candidates beside such devices.
pub fn broken() -> Vec<Cell> {
    let mut cells = Vec::new();
    let sick = |share: f64, severity: f64| {
        move |s: &mut Scenario| (s.fleet.broken.share, s.fleet.broken.severity) = (share, severity)
    };
    let off = |share: f64, pattern: OfflinePattern| {
        move |s: &mut Scenario| {
            s.fleet.offline.share = share;
            s.fleet.offline.pattern = pattern;
            s.fleet.offline.works_on = false;
        }
    };
    let three = |s: &mut Scenario| s.effect.rate_ratio = PerSli::All(3.0);
    for base in [0.2, 0.02] {
        let mut add = |name: String, setup: Setup, change: &dyn Fn(&mut Scenario)| {
            let scenario = with(|s| {
                s.fleet.base_rate = PerSli::All(base);
                change(s);
            });
            cells.push(Cell { name: format!("{name}, base {base}"), runs_part: 1, setup, scenario });
        };
        for canaries in [5, 20, 50] {
            for (share, severity) in [(0.0, 0.9), (0.02, 0.9), (0.05, 0.9), (0.05, 0.5)] {
                let name = format!("{canaries} of 200, {share} broken at {severity}");
                add(format!("{name}, unchanged"), one_stage(canaries), &sick(share, severity));
                if severity > 0.5 {
                    add(format!("{name}, 3x"), one_stage(canaries), &|s| {
                        sick(share, severity)(s);
                        three(s);
                    });
                }
            }
            for (share, pattern) in [(0.6, OfflinePattern::Spells), (0.5, OfflinePattern::Chronic)] {
                let name = format!("{canaries} of 200, switched off {share} ({pattern:?}), unchanged");
                add(name, one_stage(canaries), &off(share, pattern));
            }
        }
        let default = || Setup::hourly(Setup::default_stages(), vec![Objective::statistical("slo", 0)]);
        for share in [0.01, 0.02, 0.05] {
            let name = format!("default stages of 200, {share} broken at 0.9");
            add(format!("{name}, unchanged"), default(), &sick(share, 0.9));
        }
        let name = "default stages of 200, switched off 0.5 (Chronic), unchanged".to_owned();
        add(name, default(), &off(0.5, OfflinePattern::Chronic));
    }
    cells
}
