//! Sites that are no strata and lose their connection, and candidates that silence devices there and everywhere.

use std::collections::BTreeMap;

use modelfleet_simulation::{Objective, Partition, Scenario, Setup};

use super::{Cell, Rules, sites, with};

/// A stage of 60 windows, its devices drawn from all sites together.
pub fn site_silence() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (canaries, count) in [(5, 4), (20, 4), (20, 10), (50, 4)] {
        let mut add = |name: &str, change: &dyn Fn(&mut Scenario)| {
            let setup = Rules::All.on(Setup::one_stage(canaries, 60, Objective::statistical("slo", 0)));
            let scenario = with(|s| {
                s.fleet.strata = sites(count);
                change(s);
            });
            let name = format!("{canaries} of 200, {count} sites: {name}");
            cells.push(Cell { name, runs_part: 1, setup, scenario });
        };
        add("unchanged", &|_| {});
        add("unchanged, a site is cut off for a day", &|s| cut(s, 0, 20, 24));
        add("unchanged, a site is cut off for good", &|s| cut(s, 0, 20, 10_000));
        add("unchanged, a site is cut off at the start, then another one", &|s| {
            cut(s, 0, 0, 6);
            cut(s, 1, 20, 10_000);
        });
        add("unchanged, the sites are cut off in turn", &|s| {
            (0..count).for_each(|site| cut(s, site, 6 + 12 * site as u32, 12));
        });
        add("unchanged, no label names the sites, one is cut off for a day", &|s| {
            unnamed(s);
            cut(s, 0, 20, 24);
        });
        add("unchanged, no label names the sites, one is cut off for good", &|s| {
            unnamed(s);
            cut(s, 0, 20, 10_000);
        });
        for share in [0.3, 0.6, 1.0] {
            add(&format!("silenced on {share} of the devices"), &|s| s.effect.silent_share = share);
            add(&format!("silenced on {share} of the devices, a site is cut off for good"), &|s| {
                s.effect.silent_share = share;
                cut(s, 0, 20, 10_000);
            });
        }
    }
    cells
}

fn cut(s: &mut Scenario, site: usize, start_window: u32, windows: u32) {
    let labels = s.fleet.strata[site].labels.clone();
    s.network.partitions.push(Partition { start_window, windows, labels });
}

/// Devices of a site carry a label all the same, but none that says where they are.
fn unnamed(s: &mut Scenario) {
    for (number, stratum) in s.fleet.strata.iter_mut().enumerate() {
        stratum.labels = BTreeMap::from([("batch".to_owned(), format!("b{number}"))]);
    }
}
