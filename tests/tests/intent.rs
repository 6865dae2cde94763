//! What a person does in the middle of a rollout: pause, go on, abort, delete, and mistakes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may end where it stands")]

use std::time::{Duration, Instant};

use modelfleet_tests::plant::{NAMESPACE, Plant, PlantSize};
use modelfleet_tests::rollout_view::RolloutView;
use modelfleet_tests::short_rollout::ShortRollout;

const LIMIT: Duration = Duration::from_mins(3);

fn reached(plant: &Plant, version: &str, what: &str, look: impl Fn(&RolloutView) -> bool) -> RolloutView {
    plant.reached(version, what, LIMIT, look).unwrap()
}

fn patch(plant: &Plant, rollout: &ShortRollout, spec: &str) {
    let body = format!("{{\"spec\":{spec}}}");
    plant
        .kubectl
        .run(&["-n", NAMESPACE, "patch", "rollout", &rollout.name(), "--type=merge", "-p", &body])
        .unwrap();
}

#[test]
fn a_person_stays_in_charge() {
    let dir = tempfile::tempdir().unwrap();
    let size = PlantSize { devices: 40, processes: 1 };
    let plant = Plant::start(&dir.path().join("plant"), &size, &mut |what| println!("start {what}")).unwrap();
    let first = ShortRollout { stages: vec![("full", "100%")], bake_s: 6, ..ShortRollout::of("1.0.0") };
    first.begin(&plant).unwrap();
    reached(&plant, "1.0.0", "the end", |v| v.phase() == "Succeeded");

    println!("== pause, resume, abort, retry");
    let second = ShortRollout { bake_s: 6, ..ShortRollout::of("1.1.0") };
    second.begin(&plant).unwrap();
    reached(&plant, "1.1.0", "its canaries", |v| v.devices("activated") > 0);
    patch(&plant, &second, r#"{"paused":true}"#);
    let paused = reached(&plant, "1.1.0", "the pause", |v| v.phase() == "Paused");
    assert_eq!(paused.condition("Paused").unwrap().0, "True");
    patch(&plant, &second, r#"{"paused":false}"#);
    reached(&plant, "1.1.0", "to go on", |v| v.phase() == "Progressing");
    patch(&plant, &second, r#"{"abort":true}"#);
    reached(&plant, "1.1.0", "to be rolled back", |v| v.phase() == "RolledBack");
    assert_eq!(plant.version_stage("1.1.0").unwrap().0, "Verified", "an abort rejects nothing");
    patch(&plant, &second, r#"{"abort":false,"retryToken":"again"}"#);
    reached(&plant, "1.1.0", "to start again", |v| v.phase() == "Progressing");

    println!("== a second rollout of the model waits its turn");
    let third = ShortRollout { bake_s: 6, ..ShortRollout::of("1.4.0") };
    third.begin(&plant).unwrap();
    reached(&plant, "1.4.0", "to queue", |v| v.phase() == "Queued");
    reached(&plant, "1.1.0", "the end", |v| v.phase() == "Succeeded");

    println!("== delete in the middle");
    reached(&plant, "1.4.0", "its canaries", |v| v.devices("activated") > 0);
    let started = Instant::now();
    plant.kubectl.run(&["-n", NAMESPACE, "delete", "rollout", &third.name(), "--timeout=90s"]).unwrap();
    println!("deleted in {:?}", started.elapsed());

    println!("== mistakes wait on the object and say what to do");
    let unknown = ShortRollout::of("9.9.9");
    let file = dir.path().join("unknown.yaml");
    std::fs::write(&file, unknown.yaml()).unwrap();
    plant.kubectl.apply(NAMESPACE, &file).unwrap();
    let told = reached(&plant, "9.9.9", "to say what is wrong", |v| v.message().contains("9.9.9"));
    assert!(!told.is_over(), "{}", told.0);
    let shrinking =
        ShortRollout { stages: vec![("canary", "50%"), ("full", "10%")], ..ShortRollout::of("1.3.0") };
    std::fs::write(&file, shrinking.yaml()).unwrap();
    let refused = plant.kubectl.apply(NAMESPACE, &file).unwrap_err().to_string();
    assert!(refused.contains("stages") && refused.contains("100%"), "{refused}");
}
