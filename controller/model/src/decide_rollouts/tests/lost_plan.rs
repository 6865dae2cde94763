//! Objects without statuses, a broker without plans, and devices that hold one.

use modelfleet_protocol::plan::Order;

use super::*;
use crate::plan::DesiredPlan;
use crate::recall::WAIT_MS;
use crate::version_facts::stage;
use modelfleet_crds::model_version::VersionStage;

impl Stage {
    /// A connected device that says which plan it took.
    fn took(mut self, device: &str, (epoch, revision): (u64, u64)) -> Stage {
        let running =
            json!({"digest": Digest::of(b"1.1.0"), "version": "1.1.0", "activated": 5, "confirmed": true});
        let state = json!({
            "device": device, "sequence": 1, "at": 1, "agent": "test", "labels": {},
            "models": [{"model": "m", "running": running, "plan": {
                "epoch": epoch, "revision": revision, "issued": 0, "expires": 1,
            }}],
        });
        let shard = modelfleet_protocol::ids::shard(&device.parse().unwrap());
        let topic = format!("mf/1/plant/device/{shard:02x}/{device}/state");
        let _ = self.index.fold(&topic, state.to_string().as_bytes(), false, NOW);
        self
    }

    /// A device sends the plan that it holds: 1.1.0 in production, 1.2.0 rejected.
    fn sends(&mut self, (epoch, revision): (u64, u64), signer: &SigningKey) -> bool {
        let order = Order { epoch, revision, issued: Time(0), expires: Time(1) };
        let plan = json!({
            "namespace": "plant", "model": "m", "epoch": 1, "revision": 1, "issued": 0, "expires": 1,
            "rejected": [Digest::of(b"1.2.0")],
            "stable": {
                "model": "m", "version": "1.1.0", "digest": Digest::of(b"1.1.0"), "uri": "file:///m.onnx",
                "sizeBytes": 1, "format": "Onnx",
            },
        });
        let plan = Plan { order, ..serde_json::from_value(plan).unwrap() };
        self.ledger.recall(&key(), &seal(signer, PLAN_TYPE, &to_json(&plan)))
    }

    fn stage_of(decision: &ModelDecision, version: &str) -> VersionStage {
        stage(&decision.objects.versions[version])
    }
}

/// Three versions and the rollout of the first, as files in Git say them.
fn rebuilt() -> Stage {
    let stage = ["1.0.0", "1.1.0", "1.2.0"]
        .into_iter()
        .fold(Stage::new(), |stage, version| stage.version(version, verified()));
    let queued = State { phase: Phase::Queued, ..State::default() };
    stage.rollout("1.0.0", queued, |_| {})
}

fn waits(decision: &ModelDecision) -> bool {
    let reasons = &decided(&decision.rollouts[0]).decision.reasons;
    reasons.iter().any(|reason| reason.message.contains("for a device to send the plan that it holds"))
}

#[test]
fn what_is_in_production_and_rejected_comes_back_from_a_device() {
    let mut stage = rebuilt().took("d1", (7, 3)).took("d2", (7, 3)).took("d3", (6, 9));
    let decision = stage.decision();
    assert!(waits(&decision), "{:?}", decided(&decision.rollouts[0]).decision.reasons);
    assert_eq!((decision.plan, decision.wake_at), (DesiredPlan::Unchanged, Some(NOW.after_ms(WAIT_MS))));

    let (own, other) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
    assert!(!stage.sends((9, 9), &other), "another key's plan is no plan of ours");
    assert!(stage.sends((6, 9), &own));
    assert!(waits(&stage.decision()), "an older plan than most devices took does not count yet");

    assert!(stage.sends((7, 3), &own));
    assert!(!stage.sends((7, 3), &own), "the same once more is nothing new");
    let decision = stage.decision();
    assert_eq!(Stage::stage_of(&decision, "1.1.0"), VersionStage::Production);
    assert_eq!(Stage::stage_of(&decision, "1.2.0"), VersionStage::Rejected);
    let DesiredPlan::Plan(plan) = &decision.plan else { panic!("{:?}", decision.plan) };
    assert_eq!(plan.stable.as_ref().unwrap().version.to_string(), "1.1.0");
    assert_eq!((plan.candidate.is_none(), plan.rejected.clone()), (true, vec![Digest::of(b"1.2.0")]));
    assert_eq!(decision.wake_at, None);
}

/// Devices may say what they like: it makes no wait longer, and brings nothing into production.
#[test]
fn the_wait_ends_after_a_quarter_of_an_hour() {
    let mut stage = rebuilt().took("d1", (7, 3));
    stage.index.complete(&key().0, Time(NOW.0 - WAIT_MS));
    let decision = stage.decision();
    assert!(!waits(&decision) && decision.wake_at.is_none());
    assert_eq!(Stage::stage_of(&decision, "1.1.0"), VersionStage::Verified);

    // The clock was months ahead when all was read, and is right again.
    let mut stage = rebuilt().took("d1", (7, 3));
    stage.index.complete(&key().0, NOW.after_ms(90 * 86_400_000));
    assert!(!waits(&stage.decision()));

    // What has come by then counts, however old it is.
    let mut stage = rebuilt().took("d1", (7, 3));
    assert!(stage.sends((6, 9), &SigningKey::from_bytes(&[7; 32])));
    stage.index.complete(&key().0, Time(NOW.0 - WAIT_MS));
    assert_eq!(Stage::stage_of(&stage.decision(), "1.1.0"), VersionStage::Production);
}

/// The broker came back with what it had some time ago.
#[test]
fn a_plan_at_the_broker_that_is_older_than_what_devices_took_does_not_count_before_theirs() {
    let own = SigningKey::from_bytes(&[7; 32]);
    let older = || rebuilt().took("d1", (7, 3)).holds("1.0.0", "1.2.0");
    let mut stage = older();
    assert!(waits(&stage.decision()));
    assert!(!stage.sends((1, 1), &own), "what the broker has is nothing new");
    assert!(stage.sends((7, 3), &own));
    assert_eq!(Stage::stage_of(&stage.decision(), "1.1.0"), VersionStage::Production);

    // Nothing says that devices took it, and here it is.
    let mut stage = rebuilt().took("d1", (1, 1)).holds("1.0.0", "1.2.0");
    assert!(stage.sends((7, 3), &own));
    assert_eq!(Stage::stage_of(&stage.decision(), "1.1.0"), VersionStage::Production);

    // No device sends it: what the broker has counts.
    let mut stage = older();
    stage.index.complete(&key().0, Time(NOW.0 - WAIT_MS));
    assert_eq!(Stage::stage_of(&stage.decision(), "1.0.0"), VersionStage::Production);
}

#[test]
fn nothing_waits_where_the_broker_or_a_status_knows_it_or_no_device_took_a_plan() {
    let known = Stage::new().version("1.1.0", production()).took("d1", (7, 3));
    let held = rebuilt().took("d1", (1, 1)).holds("1.1.0", "1.2.0");
    let fresh = rebuilt().took("d1", (0, 0));
    for mut stage in [known, held, fresh] {
        let decision = stage.decision();
        assert_eq!(decision.wake_at, None);
        assert_ne!(decision.plan, DesiredPlan::Unchanged);
    }
}
