//! An agent, a real broker, real models: from a plan to a confirmed build and back.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::plan::Mode;
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_test_support::console::Console;
use modelfleet_test_support::pump_plan::*;
use modelfleet_test_support::wait::wait;
use support::plant::{Plant, running};
use support::*;

#[test]
fn a_good_candidate_is_downloaded_activated_confirmed_and_reported() {
    let plant = Plant::new();
    let agent = plant.with_stable();
    let (old, new) = (plant.build("1.0.0"), plant.build("1.1.0"));
    plant.console.publish_plan(&plan(2, Some(old.clone()), Some(candidate("r1", new.clone()))));
    plant.console.wait_phase(&agent.id, "r1", Phase::Activated);
    let answer = agent.predict(5);
    assert_eq!(answer["model_version"], "1.1.0");
    let state = plant.console.wait_phase(&agent.id, "r1", Phase::Confirmed);
    assert_eq!(running(&state), Some(new.digest));
    assert_eq!(state.spare, Some(old.digest));
    assert_eq!(state.running.unwrap().engine, "OnnxRuntime");

    let report = wait("a report with requests", || {
        let report = plant.console.report(&agent.id)?;
        let requests: u64 =
            report.windows.iter().filter_map(|w| w.counters.as_ref()).map(|c| c.requests).sum();
        (report.digest == new.digest.0 && requests >= 3).then_some(report)
    });
    assert_eq!(report.rollout, "r1");
    assert!(plant.console.presence(&agent.id).unwrap().online);
    let slots = agent.dir.join("state/slots").join(MODEL);
    let active = slots.join(fs::read_link(slots.join("active")).unwrap());
    assert!(fs::read_link(active).unwrap().ends_with(new.digest.hex()));
}

#[test]
fn going_back_needs_no_download() {
    let mut plant = Plant::new();
    let agent = plant.with_stable();
    let (old, new) = (plant.build("1.0.0"), plant.build("1.1.0"));
    plant.console.publish_plan(&plan(2, Some(old.clone()), Some(candidate("r1", new.clone()))));
    plant.console.wait_phase(&agent.id, "r1", Phase::Activated);
    // No artifact server any more.
    plant.server = None;
    let mut back = plan(3, Some(old.clone()), Some(candidate("r1", new.clone())));
    back.rejected = vec![new.digest];
    plant.console.publish_plan(&back);
    let state =
        plant.console.wait_model(&agent.id, "1.0.0 to answer again", |m| running(m) == Some(old.digest));
    assert_eq!(state.candidate.unwrap().phase, Phase::RolledBack);
    assert_eq!(agent.predict(1)["model_version"], "1.0.0");
}

