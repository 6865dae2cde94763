//! A real agent whose folder takes no writes any more.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::process::Command;

use support::broker::{Console, Mosquitto};
use support::*;

#[test]
fn what_is_there_is_served_and_the_device_says_so() {
    if !Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        return skipped("no mounts of one's own");
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(broker) = Mosquitto::start(dir.path()) else { return };
    let Some(runtime) = onnxruntime() else { return };
    let more = ["--onnxruntime", runtime.to_str().unwrap()];
    let (console, home) = (Console::connect(&broker), dir.path().join("a"));
    let path = examples().join("pumps/models/pump-anomaly-1.0.0.onnx").canonicalize().unwrap();
    let build = pump_build("1.0.0", &pump_model("1.0.0"), format!("file://{}", path.display()));
    console.publish_plan(&plan(1, Some(build), None));
    let mut agent = Agent::start("pump-001", &home, &broker, &more);
    agent.predict(1);
    let address = agent.api();
    agent.kill();
    // The hardest case: a lock cannot even be made.
    fs::remove_file(home.join("state/lock")).unwrap();

    let agent = Agent::start_read_only("pump-001", &home, &broker, &more);
    let answer = wait("an answer", || {
        let path = format!("/v2/models/{MODEL}/infer");
        let (status, answer) = server::request(&address, "POST", &path, &infer_body());
        (status == 200).then_some(answer)
    });
    assert_eq!(answer["model_version"], "1.0.0");
    let (status, ready) = agent.ask("GET", "/v2/health/ready", "");
    assert_eq!(status, 200);
    assert!(ready["trouble"].as_str().unwrap().contains("Read-only file system"), "{ready}");
    assert!(agent.logged().contains("the folder takes no writes"));
    let presence = wait("it to be online", || console.presence(&agent.id).filter(|p| p.online));
    assert!(presence.online);

    // Two agents on one folder would fight for the broker, and, were it writable again, for the record.
    let mut second = Agent::start("pump-001", &home, &broker, &more);
    assert!(!second.wait_end());
    assert!(second.logged().contains("in use by another agent"));
    assert_eq!(agent.ask("GET", "/v2/health/live", "").0, 200);
}
