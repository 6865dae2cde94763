//! An agent that is killed, and one that is stopped: both go on where they were.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;

use ed25519_dalek::SigningKey;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::state::Phase;
use modelfleet_protocol::topic::Channel;
use modelfleet_test_support::pump_plan::{MODEL, candidate, plan, roots, sealed_by, signer, trust_file};
use modelfleet_test_support::wait::wait;
use support::plant::{Plant, running};

/// Killed after each of the states that it publishes on the way from an offer to a confirmed build: agents at the same
/// time, each killed at two of the six moments. Two builds take turns, so that every attempt is a download, a load and
/// a switch.
#[test]
fn a_device_killed_after_any_of_its_states_gets_there() {
    std::thread::scope(|scope| {
        for moments in [[1, 4], [2, 5], [3, 6]] {
            scope.spawn(move || killed_after(moments));
        }
    });
}

fn killed_after(moments: [u64; 2]) {
    let plant = Plant::new();
    let mut agent = plant.with_stable();
    let old = plant.build("1.0.0");
    for (revision, (states, version)) in (2..).zip(moments.into_iter().zip(["1.1.0", "1.2.0"])) {
        let (attempt, new) = (format!("r{states}"), plant.build(version));
        let before = plant.console.state(&agent.id).unwrap().sequence;
        let next = plan(revision, Some(old.clone()), Some(candidate(&attempt, new.clone())));
        plant.console.publish_plan(&next);
        wait("the state to be killed after", || {
            agent.predict(1);
            plant.console.state(&agent.id).filter(|state| state.sequence >= before + states)
        });
        agent.kill();
        agent = plant.agent();
        let state = plant.console.wait_model(&agent.id, "the attempt to be confirmed", |m| {
            agent.predict(1);
            let c = m.candidate.as_ref();
            c.is_some_and(|c| c.rollout == attempt && c.phase == Phase::Confirmed)
        });
        assert_eq!((running(&state), state.spare), (Some(new.digest), Some(old.digest)), "{states}");
    }
    let parts = fs::read_dir(agent.dir.join("state/blobs")).unwrap().map(|e| e.unwrap().path());
    let parts: Vec<PathBuf> = parts.filter(|path| path.extension().is_some()).collect();
    assert!(parts.is_empty(), "{parts:?}");
}

/// Killed around each step of a rotation: right after the plan of the new key, right after the document, and right after the
/// revocation. The document is there again before anything is heard from the broker, and no step is lost.
#[test]
fn a_device_killed_while_its_keys_change_gets_there() {
    let plant = Plant::new();
    let (root, first, second) =
        (SigningKey::from_bytes(&[1; 32]), signer(), SigningKey::from_bytes(&[2; 32]));
    let file = plant.dir.path().join("root.json");
    fs::write(&file, serde_json::to_vec(&roots(&root)).unwrap()).unwrap();
    let start = || plant.agent_with(&["--trust-root", file.to_str().unwrap()]);
    let publish = |key: &SigningKey, revision: u64, version: &str| {
        let payload = sealed_by(key, &plan(revision, Some(plant.build(version)), None));
        plant.console.publish(Channel::Plan(MODEL.parse().unwrap()), payload);
    };
    let document = |version: u64, keys: &[&SigningKey], revoked: &[&SigningKey]| {
        plant.console.publish(Channel::Trust, trust_file(&root, version, keys, revoked, None));
    };
    let runs = |id: &DeviceId, version: &str| {
        plant.console.wait_model(id, &format!("{version} to answer"), |m| {
            m.running.as_ref().is_some_and(|r| r.version.to_string() == version)
        });
    };
    let holds = |id: &DeviceId, version: u64| {
        wait("the version of the document", || {
            (plant.console.state(id)?.trust_version == Some(version)).then_some(())
        });
    };
    let mut agent = start();
    publish(&first, 1, "1.0.0");
    runs(&agent.id, "1.0.0");
    publish(&second, 2, "1.1.0");
    wait("the plan to be refused", || agent.logged().contains("no trusted key").then_some(()));
    agent.kill();
    document(1, &[&first, &second], &[]);
    agent = start();
    runs(&agent.id, "1.1.0");
    // The file is written before anything follows from it, so that each moment is good for a cut.
    document(2, &[&second], &[&first]);
    agent.kill();
    agent = start();
    holds(&agent.id, 2);
    agent.kill();
    // The broker has lost the document, and brings back what the first key had signed.
    plant.console.publish(Channel::Trust, Vec::new());
    publish(&first, 9, "1.2.0");
    let before = agent.logged().len();
    agent = start();
    wait("the plan to be refused", || agent.logged().get(before..)?.contains("no trusted key").then_some(()));
    holds(&agent.id, 2);
    publish(&second, 3, "1.0.0");
    runs(&agent.id, "1.0.0");
}

/// What a stop in order leaves behind: the windows that were open, and a mark that it was no crash.
#[test]
fn an_orderly_stop_loses_no_request_and_is_no_crash() {
    let plant = Plant::new();
    let mut agent = plant.with_stable();
    let new = plant.build("1.1.0");
    let mut patient = candidate("r1", new.clone());
    patient.probation.min_predictions = 1_000;
    let mut hourly = plan(2, Some(plant.build("1.0.0")), Some(patient));
    hourly.observe.window_ms = 3_600_000;
    plant.console.publish_plan(&hourly);
    plant.console.wait_phase(&agent.id, "r1", Phase::Activated);
    // One more than the crashes that make a loop.
    for _ in 0..4 {
        agent.predict(5);
        assert!(agent.stop());
        agent = plant.agent();
    }
    agent.predict(1);
    let state = plant.console.wait_phase(&agent.id, "r1", Phase::Activated);
    assert_eq!((running(&state), state.reverts), (Some(new.digest), 0));
    assert!(fs::metadata(agent.dir.join(format!("state/windows.{MODEL}"))).is_ok());
}
