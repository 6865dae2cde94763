//! Canaries and controls that were watched for different times: no harm, and no reason to blame the model.
#![allow(clippy::unwrap_used)]

use modelfleet_judge::number::{chance::Chance, normal};
use modelfleet_judge::*;

/// A fleet with an unchanged (or harmful) model, and how long each arm was watched.
#[derive(Clone, Copy)]
struct Fleet {
    devices: u32,
    canaries: u32,
    base: f64,
    ratio: f64,
    /// Windows of history of canaries and controls.
    history: (u64, u64),
    /// Windows known since of canaries and controls.
    known: (u64, u64),
}

const FLEET: Fleet =
    Fleet { devices: 200, canaries: 50, base: 0.002, ratio: 1.0, history: (600, 600), known: (60, 60) };

/// A run of a fleet: rates, history and what was seen so far.
struct Run {
    fleet: Fleet,
    rates: Vec<f64>,
    counts: Vec<[SloCounts; 1]>,
    chance: Chance,
}

impl Run {
    fn new(fleet: Fleet, run: u64) -> Self {
        let mut levels = Chance::fork(98, run);
        let rate = |_| fleet.base * libm::exp(normal::quantile(levels.unit()) - 0.5);
        let rates: Vec<f64> = (0..fleet.devices).map(rate).collect();
        let mut run = Self { fleet, rates, counts: Vec::new(), chance: Chance::fork(99, run) };
        for id in 0..fleet.devices {
            let windows = run.pick(id, fleet.history);
            let history = run.lived(windows, run.rates[id as usize]);
            run.counts.push([SloCounts { history, post: Counts::default() }]);
        }
        run
    }

    fn pick(&self, id: u32, (ours, theirs): (u64, u64)) -> u64 {
        if id < self.fleet.canaries { ours } else { theirs }
    }

    fn lived(&mut self, windows: u64, rate: f64) -> Counts {
        let share = -libm::expm1(-rate);
        Counts::new(windows, (0..windows).filter(|_| self.chance.unit() < share).count() as u64)
    }

    /// On to so many windows of sixty; an arm that knows fewer in the end lacks the first ones.
    fn until(&mut self, window: u64) {
        for id in 0..self.fleet.devices {
            let lacking = 60_u64.saturating_sub(self.pick(id, self.fleet.known));
            let risen = if id < self.fleet.canaries { self.fleet.ratio } else { 1.0 };
            let known = self.counts[id as usize][0].post.known;
            let more = window.saturating_sub(lacking).saturating_sub(known);
            let lived = self.lived(more, self.rates[id as usize] * risen);
            let post = &mut self.counts[id as usize][0].post;
            *post = post.plus(lived);
        }
    }

    /// With the whole budget on one rule.
    fn judged(&self, reached: u16, state: &StageState, seed: u64) -> Assessment {
        let arm = |id| if id < self.fleet.canaries { Arm::Canary } else { Arm::Control };
        let devices: Vec<_> =
            (0..).zip(&self.counts).map(|(id, c)| DeviceOutcome::new(id, 0, arm(id), c)).collect();
        let evidence = Evidence {
            slos: &[SloRule::statistical("alarms", 0)],
            devices: &devices,
            merged: &[],
            needs: Needs { min_devices: 1, min_windows: 5, min_reporting_ppm: 800_000 },
            hard: HardRule { weight: 0, ..HardRule::default() },
            silence: SilenceRule { weight: 0, ..SilenceRule::default() },
            budget: Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
            looks: Looks { reached, planned: 6 },
            seed,
        };
        assess(&evidence, state)
    }
}

/// The answer at the sixth of six looks, the only one.
fn judged(fleet: Fleet, run: u64) -> Assessment {
    let mut lived = Run::new(fleet, run);
    lived.until(60);
    lived.judged(6, &StageState::new(), run)
}

fn rolled_back(fleet: Fleet, runs: u64) -> u64 {
    (0..runs).filter(|&run| judged(fleet, run).advice == Advice::RollBack).count() as u64
}

