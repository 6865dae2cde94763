//! Many devices in one process.

#![allow(clippy::unwrap_used)]

mod support;

use support::broker::{Console, Mosquitto};
use support::fleet::{Fleet, stable};
use support::*;

#[test]
fn devices_of_one_process_predict_learn_the_truth_and_report() {
    let dir = tempfile::tempdir().unwrap();
    let Some(broker) = Mosquitto::anonymous(dir.path()) else { return };
    let more = ["--count", "12", "--rate", "20", "--truth-delay-ms", "100", "--except", "pump-002"];
    let Some(_fleet) = Fleet::start(dir.path(), &broker, &more) else { return };
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
        assert_eq!(report.digest, modelfleet_protocol::ids::Digest::of(&pump_model("1.0.0")).0);
        assert!(!console.state(&id).unwrap().labels["age"].is_empty());
    }
    assert!(console.state(&"pump-002".parse().unwrap()).is_none(), "it runs elsewhere");
}
