//! A first stage that draws from one site of four, and a second one that draws from all of them.

use std::collections::BTreeMap;

use modelfleet_protocol::draw::Target;
use modelfleet_protocol::selector::Selector;
use modelfleet_simulation::{
    Controls, Objective, Outage, PerSli, Scenario, Setup, StratumEffect, StratumShare,
};

use super::{Cell, sites, with};

/// How the second stage compares, and whether it is spread over sites.
const WAYS: [(&str, Controls, bool); 3] = [
    ("compared with all", Controls::ThisDrawAlone, false),
    ("compared by chances in all draws", Controls::All, false),
    ("spread by site", Controls::All, true),
];

/// Outages of the first stage's site during the second stage, and harm elsewhere.
pub fn site() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (pilots, all) in [(10, 20), (50, 80)] {
        for (way, controls, spread) in WAYS {
            let mut add = |what: &str, change: &dyn Fn(&mut Scenario)| {
                let scenario = with(|s| {
                    s.fleet.base_rate = PerSli::All(0.02);
                    s.fleet.strata = sites(4);
                    change(s);
                });
                let name = format!("{pilots} of one site of 50, then {all} of all 200, {way}: {what}");
                cells.push(Cell {
                    name,
                    runs_part: 1,
                    setup: setup(pilots, all, controls, spread),
                    scenario,
                });
            };
            add("unchanged", &|_| {});
            let labels: BTreeMap<String, String> = [("site".to_owned(), "s0".to_owned())].into();
            for severity in [0.1, 0.3, 0.9] {
                let outage = Outage {
                    start_window: 75,
                    windows: 10,
                    labels: labels.clone(),
                    severity,
                    spares_candidate: false,
                };
                add(&format!("unchanged, an outage of the site, {severity} of windows bad"), &|s| {
                    s.outages = vec![outage.clone()];
                });
            }
            let harm = |s: &StratumShare| StratumEffect {
                labels: s.labels.clone(),
                rate_ratio: PerSli::All(4.0),
                affected_share: 1.0,
                hard_failure_share: 0.0,
                incompatible_share: 0.0,
                silent_share: 0.0,
            };
            add("4x at the other sites", &|s| {
                s.effect.strata = s.fleet.strata[1..].iter().map(harm).collect();
            });
        }
    }
    cells
}

/// `pilots` of one site, then `all` of all sites, the pilots among them.
fn setup(pilots: u64, all: u64, controls: Controls, spread: bool) -> Setup {
    let mut first = Setup::stage("pilot", Target::Count(pilots), 60);
    first.selector =
        Selector { match_labels: [("site".to_owned(), "s0".to_owned())].into(), ..Selector::default() };
    let mut second = Setup::stage("early", Target::Count(all), 60);
    if spread {
        second.spread_by = vec!["site".to_owned()];
    }
    let mut setup = Setup::hourly(vec![first, second], vec![Objective::statistical("slo", 50_000)]);
    setup.controls = controls;
    setup
}