#[test]
fn wrong_bytes_are_never_parsed() {
    let plant = Plant::new();
    let agent = plant.with_stable();
    let old = plant.build("1.0.0");
    let mut forged = plant.build("1.2.0");
    forged.digest = Digest::of(b"other bytes");
    plant.console.publish_plan(&plan(2, Some(old.clone()), Some(candidate("r1", forged))));
    let state = plant.console.wait_phase(&agent.id, "r1", Phase::Failed);
    assert_eq!(state.candidate.as_ref().unwrap().failure.as_ref().unwrap().code, FailureCode::DigestMismatch);
    assert_eq!(running(&state), Some(old.digest));
    let blobs: Vec<PathBuf> =
        fs::read_dir(agent.dir.join("state/blobs")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(blobs.len(), 1, "{blobs:?}");
}

#[test]
fn a_missing_operator_is_an_incompatibility_before_activation() {
    let plant = Plant::new();
    let agent = plant.with_stable();
    let (old, new) = (plant.build("1.0.0"), plant.build("1.5.0"));
    plant.console.publish_plan(&plan(2, Some(old.clone()), Some(candidate("r1", new))));
    let state = plant.console.wait_phase(&agent.id, "r1", Phase::Incompatible);
    let failure = state.candidate.as_ref().unwrap().failure.clone().unwrap();
    assert_eq!(failure.code, FailureCode::OperatorMissing, "{failure:?}");
    assert_eq!(running(&state), Some(old.digest));
}

#[test]
fn a_wrong_golden_answer_fails_before_activation() {
    use modelfleet_protocol::model::{SelfTest, Values};
    let plant = Plant::new();
    let agent = plant.with_stable();
    let (old, mut new) = (plant.build("1.0.0"), plant.build("1.1.0"));
    let input = Values {
        name: "features".into(),
        values: vec![0.1, 0.4, 3.5, -0.1, 58782.0, 13805.0, 339.0],
        texts: Vec::new(),
    };
    let wrong = Values { name: "label".into(), values: vec![7.0], texts: Vec::new() };
    new.self_test = vec![SelfTest { inputs: vec![input], outputs: vec![wrong], tolerance: 1e-4 }];
    plant.console.publish_plan(&plan(2, Some(old.clone()), Some(candidate("r1", new))));
    let state = plant.console.wait_phase(&agent.id, "r1", Phase::Failed);
    assert_eq!(
        state.candidate.as_ref().unwrap().failure.as_ref().unwrap().code,
        FailureCode::SelfTestMismatch
    );
    assert_eq!(running(&state), Some(old.digest));
}

#[test]
fn a_device_killed_at_any_time_goes_on_where_it_was() {
    let plant = Plant::new();
    let mut agent = plant.with_stable();
    let (old, new) = (plant.build("1.0.0"), plant.build("1.1.0"));
    plant.console.publish_plan(&plan(2, Some(old), Some(candidate("r1", new.clone()))));
    agent.predict(1);
    plant.console.wait_phase(&agent.id, "r1", Phase::Activated);
    agent.predict(5);
    plant.console.wait_phase(&agent.id, "r1", Phase::Confirmed);
    let before = plant.console.state(&agent.id).unwrap();
    agent.kill();
    wait("the last will", || plant.console.presence(&agent.id).filter(|p| !p.online));

    let agent = plant.agent();
    assert_eq!(agent.predict(1)["model_version"], "1.1.0");
    wait("a newer state", || plant.console.state(&agent.id).filter(|s| s.sequence > before.sequence));
    let state = plant.console.wait_phase(&agent.id, "r1", Phase::Confirmed);
    assert_eq!(running(&state), Some(new.digest));
    let presence = wait("it to be online", || plant.console.presence(&agent.id).filter(|p| p.online));
    assert!(presence.connection > 1);
}

#[test]
fn a_second_agent_on_the_same_folder_does_not_start() {
    let plant = Plant::new();
    let mut agent = plant.agent();
    agent.api();
    let mut second = plant.agent();
    assert!(!second.wait_end());
    assert!(second.logged().contains("in use by another agent"), "{}", second.logged());
    wait("it to be online", || plant.console.presence(&agent.id).filter(|p| p.online));
    assert!(agent.stop(), "an orderly stop");
    let presence = wait("it to be offline", || plant.console.presence(&agent.id).filter(|p| !p.online));
    assert!(!presence.online);
}

#[test]
fn the_broker_may_go_and_come_back() {
    let mut plant = Plant::new();
    let agent = plant.with_stable();
    let before = plant.console.presence(&agent.id).unwrap();
    plant.broker.part().stop();
    // Predictions go on without it.
    agent.predict(3);
    plant.broker.start_again().unwrap();
    wait("a newer connection", || {
        plant.console.presence(&agent.id).filter(|p| p.online && p.connection > before.connection)
    });
    let new = plant.build("1.1.0");
    plant.console.publish_plan(&plan(2, Some(plant.build("1.0.0")), Some(candidate("r1", new))));
    plant.console.wait_phase(&agent.id, "r1", Phase::Activated);
}

#[test]
fn a_shadow_is_counted_and_never_answers() {
    let plant = Plant::new();
    let agent = plant.with_stable();
    let (old, new) = (plant.build("1.0.0"), plant.build("1.1.0"));
    let mut shadow = candidate("r1", new.clone());
    shadow.mode = Mode::Shadow;
    plant.console.publish_plan(&plan(2, Some(old), Some(shadow)));
    plant.console.wait_model(&agent.id, "the shadow to be there", |m| {
        m.candidate.as_ref().is_some_and(|c| c.phase >= Phase::Activated && c.phase <= Phase::Confirmed)
    });
    wait("a report of the shadow", || {
        assert_eq!(agent.predict(1)["model_version"], "1.0.0");
        let report = plant.console.report(&agent.id).filter(|r| r.digest == new.digest.0)?;
        let of = |count: fn(&Counters) -> u64| -> u64 {
            report.windows.iter().filter_map(|w| w.counters.as_ref()).map(count).sum()
        };
        let (requests, compared, agreed) = (of(|c| c.requests), of(|c| c.compared), of(|c| c.agreed));
        // It is the same reading each time: the two agree on all or on none.
        assert!(agreed == compared || agreed == 0, "{agreed} of {compared}");
        (requests > 0 && compared > 0).then_some(())
    });
}

#[test]
fn a_plan_of_a_foreign_key_is_not_obeyed() {
    use modelfleet_protocol::envelope::{PLAN_TYPE, seal};
    use modelfleet_protocol::topic::Channel;
    let plant = Plant::new();
    let agent = plant.with_stable();
    let forged = plan(9, Some(plant.build("1.1.0")), None);
    let foreign = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let payload = seal(&foreign, PLAN_TYPE, &serde_json::to_vec(&forged).unwrap());
    plant.console.publish(Channel::Plan(MODEL.parse().unwrap()), payload);
    wait("the refusal", || agent.logged().contains("no trusted key signed").then_some(()));
    for hostile in [&b"\xff\xfe"[..], b"{}", b"{\"payloadType\":1}"] {
        plant.console.publish(Channel::Override(agent.id.clone()), hostile.to_vec());
    }
    let good = candidate("r1", plant.build("1.2.0"));
    plant.console.publish_plan(&plan(2, Some(plant.build("1.0.0")), Some(good)));
    let state = plant.console.wait_phase(&agent.id, "r1", Phase::Activated);
    assert_eq!(state.plan.revision, 2);
    assert_eq!(agent.predict(1)["model_version"], "1.2.0");
}

#[test]
fn without_an_engine_the_device_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path());
    let console = Console::connect(&broker);
    let agent = Agent::start("pump-001", &dir.path().join("a"), &broker, &["--engines", "none"]);
    let build = pump_build("1.0.0", &pump_model("1.0.0"), file_uri("1.0.0"));
    console.publish_plan(&plan(1, None, Some(candidate("r1", build))));
    let state = console.wait_phase(&agent.id, "r1", Phase::Incompatible);
    assert_eq!(state.candidate.unwrap().failure.unwrap().code, FailureCode::EngineMissing);
    assert!(console.state(&agent.id).unwrap().capabilities.engines.is_empty());
}

