//! The smallest rise that one stage finds, by simulating that stage alone.
//!
//! A formula cannot follow the judge everywhere: few devices, few events, an allowance, bursts, missing reports and
//! several looks all cost power, each a different part. Here the shipped rules are run instead. Stages are simulated at
//! the rise that four of five are thought to find; what they show moves that rise, and so on (a posterior over where the
//! curve of power crosses 80 % and how steep it is, as in adaptive psychometrics: Watson & Pelli, *QUEST*, 1983). Chance
//! is seeded: the same question has the same answer everywhere.

use std::collections::BTreeMap;

use modelfleet_evidence::LookPlan;
use modelfleet_judge::{Budget, OnBreach};
use modelfleet_protocol::draw::Target;
use modelfleet_rollout::{Approval, Policy};

use crate::outcome::Outcome;
use crate::run::Simulation;
use crate::scenario::{Effect, PerSli, Scenario};
use crate::setup::Setup;
use crate::summary::Share;

/// The share of the stages that are to find the rise.
const WANTED: f64 = 0.8;
/// Rises are told apart by five percent: a rung of the ladder is so many times the one below.
const STEP: f64 = 1.05;
/// The highest rung: a rise to a hundred times the rate.
const TOP: i32 = 94;
/// Stages that are simulated at a rise before it is thought over.
const BATCH: u64 = 20;
/// How far a guess may be off, in rungs (one standard deviation).
const GUESS_OFF: f64 = 20.0;
/// Fewer stages than this say too little.
const RUNS_LEAST: u64 = 60;
/// Slopes that a curve of power may have: logits for each rung. From half to nine tenths in 45 rungs, or in 1.4.
const SLOPES: [f64; 8] = [0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 1.6];
/// Rungs around the answer whose stages are told with it.
const NEAR: f64 = 2.0;

/// How much may be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Stages that are simulated for one answer; 0: none, nothing is known then.
    pub runs: u64,
    /// Most windows of devices and objectives that are simulated for one answer: large fleets get fewer stages.
    pub device_windows: u64,
    /// Seed of chance.
    pub seed: u64,
}

/// What a stage finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StagePower {
    /// A rise of the rate of bad events to this multiple is found in four stages of five.
    Finds {
        /// The multiple, in millionths.
        ratio_ppm: u64,
        /// Within these it lies (95 %), in millionths.
        limits_ppm: (u64, u64),
        /// How many of the stages that were simulated at that rise, or within a tenth of it, found it.
        found: Share,
    },
    /// Not even a rise to a hundred times the rate is found in four stages of five.
    Misses {
        /// How many stages found that.
        found: Share,
    },
    /// To find out would take more than the effort allows, or simulated stages did not come to one answer.
    Unknown,
}

/// The stage at `index` as a rollout of its own: its share of the error budget, as if every stage before had spent its
/// own, and no person to ask.
#[must_use]
pub fn stage_alone(setup: &Setup, policy: &Policy, index: u32) -> Setup {
    let mut alone = setup.clone();
    let mut stage = policy.stage(index).clone();
    stage.approval = Approval::Automatic;
    let holds_back = matches!(policy.target(index), Target::AllBut(_));
    let parts = &mut alone.parts;
    let stages_left = u16::try_from(policy.stage_count()).unwrap_or(u16::MAX);
    let budget = Budget { total_ppm: parts.error_budget_ppm, spent_ppb: 0, stages_left };
    parts.error_budget_ppm = u32::try_from(budget.stage_ppb() / 1_000).unwrap_or(u32::MAX).max(1);
    parts.holdback_ppm = if holds_back { parts.holdback_ppm } else { 0 };
    parts.stages = vec![stage];
    alone
}

