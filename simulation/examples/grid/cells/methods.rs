//! Worlds in which the judge stands beside what users would pick instead.

use modelfleet_protocol::draw::Target;
use modelfleet_simulation::{Objective, PerSli, Scenario, Setup};

use super::{Cell, outage, with};

/// What a world changes in the plain one.
type Change = fn(&mut Scenario);

/// Worlds, each with an unchanged model and with three times the rate.
const WORLDS: [(&str, Change); 8] = [
    ("plain: sigma 1, 0.2 errors in 100 requests a device and hour", |_| {}),
    ("devices differ more: sigma 1.5", |s| s.fleet.sigma = 1.5),
    ("errors come in bursts of 5", |s| s.fleet.burst = 5.0),
    ("a daily rhythm of 0.8", |s| s.fleet.rhythm = 0.8),
    ("autocorrelated 0.95, sigma 1", |s| {
        (s.fleet.autocorrelation.per_window, s.fleet.autocorrelation.sigma) = (0.95, 1.0);
    }),
    ("an outage common to all", |s| {
        s.fleet.base_rate = PerSli::All(0.02);
        s.outages = outage(false);
    }),
    ("errors are frequent: 1 in 100 requests, in bursts of 5", |s| {
        (s.fleet.base_rate, s.fleet.burst) = (PerSli::All(1.2), 5.0);
    }),
    ("errors are rare: 0.02 in 100 requests", |s| s.fleet.base_rate = PerSli::All(0.02)),
];

/// A world: its name, the rollout, an unchanged model, and one with three times the rate.
pub struct World {
    pub name: &'static str,
    pub unchanged: Cell,
    pub harmful: Cell,
}

/// 10 of 200 devices for three days, 50 for three days, then all.
pub fn worlds() -> Vec<World> {
    let stages = vec![
        Setup::stage("canary", Target::Count(10), 72),
        Setup::stage("early-adopter", Target::Count(50), 72),
        Setup::stage("full", Target::Ppm(1_000_000), 0),
    ];
    // With an allowance, so that the judge tells an outage common to all for what it is.
    let world = |(name, change): (&'static str, Change)| {
        let allowance = if name.contains("outage") { 50_000 } else { 0 };
        let objective = Objective::statistical("slo", allowance);
        let setup = Setup::hourly(stages.clone(), vec![objective]);
        let cell = |ratio: f64| {
            let scenario = with(|s| {
                change(s);
                s.effect.rate_ratio = PerSli::All(ratio);
            });
            Cell { name: name.to_owned(), runs_part: 1, setup: setup.clone(), scenario }
        };
        World { name, unchanged: cell(1.0), harmful: cell(3.0) }
    };
    WORLDS.into_iter().map(world).collect()
}
