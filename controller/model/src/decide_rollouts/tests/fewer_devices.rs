//! Brokers that send less than they were given, and fleets that have really become smaller.

use super::*;
use crate::known_devices::FEWER_DEVICES;
use crate::plan::DesiredPlan;
use crate::status::time::to_k8s;
use modelfleet_fleet::census::WAIT_MS;
use modelfleet_rollout::ReasonCode;

/// A rollout under way that knew ten devices, and of which the broker has sent so many.
fn sent(devices: usize) -> Stage {
    let stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
    let stage = (0..devices).fold(stage, |stage, number| stage.device(&format!("d{number}"), "old", "1.0.0"));
    knew(stage.rollout("1.1.0", progressing(), |_| {}), 10)
}

/// The count that the status of the only rollout has kept.
fn knew(mut stage: Stage, devices: i64) -> Stage {
    edit(&mut stage, |rollout| {
        let status = rollout.status.as_mut().unwrap();
        status.counts = serde_json::from_value(json!({"eligible": devices})).unwrap();
    });
    stage
}

fn edit(stage: &mut Stage, change: impl FnOnce(&mut Rollout)) {
    let mut rollout = (*stage.objects.rollouts[0]).clone();
    change(&mut rollout);
    stage.objects.rollouts[0] = Arc::new(rollout);
}

fn accept(stage: &mut Stage, devices: &str) {
    let mark = (FEWER_DEVICES.to_owned(), devices.to_owned());
    edit(stage, |rollout| rollout.metadata.annotations = Some([mark].into()));
}

/// The sentence of a rollout that waits for devices.
fn waits(stage: &mut Stage) -> Option<String> {
    let decision = stage.decision();
    let one = decided(&decision.rollouts[0]);
    let reason = one.decision.reasons.iter().find(|reason| reason.code == ReasonCode::DevicesMissing)?;
    assert_eq!(one.seen.as_ref().map(|seen| seen.whole), Some(false), "its counts are not stored");
    assert!(one.answer.is_none() && one.decision.actions.is_empty());
    assert!(one.decision.wake_at.is_some_and(|at| at <= NOW.after_ms(WAIT_MS)));
    Some(reason.message.clone())
}

#[test]
fn a_broker_that_has_lost_its_memory_is_waited_for_until_devices_have_connected() {
    let mut stage = sent(0);
    assert!(
        waits(&mut stage)
            .unwrap()
            .contains("sent the states of 0 that this rollout selects, and 10 were known")
    );
    // Devices connect, and send their states again.
    for number in 0..9 {
        assert!(waits(&mut stage).is_some(), "{number}");
        stage = stage.device(&format!("d{number}"), "old", "1.0.0");
    }
    assert_eq!(waits(&mut stage), None);
}

#[test]
fn a_broker_that_cuts_what_it_sends_is_named_with_what_a_person_can_do() {
    let mut stage = sent(4);
    let told = waits(&mut stage).unwrap();
    assert!(told.contains("modelfleet.io/fewer-devices: \"4\"") && told.contains("check-broker"), "{told}");
    assert!(told.len() <= 512, "a condition has no room for {}", told.len());
    assert!(told.contains("continues with 9"), "{told}");
}

#[test]
fn a_broker_that_sends_late_is_waited_for_although_all_seemed_to_be_there() {
    let mut stage = sent(4);
    assert!(waits(&mut stage).is_some());
    // More comes late: nothing is decided until no more comes, and then all are there.
    stage.index.fleet_mut(&key().0).unwrap().unsettle();
    stage = (4..10).fold(stage, |stage, number| stage.device(&format!("d{number}"), "old", "1.0.0"));
    let decision = stage.decision();
    let codes: Vec<_> = decided(&decision.rollouts[0]).decision.reasons.iter().map(|r| r.code).collect();
    assert_eq!(codes, [ReasonCode::ViewIncomplete]);
    stage.index.complete(&key().0, NOW);
    assert_eq!(waits(&mut stage), None);
}

#[test]
fn a_fleet_that_has_become_smaller_is_accepted_by_a_person_or_with_time() {
    let mut stage = sent(4);
    for (text, accepted) in
        [("4", true), (" 3 ", true), ("5", false), ("four", false), ("-1", false), ("", false)]
    {
        accept(&mut stage, text);
        assert_eq!(waits(&mut stage).is_none(), accepted, "{text:?}");
    }
    let mut stage = sent(4);
    stage.index.complete(&key().0, Time(NOW.0 - WAIT_MS));
    assert_eq!(waits(&mut stage), None);
    let seen = stage.outcomes();
    assert_eq!(decided(&seen[0]).seen.as_ref().map(|seen| (seen.whole, seen.eligible)), Some((true, 4)));
}

#[test]
fn a_rollout_of_the_same_devices_tells_a_new_one_how_many_there_were() {
    let mut stage = sent(4);
    edit(&mut stage, |rollout| {
        rollout.metadata.name = Some("r-before".into());
        rollout.status.as_mut().unwrap().finished_at = Some(to_k8s(Time(5)));
    });
    let mut stage = stage.version("1.2.0", verified()).rollout("1.1.0", progressing(), |_| {});
    stage.objects.rollouts.rotate_right(1);
    assert!(waits(&mut stage).is_some());
    // One for other devices says nothing.
    edit(&mut stage, |rollout| {
        rollout.spec.selector = serde_json::from_value(json!({"matchLabels": {"age": "old"}})).unwrap();
    });
    assert_eq!(waits(&mut stage), None);
}

#[test]
fn another_spec_is_not_measured_by_the_count_of_the_one_before() {
    let mut stage = sent(4);
    edit(&mut stage, |rollout| rollout.metadata.generation = Some(2));
    assert_eq!(waits(&mut stage), None);
}

#[test]
fn a_person_takes_a_rollout_back_although_devices_are_missing() {
    let mut stage = sent(4);
    edit(&mut stage, |rollout| rollout.spec.abort = true);
    let decision = stage.decision();
    assert_eq!(decided(&decision.rollouts[0]).memory.state.phase, Phase::RollingBack);
    let DesiredPlan::Plan(plan) = &decision.plan else { panic!("no plan goes out") };
    assert!(plan.candidate.is_none());
}