/// The smallest rise of one objective that the stage at `index` finds in four simulated stages of five. `guess_ppm` is where
/// the search begins; what the scenario's candidate does counts for nothing.
///
/// Where no controls are left, and for an objective that pauses, to pause is to find.
#[must_use]
pub fn stage_power(
    setup: &Setup,
    scenario: &Scenario,
    policy: &Policy,
    index: u32,
    objective: &str,
    guess_ppm: u64,
    effort: Effort,
) -> StagePower {
    let alone = stage_alone(setup, policy, index);
    let runs = effort.runs.min(effort.device_windows / windows_of(&alone, scenario).max(1));
    if runs < RUNS_LEAST.min(effort.runs) {
        return StagePower::Unknown;
    }
    let mut ladder = Ladder {
        setup: alone,
        pauses: setup.objectives.iter().any(|o| o.name == objective && o.on_breach == OnBreach::Pause),
        scenario,
        objective,
        effort: Effort { runs, ..effort },
        rungs: BTreeMap::new(),
    };
    let power = (effort.runs > 0).then(|| ladder.climb(rung_of(guess_ppm))).flatten();
    power.unwrap_or(StagePower::Unknown)
}

/// Windows of devices and objectives of one stage that comes to its last planned look.
fn windows_of(alone: &Setup, scenario: &Scenario) -> u64 {
    let windows = LookPlan::of(&alone.parts.stages[0], alone.window_ms()).windows();
    windows.saturating_mul(scenario.fleet.devices).saturating_mul(alone.objectives.len() as u64)
}

/// Stages that were simulated at a rise, and how many of them found it.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    hits: u64,
    runs: u64,
}

impl Tally {
    fn plus(self, other: Tally) -> Tally {
        Tally { hits: self.hits + other.hits, runs: self.runs + other.runs }
    }
}

struct Ladder<'a> {
    setup: Setup,
    pauses: bool,
    scenario: &'a Scenario,
    objective: &'a str,
    effort: Effort,
    rungs: BTreeMap<i32, Tally>,
}

impl Ladder<'_> {
    /// `None`: the stage cannot be simulated.
    fn climb(&mut self, guess: i32) -> Option<StagePower> {
        let mut run = self.batch(guess, 0)?;
        if self.rungs.values().all(|tally| tally.hits == 0) {
            // The guess is far off: the highest rung says whether there is anything to look for.
            run += self.batch(TOP, run)?;
            let found = self.near(f64::from(TOP));
            if f64::from(found.high_ppm) < WANTED * 1e6 {
                return Some(StagePower::Misses { found });
            }
        }
        loop {
            let crossing = posterior(&self.rungs, guess);
            let found = self.near(crossing.middle);
            // An answer is told only where stages were simulated; to get there may take some more of them.
            let there = found.runs >= 2 * BATCH;
            if run < self.effort.runs || (!there && run < 2 * self.effort.runs) {
                run += self.batch(rung_at(crossing.middle), run)?;
                continue;
            }
            let apart = f64::from(found.high_ppm) < WANTED * 1e6 || f64::from(found.low_ppm) > WANTED * 1e6;
            return Some(match there && !apart {
                _ if crossing.middle >= f64::from(TOP) - NEAR => StagePower::Misses { found },
                true => StagePower::Finds {
                    ratio_ppm: ratio_ppm(crossing.middle),
                    limits_ppm: (ratio_ppm(crossing.low), ratio_ppm(crossing.high)),
                    found,
                },
                // The curve is none that the posterior knows.
                false => StagePower::Unknown,
            });
        }
    }

    /// Simulates some stages at a rung, of numbers from `run` on, and says how many.
    fn batch(&mut self, at: i32, run: u64) -> Option<u64> {
        let tally = self.run(at, run, BATCH)?;
        let rung = self.rungs.entry(at).or_default();
        *rung = rung.plus(tally);
        Some(BATCH)
    }

    /// How many of the stages at this rung, or near it, found the rise.
    fn near(&self, rung: f64) -> Share {
        let near = self.rungs.iter().filter(|(at, _)| (f64::from(**at) - rung).abs() <= NEAR);
        let tally = near.fold(Tally::default(), |sum, (_, tally)| sum.plus(*tally));
        Share::of(tally.hits, tally.runs)
    }

    /// Simulates `runs` stages from number `first` on.
    fn run(&mut self, rung: i32, first: u64, runs: u64) -> Option<Tally> {
        let ratio = ratio_ppm(f64::from(rung)) as f64 * 1e-6;
        let rate_ratio = PerSli::By([(self.objective.to_owned(), ratio)].into());
        let effect = Effect { rate_ratio, ..Effect::default() };
        let scenario = Scenario { effect, ..self.scenario.clone() };
        let simulation = Simulation::new(self.setup.clone(), &scenario).ok()?;
        let mut tally = Tally::default();
        for number in first..first + runs {
            let outcome = simulation.run(self.effort.seed, number, &mut |_| {}).ok()?;
            tally = tally.plus(Tally { hits: u64::from(self.finds(&outcome)), runs: 1 });
        }
        Some(tally)
    }

    fn finds(&self, outcome: &Outcome) -> bool {
        let whole = matches!(self.setup.parts.stages[0].target, Target::Ppm(1_000_000..) | Target::AllBut(0));
        let alone = whole && self.setup.parts.holdback_ppm == 0;
        outcome.detected_ms.is_some() || ((self.pauses || alone) && outcome.paused)
    }
}

