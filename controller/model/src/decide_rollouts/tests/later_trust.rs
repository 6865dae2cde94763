//! A controller that was started with an older trust file than its devices hold, on a broker that has lost the newer one.

use modelfleet_protocol::floor::SecurityFloors;
use modelfleet_protocol::trust::Roots;
use modelfleet_rollout::ReasonCode;

use super::*;
use crate::plan::DesiredPlan;

fn document(version: u64) -> Arc<TrustDocument> {
    Arc::new(TrustDocument {
        version,
        namespace: None,
        issued: Time(0),
        expires: Time(u64::MAX),
        roots: Roots { keys: vec![], threshold: 1 },
        plan_keys: vec![],
        artifact_keys: vec![],
        enrolment_keys: vec![],
        revoked: vec![],
        floors: SecurityFloors::default(),
    })
}

/// Twenty devices, of which `liars` say that they hold a document of the highest version.
fn stage(liars: usize, own: u64) -> Stage {
    let mut stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
    for i in 0..20 {
        stage = stage.device(&format!("d{i}"), "old", "1.0.0");
        let held = if i < liars { u64::MAX } else { 2 };
        let state = json!({"device": format!("d{i}"), "sequence": 2, "at": 2, "agent": "test", "trustVersion": held,
            "labels": {"age": "old"}});
        let id: DeviceId = format!("d{i}").parse().unwrap();
        let topic = format!("mf/1/plant/device/{:02x}/d{i}/state", modelfleet_protocol::ids::shard(&id));
        let _ = stage.index.fold(&topic, state.to_string().as_bytes(), false, NOW);
    }
    stage.trust = Some(document(own));
    stage.rollout("1.1.0", State::default(), |_| {})
}

fn waits(stage: &mut Stage) -> Option<String> {
    let decision = stage.decision();
    let reasons = &decided(&decision.rollouts[0]).decision.reasons;
    let told = reasons.iter().find(|reason| reason.code == ReasonCode::LaterTrustHeld);
    assert_eq!(decision.trust_is_old, told.is_some());
    if told.is_some() {
        assert!(
            matches!(decision.plan, DesiredPlan::Unchanged),
            "nothing is signed with a key that may be revoked"
        );
        assert!(decided(&decision.rollouts[0]).decision.actions.is_empty());
    }
    told.map(|reason| reason.message.clone())
}

#[test]
fn it_publishes_nothing_and_says_which_file_it_needs() {
    let told = waits(&mut stage(0, 1)).unwrap();
    assert!(told.contains("20 of 20 devices hold a later trust document (2 at most)"), "{told}");
    assert!(
        told.contains("than this controller has (1)") && told.contains("the newest trust file"),
        "{told}"
    );
    assert_eq!(waits(&mut stage(0, 2)), None, "the same document");
    assert_eq!(waits(&mut stage(0, 3)), None, "a later one, which devices will follow");
}

#[test]
fn a_device_that_lies_stops_no_fleet() {
    assert_eq!(waits(&mut stage(1, 2)), None);
    assert!(waits(&mut stage(2, 2)).is_some(), "more than one in twenty");
}
