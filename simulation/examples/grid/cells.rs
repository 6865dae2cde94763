//! The cells of the grid.

mod alone;
mod broken;
mod cure;
mod detect;
mod few;
mod margin;
pub mod methods;
mod null;
mod rare;
mod silence;
mod site;
mod site_silence;
mod stages;
mod swap;
mod uneven;
mod whole;
mod worlds;

use modelfleet_judge::{HardRule, SilenceRule};
use modelfleet_simulation::{Objective, Outage, PerSli, Scenario, Setup, StratumShare};

/// One cell.
#[derive(Clone)]
pub struct Cell {
    pub name: String,
    /// It is run so many times less often than asked: large fleets take long.
    pub runs_part: u64,
    pub setup: Setup,
    pub scenario: Scenario,
}

/// Of the runs of small fleets so many times fewer for large ones.
const LARGE_PART: u64 = 50;

/// Which rules share the error budget.
#[derive(Clone, Copy)]
enum Rules {
    /// One objective has all of it.
    One,
    /// Layer 0 and silence have their shares, as in the controller.
    All,
}

impl Rules {
    fn on(self, mut setup: Setup) -> Setup {
        if let Rules::All = self {
            setup.silence = SilenceRule::default();
            let rules = setup.objectives.iter().map(|o| (o.on_breach, o.judged_by));
            setup.hard = HardRule::beside(rules, setup.silence);
        }
        setup
    }
}

/// The cells of a part.
pub fn cells(part: &str) -> Vec<Cell> {
    let small = [(200, 5), (200, 20), (200, 50)];
    match part {
        "null" => null::null(&small, Rules::One),
        "null-rules" => null::null(&small, Rules::All),
        "large" => null::null(&[(100_000, 1_000)], Rules::One),
        "odd" => null::odd(Rules::One),
        "odd-rules" => null::odd(Rules::All),
        "detect" => detect::detect(),
        "margin" => margin::margin(),
        "rollout" => stages::rollout(200),
        "rollout-large" => stages::rollout(100_000),
        "rollout-largest" => stages::rollout(1_500_000),
        "whole" => whole::whole(),
        "silence" => silence::silence(),
        "uneven" => uneven::uneven(),
        "site" => site::site(),
        "swap" => swap::swap(),
        "swap-harm" => swap::harm(),
        "swap-long" => swap::long(),
        "late-labels" => swap::late_labels(),
        "site-silence" => site_silence::site_silence(),
        "worlds" => worlds::worlds(),
        "few" => few::few(),
        "broken" => broken::broken(),
        "cure" => cure::cure(),
        "rare" => rare::rare(),
        "alone" => alone::alone(),
        "fail" => stages::fail(),
        "reach" => stages::reach(),
        _ => Vec::new(),
    }
}

/// 200 devices, sigma 1, 0.2 events a window, 600 windows of history, an unchanged model.
fn plain() -> Scenario {
    let mut scenario = Scenario::default();
    scenario.fleet.base_rate = PerSli::All(0.2);
    scenario
}

fn with(change: impl FnOnce(&mut Scenario)) -> Scenario {
    let mut scenario = plain();
    change(&mut scenario);
    scenario
}

/// One stage of so many canaries, one objective with the whole error budget.
fn one_stage(canaries: u64) -> Setup {
    Setup::one_stage(canaries, 60, Objective::statistical("slo", 0))
}

fn sites(count: usize) -> Vec<StratumShare> {
    let site = |i: usize| [("site".to_owned(), format!("s{i}"))].into();
    (0..count).map(|i| StratumShare { labels: site(i), share: 1.0, rate_factor: 1.0 }).collect()
}

fn outage(site: bool) -> Vec<Outage> {
    let labels = if site { [("site".to_owned(), "s0".to_owned())].into() } else { Default::default() };
    vec![Outage { start_window: 12, windows: 10, labels, severity: 0.9, spares_candidate: false }]
}
