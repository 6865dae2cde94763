//! The shipped rollout core and judge over simulated devices, on a virtual clock.
//!
//! [`Simulation::run`] takes one rollout from its first decision to its end: [`modelfleet_rollout::decide`] decides,
//! [`modelfleet_evidence`] turns what devices say into the judge's question and its answer into evidence,
//! [`modelfleet_judge::assess`] judges, [`modelfleet_protocol::draw::open_stage`] draws, and only the devices are made
//! up, as a [`Scenario`] describes them. Nothing of the decision is copied here, so what is measured is what runs.
//!
//! A device is a rate, a stream of chance of its own and a few counters: some tens of bytes for each indicator, so
//! that a million of them live through weeks of hourly windows in seconds. Runs share nothing: the caller may spread
//! them over threads, and the outcome of run `n` under a seed is the same wherever and whenever it is run.
//!
//! What is simplified, and what its results do not show:
//!
//! - Time moves by whole windows. Only failures to activate are acted upon sooner, a few times in a window.
//! - The judge is asked where its answer can change: at new looks, when a canary has failed, while controls look as in
//!   an outage, every fourth window where an any-time test runs. Fleets of more than 20 000 devices are judged less often
//!   ([`Setup::judge_every_windows`]), because a million devices are not judged every minute.
//! - Devices report windows one by one; the merging of old windows on the device is left out, unless a scenario asks
//!   for it in one arm ([`ShortReports`]).
//! - A device that leaves the fleet is gone at once, and another one comes in its place, unless a scenario lets its
//!   retained state stay ([`FleetScenario::leavers_stay`]).

mod chances;
mod compared;
mod device;
mod fleet;
mod fleet_rates;
mod harm;
mod meter;
pub mod methods;
mod observed;
mod outcome;
mod run;
mod scenario;
mod setup;
mod stage_power;
mod story;
mod summary;
mod usual;
mod variation;
mod verdict;
mod windows;

pub use harm::DEFAULT_RATE;
pub use methods::Method;
pub use outcome::{End, Outcome};
pub use run::{Look, Simulation};
pub use scenario::{
    Autocorrelation, Broken, Effect, Fleet as FleetScenario, Hours, LabelValues, Liars, Network, Offline,
    OfflinePattern, Outage, Partition, PerSli, Scenario, ScenarioError, Season, ShortReports, ShortenedArm,
    StratumEffect, StratumShare, WrongField,
};
pub use setup::{Controls, Objective, Rule, Setup};
pub use stage_power::{Effort, StagePower, stage_alone, stage_power};
pub use story::{Happened, LookStory, StoryLine};
pub use summary::{Share, Summary, Tested};
