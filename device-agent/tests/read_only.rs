//! A real agent whose folder takes no writes any more, or whose settings cannot be read.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::process::Command;

use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::console::Console;
use modelfleet_test_support::pump_plan::*;
use modelfleet_test_support::wait::wait;
use support::*;

/// An agent that answers with its stable build.
fn lived_in(console: &Console, home: &std::path::Path, broker: &Broker, more: &[&str]) -> Agent {
    let path = examples().join("pumps/models/pump-anomaly-1.0.0.onnx").canonicalize().unwrap();
    let build = pump_build("1.0.0", &pump_model("1.0.0"), format!("file://{}", path.display()));
    console.publish_plan(&plan(1, Some(build), None));
    let agent = Agent::start("pump-001", home, broker, more);
    agent.predict(1);
    agent
}

#[test]
fn what_is_there_is_served_and_the_device_says_so() {
    let own_mounts = Command::new("unshare").args(["-rm", "true"]).status();
    assert!(own_mounts.is_ok_and(|status| status.success()), "this test needs `unshare -rm` to work");
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path());
    let runtime = onnxruntime();
    let more = ["--onnxruntime", runtime.to_str().unwrap()];
    let (console, home) = (Console::connect(&broker), dir.path().join("a"));
    let mut agent = lived_in(&console, &home, &broker, &more);
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
    assert!(agent.logged().contains("the folder cannot be written"));
    let presence = wait("it to be online", || console.presence(&agent.id).filter(|p| p.online));
    assert!(presence.online);

    // Two agents on one folder would fight for the broker, and, were it writable again, for the record.
    let mut second = Agent::start("pump-001", &home, &broker, &more);
    assert!(!second.wait_end());
    assert!(second.logged().contains("in use by another agent"));
    assert_eq!(agent.ask("GET", "/v2/health/live", "").0, 200);
}

#[test]
fn a_folder_where_the_plan_key_was_silences_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path());
    let runtime = onnxruntime();
    let more = ["--onnxruntime", runtime.to_str().unwrap()];
    let (console, home) = (Console::connect(&broker), dir.path().join("a"));
    let mut agent = lived_in(&console, &home, &broker, &more);
    agent.kill();
    let key = home.join("plan.key");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();

    let mut agent = Agent::start("pump-001", &home, &broker, &more);
    agent.predict(1);
    let (status, ready) = agent.ask("GET", "/v2/health/ready", "");
    let trouble = ready["trouble"].as_str().unwrap().to_owned();
    assert!(
        status == 200 && trouble.contains("plan.key") && trouble.contains("a file is expected"),
        "{ready}"
    );
    fs::remove_dir(&key).unwrap();
    write_plan_key(&key);
    assert!(!agent.wait_end(), "its supervisor starts it again, with the key");
    assert!(agent.logged().contains("can be read again"));

    // A device that is new here has nothing to go on with, and says what to do.
    let home = dir.path().join("b");
    fs::create_dir_all(home.join("plan.key")).unwrap();
    let mut agent = Agent::start("pump-002", &home, &broker, &more);
    assert!(!agent.wait_end());
    assert!(agent.logged().contains("a file is expected"));
}
