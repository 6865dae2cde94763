//! Many devices in one process.

#![allow(clippy::unwrap_used)]

mod process;

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::membership::Clause;
use modelfleet_protocol::state::Phase;
use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::console::Console;
use modelfleet_test_support::endless_model::endless;
use modelfleet_test_support::pump_plan::{candidate, plan, pump_build, pump_model};
use modelfleet_test_support::wait::wait;
use process::{Fleet, stable};

#[test]
fn devices_of_one_process_predict_learn_the_truth_and_report() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_open_durable(dir.path()).unwrap();
    let more = ["--count", "12", "--rate", "20", "--truth-delay-ms", "100", "--except", "pump-002"];
    let _fleet = Fleet::start(dir.path(), &broker, &more);
    let console = Console::connect(&broker);
    console.publish_plan(&stable());
    for id in ["pump-001", "pump-003", "pump-013"] {
        let id = id.parse().unwrap();
        let report = wait("a report with truths", || {
            let report = console.report(&id)?;
            let told = report.windows.iter().filter_map(|w| w.counters.as_ref()).any(|c| {
                c.requests > 0 && c.true_positive + c.true_negative + c.false_positive + c.false_negative > 0
            });
            told.then_some(report)
        });
        assert_eq!(report.digest, Digest::of(&pump_model("1.0.0")).0);
        assert!(!console.state(&id).unwrap().labels["age"].is_empty());
    }
    assert!(console.state(&"pump-002".parse().unwrap()).is_none(), "it runs elsewhere");
}

/// Requests that a device of the fleet has counted for 1.0.0, by its newest report.
fn counted(console: &Console, id: &str) -> u64 {
    let report = console.report(&id.parse().unwrap());
    let report = report.filter(|r| r.digest == Digest::of(&pump_model("1.0.0")).0);
    report.map_or(0, |r| r.windows.iter().filter_map(|w| w.counters).map(|c| c.requests).sum())
}

/// All devices of the process share one thread, and one of them gets a build that never comes to an end.
#[test]
fn a_build_that_hangs_on_one_device_of_a_process_leaves_the_others_going() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_open_durable(dir.path()).unwrap();
    let more = ["--count", "3", "--rate", "10", "--threads", "1", "--prediction-timeout-ms", "300"];
    let _fleet = Fleet::start(dir.path(), &broker, &more);
    let console = Console::connect(&broker);
    let stable = stable();
    console.publish_plan(&stable);
    let (ill, well) = ("pump-001", ["pump-002", "pump-003"]);
    console.wait_model(&ill.parse().unwrap(), "1.0.0 to be confirmed", |m| {
        m.running.as_ref().is_some_and(|r| r.confirmed)
    });

    let path = dir.path().join("endless.onnx");
    std::fs::write(&path, endless()).unwrap();
    let mut build = pump_build("2.0.0", &endless(), format!("file://{}", path.display()));
    (build.opsets, build.outputs, build.decision) = (Default::default(), Vec::new(), None);
    let mut hung = candidate("r1", build);
    hung.membership.clauses = vec![Clause { devices: vec![ill.parse().unwrap()], ..Clause::default() }];
    console.publish_plan(&plan(2, stable.stable.clone(), Some(hung)));
    console.wait_phase(&ill.parse().unwrap(), "r1", Phase::Reverted);
    // Everybody goes on, the one that went back as well.
    for id in well.iter().chain([&ill]) {
        let before = counted(&console, id);
        wait("further predictions", || (counted(&console, id) > before + 10).then_some(()));
    }
}
