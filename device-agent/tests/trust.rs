//! A real agent on a real broker that follows a trust document: a key that is replaced, one that is stolen, and a version that
//! must not run any more.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use ed25519_dalek::SigningKey;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::plan::{EPOCH_MAX, REVISION_MAX};
use modelfleet_protocol::topic::Channel;
use modelfleet_test_support::pump_plan::{MODEL, infer_body, plan, roots, sealed_by, signer, trust_file};
use modelfleet_test_support::wait::wait;
use support::Agent;
use support::plant::Plant;

struct Fleet {
    plant: Plant,
    root: SigningKey,
}

impl Fleet {
    fn new() -> Fleet {
        let (plant, root) = (Plant::new(), SigningKey::from_bytes(&[1; 32]));
        fs::write(plant.dir.path().join("root.json"), serde_json::to_vec(&roots(&root)).unwrap()).unwrap();
        Fleet { plant, root }
    }

    fn agent(&self) -> Agent {
        let root = self.plant.dir.path().join("root.json");
        self.plant.agent_with(&["--trust-root", root.to_str().unwrap()])
    }

    fn plan(&self, key: &SigningKey, order: (u64, u64), stable: ModelBuild) {
        let mut next = plan(1, Some(stable), None);
        (next.order.epoch, next.order.revision) = order;
        self.plant.console.publish(Channel::Plan(MODEL.parse().unwrap()), sealed_by(key, &next));
    }

    fn trust(&self, version: u64, keys: &[&SigningKey], revoked: &[&SigningKey], floor: Option<&str>) {
        let file = trust_file(&self.root, version, keys, revoked, floor);
        self.plant.console.publish(Channel::Trust, file);
    }

    fn holds(&self, agent: &Agent, version: u64) {
        wait(&format!("the device to hold version {version}"), || {
            let state = self.plant.console.state(&agent.id)?;
            (state.trust_version == Some(version)).then_some(())
        });
    }

    fn runs(&self, agent: &Agent, version: &str) {
        let what = format!("{version} to be confirmed");
        self.plant.console.wait_model(&agent.id, &what, |m| {
            m.running.as_ref().is_some_and(|r| r.version.to_string() == version && r.confirmed)
        });
    }
}

fn refused(agent: &Agent) -> usize {
    agent.logged().matches("no trusted key signed the envelope").count()
}

#[test]
fn a_key_is_replaced_and_a_stolen_one_made_worthless_without_touching_the_device() {
    let fleet = Fleet::new();
    let (first, second) = (signer(), SigningKey::from_bytes(&[2; 32]));
    let mut agent = fleet.agent();
    fleet.plan(&first, (1, 1), fleet.plant.build("1.0.0"));
    fleet.runs(&agent, "1.0.0");
    fleet.holds(&agent, 0);

    // The new key's plan comes first, and is taken once the document names the key.
    fleet.plan(&second, (1, 2), fleet.plant.build("1.1.0"));
    wait("the plan to be refused", || (refused(&agent) > 0).then_some(()));
    fleet.trust(1, &[&first, &second], &[], None);
    fleet.runs(&agent, "1.1.0");
    fleet.holds(&agent, 1);

    // The first key is stolen: its last word is the last one that there can be.
    fleet.plan(&first, (EPOCH_MAX, REVISION_MAX), fleet.plant.build("1.2.0"));
    fleet.runs(&agent, "1.2.0");
    fleet.plan(&second, (1, 3), fleet.plant.build("1.0.0"));
    wait("the plan to be refused", || agent.logged().contains("is not newer than").then_some(()));
    // The plan that is with the broker is taken when the document ends the thief's, although the device knows it.
    fleet.trust(2, &[&second], &[&first], None);
    fleet.runs(&agent, "1.0.0");

    // A power cut later the document is still there, and the thief's key opens nothing.
    agent.kill();
    let before = agent.logged().len();
    let agent = fleet.agent();
    fleet.holds(&agent, 2);
    fleet.plan(&first, (EPOCH_MAX, REVISION_MAX), fleet.plant.build("1.2.0"));
    wait("the thief's plan to be refused", || {
        let log = agent.logged();
        let log = log.get(before.min(log.len())..).unwrap_or_default().to_owned();
        log.contains("no trusted key signed the envelope").then_some(())
    });
    fleet.plan(&second, (1, 4), fleet.plant.build("1.1.0"));
    fleet.runs(&agent, "1.1.0");
}

#[test]
fn a_version_below_the_floor_stops_at_once_and_stays_away_without_a_document_at_the_broker() {
    let fleet = Fleet::new();
    let key = signer();
    let mut agent = fleet.agent();
    fleet.plan(&key, (1, 1), fleet.plant.build("1.0.0"));
    fleet.runs(&agent, "1.0.0");
    fleet.trust(1, &[&key], &[], Some("1.1.0"));
    let stopped = |agent: &Agent| {
        wait("the model to stop", || {
            let (status, answer) = agent.ask("POST", &format!("/v2/models/{MODEL}/infer"), &infer_body());
            let told = "versions below 1.1.0 are forbidden for good";
            (status == 503 && answer["error"].as_str()?.contains(told)).then_some(())
        });
    };
    stopped(&agent);
    agent.kill();
    // The broker has lost the document. The device has not.
    fleet.plant.console.publish(Channel::Trust, Vec::new());
    let mut agent = fleet.agent();
    stopped(&agent);
    fleet.plan(&key, (1, 2), fleet.plant.build("1.2.0"));
    fleet.runs(&agent, "1.2.0");
    assert_eq!(agent.predict(1)["model_version"], "1.2.0");
    assert!(agent.stop());
}