/// Where the curve of power crosses the wanted share: a rung, and between which it lies.
struct Crossing {
    low: f64,
    middle: f64,
    high: f64,
}

/// Over half rungs and [`SLOPES`], each slope as likely before, and crossings near the guess the likeliest.
fn posterior(rungs: &BTreeMap<i32, Tally>, guess: i32) -> Crossing {
    let halves = 2 * TOP + 1;
    let offset = libm::log(WANTED / (1.0 - WANTED));
    let at = |half: i32| 0.5 * f64::from(half);
    let log_weight = |half: i32, slope: f64| {
        let off = (at(half) - f64::from(guess)) / GUESS_OFF;
        let told = rungs.iter().map(|(rung, tally)| {
            let logit = offset + slope * (f64::from(*rung) - at(half));
            let miss = (tally.runs - tally.hits) as f64;
            -(tally.hits as f64) * libm::log1p(libm::exp(-logit)) - miss * libm::log1p(libm::exp(logit))
        });
        told.sum::<f64>() - 0.5 * off * off
    };
    let all: Vec<Vec<f64>> =
        (1..=halves).map(|half| SLOPES.map(|slope| log_weight(half, slope)).to_vec()).collect();
    let most = all.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let weight = |row: &Vec<f64>| row.iter().map(|log| libm::exp(log - most)).sum::<f64>();
    let weights: Vec<f64> = all.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    let quantile = |part: f64| {
        let mut sum = 0.0;
        let found = weights.iter().position(|weight| {
            sum += weight;
            sum >= part * total
        });
        at(1 + i32::try_from(found.unwrap_or(weights.len() - 1)).unwrap_or(TOP))
    };
    Crossing { low: quantile(0.025), middle: quantile(0.5), high: quantile(0.975) }
}

fn rung_at(crossing: f64) -> i32 {
    (libm::round(crossing) as i32).clamp(1, TOP)
}

fn ratio_ppm(rung: f64) -> u64 {
    libm::round(libm::pow(STEP, rung) * 1e6) as u64
}

fn rung_of(ratio_ppm: u64) -> i32 {
    let ratio = (ratio_ppm as f64 * 1e-6).clamp(1.0, 1e6);
    (libm::round(libm::log(ratio) / libm::log(STEP)) as i32).clamp(1, TOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_posterior_finds_where_a_known_curve_crosses() {
        // 200 stages at each of three rungs of a curve that crosses 80 % at rung 30 with a slope of 0.4.
        let share = |rung: i32| 1.0 / (1.0 + libm::exp(-(libm::log(4.0) + 0.4 * f64::from(rung - 30))));
        let tally = |rung: i32| Tally { hits: libm::round(200.0 * share(rung)) as u64, runs: 200 };
        let rungs = [26, 30, 33].map(|rung| (rung, tally(rung))).into();
        for guess in [10, 30, 60] {
            let crossing = posterior(&rungs, guess);
            assert!((crossing.middle - 30.0).abs() <= 1.0, "{guess}: {}", crossing.middle);
            assert!(crossing.low < 30.0 && crossing.high > 30.0 && crossing.high - crossing.low < 6.0);
        }
    }

    #[test]
    fn what_is_never_found_lies_at_the_top() {
        let none = Tally { hits: 0, runs: 100 };
        let rungs = [20, 60, TOP].map(|rung| (rung, none)).into();
        assert!(posterior(&rungs, 20).middle >= f64::from(TOP) - NEAR);
    }

    #[test]
    fn rungs_and_rises_go_both_ways() {
        for rung in 1..=TOP {
            assert_eq!(rung_of(ratio_ppm(f64::from(rung))), rung);
        }
    }
}
