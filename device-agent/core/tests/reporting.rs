//! Laws of what is reported, whatever happens in between.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_agent_core::agent::Agent;
use modelfleet_agent_core::interface::{Input, Output};
use modelfleet_agent_core::saved::{Saved, SavedModel};
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;
use proptest::prelude::*;
use prost::Message as _;
use world::{WINDOW_MS, World, candidate, digest, identity, model, plan};

fn closed(model: modelfleet_protocol::ids::ModelName, digest: Digest, index: u64, requests: u64) -> Input {
    let counters = Counters { requests, errors: requests / 10, ..Counters::default() };
    let window = Box::new(WindowSummary { index, span: 1, counters, ..WindowSummary::default() });
    Input::WindowClosed { model, digest, window_ms: WINDOW_MS, window }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reports_hold_every_window_since_the_rollout_began(
        steps in prop::collection::vec((0_u64..4, 0_u64..1000, 0_u8..20), 1..300),
        since in 0_u64..200,
    ) {
        let mut world = World::new();
        world.connect();
        let base = world::START.window_index(WINDOW_MS);
        let mut first = plan(1, Some(1), None, &[]);
        first.observe.since = Time(base * WINDOW_MS);
        world.plan(first);
        world.pass(120_000);
        world.settle();
        let (mut seen, mut index) = (Vec::<(u64, u64)>::new(), base);
        let mut rebased = base;
        let mut held = 1;
        for (i, (gap, requests, what)) in steps.into_iter().enumerate() {
            index += gap;
            match what {
                0 => world.crash_after_report(),
                1 => {
                    let counters = Counters { true_positive: 1, ..Counters::default() };
                    world.feed(Input::TruthArrived {
                        model: model(), digest: digest(1), window_ms: WINDOW_MS, index, counters,
                    });
                }
                _ => {
                    world.feed(closed(model(), digest(1), index, requests));
                    seen.push((index, requests));
                }
            }
            if i == 100 {
                rebased = base + since;
                let mut next = plan(2, Some(1), None, &[]);
                next.observe.since = Time(rebased * WINDOW_MS);
                world.plan(next);
                held = 2;
            }
        }
        world.pass(10_000_000);
        let expected: u64 = seen.iter().filter(|(i, _)| *i >= rebased).map(|(_, r)| r).sum();
        if expected > 0 {
            let report = world.reports.last().unwrap();
            prop_assert_eq!(report.plan_revision, held, "the newest plan that the device has taken");
            let total: u64 = report.windows.iter().filter_map(|w| w.counters).map(|c| c.requests).sum();
            prop_assert_eq!(total, expected);
            let windows: std::collections::BTreeSet<u64> =
                seen.iter().map(|(i, _)| *i).filter(|i| *i >= rebased).collect();
            let spans: u32 = report.windows.iter().map(|w| w.span).sum();
            prop_assert_eq!(spans as usize, windows.len());
            prop_assert!(report.windows.len() <= 64);
            if rebased > base && let Some(history) = &report.history {
                prop_assert!(history.through_index < rebased);
            }
        }
    }
}

impl World {
    /// A loss of power after everything that was reported is on disk, too.
    fn crash_after_report(&mut self) {
        self.pass(10_000_000);
        self.crash();
        self.answer_all();
        self.connect();
    }
}

/// A broker with a small limit, which is told with every connection.
#[test]
fn a_report_is_no_larger_than_the_connection_takes() {
    let mut world = World::with_stable();
    world.plan(plan(2, Some(1), Some(candidate(2, "r")), &[]));
    world.settle();
    assert_eq!(world.serving, Some(digest(2)));
    let base = world.now.window_index(WINDOW_MS);
    (0..60).for_each(|n| drop(world.feed(closed(model(), digest(2), base + n, 100))));
    for payload_bytes_max in [700, 400, usize::MAX] {
        world.feed(Input::Disconnected);
        world.feed(Input::Connecting);
        world.feed(Input::Connected { payload_bytes_max });
        world.feed(closed(model(), digest(2), base, 1));
        world.pass(10 * WINDOW_MS);
        let report = world.reports.last().unwrap();
        assert!(report.encoded_len() <= payload_bytes_max, "{} bytes", report.encoded_len());
        assert_eq!(report.windows.iter().map(|w| w.span).sum::<u32>(), 60);
    }
    let report = world.reports.last().unwrap();
    let requests: u64 = report.windows.iter().filter_map(|w| w.counters).map(|c| c.requests).sum();
    assert_eq!((report.windows.len(), requests), (60, 60 * 100 + 3), "with room all windows stand alone");
}

#[test]
fn arbitrary_bytes_are_no_windows() {
    for bytes in [vec![], vec![0xff; 100], b"\x0a\x03\x0a\x01\x00".to_vec()] {
        let windows = BTreeMap::from([(model(), bytes)]);
        let mut saved = Saved::default();
        let kept = SavedModel { plan: Some(Arc::new(plan(1, Some(1), None, &[]))), ..SavedModel::default() };
        saved.models.insert(model(), kept);
        let mut agent =
            Agent::new(identity(), modelfleet_agent_core::interface::Limits::default(), saved, &windows);
        let step = agent.step(Time(0), Input::Started { boot: None });
        assert!(!step.outputs.iter().any(|o| matches!(o, Output::Switch { .. })));
    }
}