fn file_uri(version: &str) -> String {
    let path = examples().join(format!("pumps/models/pump-anomaly-{version}.onnx"));
    format!("file://{}", path.canonicalize().unwrap().display())
}

#[test]
fn a_model_that_only_rten_can_run_runs_on_rten() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path());
    let console = Console::connect(&broker);
    let agent = Agent::start("watch-001", &dir.path().join("a"), &broker, &["--engines", "rten"]);
    let path: &Path = &examples().join("wearable/models/motion-1.0.0.onnx").canonicalize().unwrap();
    let bytes = fs::read(path).unwrap();
    let mut build = pump_build("1.0.0", &bytes, format!("file://{}", path.display()));
    build.opsets = [("ai.onnx".to_owned(), 17)].into();
    (build.inputs, build.outputs, build.decision) = (Vec::new(), Vec::new(), None);
    console.publish_plan(&plan(1, Some(build), None));
    wait("it to be ready", || (agent.ask("GET", "/v2/health/ready", "").0 == 200).then_some(()));
    let state = console.wait_model(&agent.id, "it to run", |m| m.running.is_some());
    assert_eq!(state.running.unwrap().engine, "Rten");
    let data = vec!["0.1"; 600].join(",");
    let body =
        format!(r#"{{"inputs":[{{"name":"motion","shape":[1,600],"datatype":"FP32","data":[{data}]}}]}}"#);
    let (status, answer) = agent.ask("POST", &format!("/v2/models/{MODEL}/infer"), &body);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 2, "{answer}");
}