/// A look has the whole percent here: of 60 runs three or more have a chance of 2 % under the promise.
#[test]
fn history_that_differs_is_no_harm() {
    for history in [(600, 599), (600, 540), (600, 100), (600, 0), (540, 600), (60, 600)] {
        for (canaries, base) in [(50, 0.002), (20, 0.002), (50, 0.2)] {
            let fleet = Fleet { history, canaries, base, ..FLEET };
            let found = rolled_back(fleet, 60);
            assert!(found <= 2, "{canaries} canaries, base {base}, history {history:?}: {found} of 60");
        }
    }
}

#[test]
fn a_window_less_is_no_harm() {
    for known in [(59, 60), (60, 59), (55, 60)] {
        for (canaries, base) in [(50, 0.002), (20, 0.002), (50, 0.2)] {
            let fleet = Fleet { known, canaries, base, ..FLEET };
            let found = rolled_back(fleet, 60);
            assert!(found <= 2, "{canaries} canaries, base {base}, known {known:?}: {found} of 60");
        }
    }
}

/// Forgetting windows must not forget harm.
#[test]
fn harm_is_found_all_the_same() {
    for (history, known) in [((600, 540), (60, 60)), ((600, 600), (57, 60)), ((300, 600), (60, 59))] {
        let fleet = Fleet { history, known, base: 0.2, ratio: 3.0, canaries: 5, ..FLEET };
        let found = rolled_back(fleet, 20);
        assert!(found >= 19, "history {history:?}, known {known:?}: {found} of 20");
    }
}

/// Canaries are drawn among devices in reach, and so may know more than controls: they are cut to the same.
#[test]
fn canaries_may_know_more() {
    let unchanged = Fleet { known: (60, 45), base: 0.2, canaries: 50, ..FLEET };
    let found = rolled_back(unchanged, 60);
    assert!(found <= 2, "{found} of 60");
    let harmful = Fleet { ratio: 3.0, canaries: 5, ..unchanged };
    assert!(rolled_back(harmful, 20) >= 19);
    let apart = judged(Fleet { known: (60, 30), ..unchanged }, 1);
    assert!(apart.sentence.contains("canaries know 60 windows, controls 30"), "{}", apart.sentence);
}

/// A third of the windows unknown in one arm: which windows are missing may be what differs, so nothing passes. A model
/// that is too slow to fill its windows must not hide its harm by that.
#[test]
fn arms_that_are_not_alike_pass_nothing_and_hide_no_harm() {
    let fleet = Fleet { known: (40, 60), base: 0.2, canaries: 5, ..FLEET };
    let assessment = judged(fleet, 1);
    println!("{}", assessment.sentence);
    assert_eq!((assessment.verdict, assessment.advice), (Verdict::Undecided, Advice::Wait));
    assert!(assessment.sentence.contains("arms not comparable: canaries know 40 windows, controls 60"));
    let harmful = judged(Fleet { ratio: 5.0, ..fleet }, 1);
    assert_eq!(
        (harmful.verdict, harmful.advice),
        (Verdict::Degraded, Advice::RollBack),
        "{}",
        harmful.sentence
    );
}

/// False rollbacks where exposure differs, over all six looks: prints the table of `MEASURED.md`.
#[test]
#[ignore = "a measurement: minutes, in release"]
fn table_of_unequal_exposure() {
    let looked = |fleet: Fleet, run: u64| {
        let (mut lived, mut state) = (Run::new(fleet, run), StageState::new());
        (1..=6_u16).any(|look| {
            lived.until(10 * u64::from(look));
            let answer = lived.judged(look, &state, run);
            state = answer.state;
            answer.advice == Advice::RollBack
        })
    };
    for (devices, canaries, runs) in
        [(200, 5, 1_000_u64), (200, 20, 1_000), (200, 50, 1_000), (3_000, 600, 150)]
    {
        for base in [0.2, 0.04, 0.002, 0.000_4] {
            for (history, known) in [(540, 60), (100, 60), (0, 60), (600, 59), (600, 55), (540, 55)] {
                let fleet =
                    Fleet { devices, canaries, base, history: (600, history), known: (known, 60), ..FLEET };
                let found = (0..runs).filter(|&run| looked(fleet, run)).count();
                println!(
                    "{canaries} of {devices}, {base} a window, history 600 and {history}, known {known} and 60: {found} of {runs}"
                );
            }
        }
    }
}
