//! Downloads of several models share one line: nobody has it for good, and what is urgent or small goes first.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::collections::BTreeMap;

use modelfleet_agent_core::interface::{Input, Output};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::{Fetch, Plan};
use world::{World, candidate, digest, plan};

const MIB: u64 = 1 << 20;
const STEP_MS: u64 = 10_000;
const MINUTE: u64 = 6;
const HOUR: u64 = 60 * MINUTE;

/// A plan for a model of its own, whose candidate has so many bytes.
fn wants(n: u8, bytes: u64) -> Plan {
    let mut c = candidate(n, "r");
    c.build.model = format!("model-{n}").parse().unwrap();
    c.build.size_bytes = bytes;
    Plan { model: c.build.model.clone(), ..plan(1, None, Some(c), &[]) }
}

/// The same, as the build that everybody runs.
fn settles(n: u8, bytes: u64) -> Plan {
    let Plan { candidate, .. } = wants(n, bytes);
    let build = candidate.unwrap().build;
    Plan {
        model: build.model.clone(),
        stable: Some(build),
        fetch: Some(Fetch::default()),
        ..plan(1, None, None, &[])
    }
}

/// A device, and what its servers have sent.
struct Line {
    world: World,
    sizes: BTreeMap<Digest, u64>,
    have: BTreeMap<Digest, u64>,
    done: BTreeMap<Digest, u64>,
    steps: u64,
    /// The servers know no ranges.
    anew: bool,
}

impl Line {
    fn new(plans: Vec<Plan>) -> Line {
        let mut world = World::new();
        world.connect();
        let mut line = Line {
            world,
            sizes: BTreeMap::new(),
            have: BTreeMap::new(),
            done: BTreeMap::new(),
            steps: 0,
            anew: false,
        };
        plans.into_iter().for_each(|plan| line.plan(plan));
        line
    }

    fn plan(&mut self, plan: Plan) {
        let build = plan.candidate.as_ref().map(|c| &c.build).or(plan.stable.as_ref()).unwrap();
        self.sizes.insert(build.digest, build.size_bytes);
        self.world.plan(plan);
    }

    /// What is fetched now.
    fn runs(&self) -> Option<Digest> {
        let mut fetches = self.world.pending.iter().filter_map(|input| match input {
            Input::Fetched { digest, .. } => Some(*digest),
            _ => None,
        });
        let runs = fetches.next();
        assert_eq!(fetches.next(), None, "one at a time");
        runs
    }

    /// Ten seconds go by; the server of each build sends so many bytes in them.
    fn step(&mut self, sends: impl Fn(Digest) -> u64) {
        let paused = std::mem::take(&mut self.world.log).into_iter();
        for digest in
            paused.filter_map(|o| if let Output::PauseFetch { digest } = o { Some(digest) } else { None })
        {
            if self.anew {
                self.have.insert(digest, 0);
            }
        }
        self.steps += 1;
        if let Some(digest) = self.runs() {
            let have = self.have.entry(digest).or_default();
            *have += sends(digest);
            if *have >= self.sizes[&digest] {
                let fetched = Input::Fetched { digest, details: None };
                let n = self.world.pending.iter().position(|input| *input == fetched).unwrap();
                self.world.answer(n);
                // What it loads then is not looked at here.
                self.world.pending.retain(|input| matches!(input, Input::Fetched { .. }));
                self.done.insert(digest, self.steps);
            } else {
                let bytes = *have;
                self.world.feed(Input::FetchProgress { digest, bytes });
            }
        }
        self.world.pass(STEP_MS);
    }
}

#[test]
fn a_slow_download_gives_way_and_goes_on_later() {
    let mut line = Line::new(vec![wants(2, 100 * MIB), wants(3, 99 * MIB), wants(4, 98 * MIB)]);
    assert_eq!(line.runs(), Some(digest(2)));
    let trickles = |d: Digest| if d == digest(2) { 10 } else { MIB };
    while line.done.len() < 2 {
        line.step(trickles);
        assert!(line.steps < HOUR, "{:?}", line.done);
    }
    let took = 2 * 100 + 4 * MINUTE;
    assert!(line.done.values().all(|step| *step < took), "{:?}", line.done);
    while line.runs() != Some(digest(2)) {
        line.step(trickles);
        assert!(line.steps < took, "it goes on when the others are there");
    }
    let had = line.have[&digest(2)];
    line.step(|_| MIB);
    assert!(line.have[&digest(2)] > had && had > 0, "from where it stopped");
}

#[test]
fn a_slow_download_that_nobody_waits_for_goes_on() {
    let mut line = Line::new(vec![wants(2, 100 * MIB)]);
    for _ in 0..HOUR {
        line.step(|_| 10);
        assert_eq!(line.runs(), Some(digest(2)));
    }
}

#[test]
fn large_downloads_take_turns() {
    let mut line = Line::new(vec![wants(2, 10_000 * MIB), wants(3, 10_000 * MIB), wants(4, 10_000 * MIB)]);
    for _ in 0..2 * HOUR {
        line.step(|_| MIB);
    }
    let had: Vec<u64> = line.have.values().map(|bytes| bytes / MIB).collect();
    assert!(had.len() == 3 && had.iter().all(|mib| (100..400).contains(mib)), "{had:?}");
}

#[test]
fn downloads_come_to_an_end_though_their_servers_begin_anew_each_time() {
    let mut line = Line::new(vec![wants(2, 120 * MIB), wants(3, 120 * MIB)]);
    line.anew = true;
    while line.done.len() < 2 {
        line.step(|_| MIB);
        assert!(line.steps < 4 * HOUR, "{:?}", line.have);
    }
}

#[test]
fn small_files_do_not_wait_for_large_ones() {
    let mut line = Line::new(vec![wants(2, 1000 * MIB)]);
    line.step(|_| MIB);
    line.plan(wants(3, MIB));
    while !line.done.contains_key(&digest(3)) {
        line.step(|_| MIB);
        assert!(line.steps < 5);
    }
    line.step(|_| MIB);
    assert_eq!(line.runs(), Some(digest(2)));
}

#[test]
fn a_model_that_nothing_answers_for_does_not_wait_for_candidates() {
    let mut world = World::with_stable();
    let mut large = candidate(2, "r");
    large.build.size_bytes = 1000 * MIB;
    world.plan(plan(2, Some(1), Some(large), &[]));
    let mut line = Line {
        world,
        sizes: [(digest(2), 1000 * MIB)].into(),
        have: BTreeMap::new(),
        done: BTreeMap::new(),
        steps: 0,
        anew: false,
    };
    assert_eq!(line.runs(), Some(digest(2)));
    line.step(|_| MIB);
    line.plan(settles(3, 999 * MIB));
    for _ in 0..2 {
        line.step(|_| MIB);
    }
    assert_eq!(line.runs(), Some(digest(3)));
}
