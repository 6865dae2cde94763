//! Whatever one device says of itself, the status that comes of it is one that the API server takes.

use modelfleet_crds::RolloutStatus;
use proptest::prelude::*;

use super::*;
use crate::rollout_status::decided_status;

mod schema;

/// Texts of every kind: words, long ones, other alphabets, what JSON has to escape.
fn text() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        Just(String::new()),
        "[a-z]{1,8}",
        "[a-zA-Z0-9._-]{60,70}",
        "[ -~]{0,30}",
        "\\PC{0,80}",
        Just("\u{0}\"\\\n".repeat(20)),
        Just("\u{1f4a5}".repeat(63)),
    ];
    odd.boxed()
}

fn moment() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(NOW.0), Just(u64::MAX), Just(253_402_300_800_000), any::<u64>()]
}

fn phase() -> impl Strategy<Value = Value> {
    let phases = [
        "Offered",
        "Downloading",
        "Downloaded",
        "Activated",
        "Confirmed",
        "Failed",
        "Incompatible",
        "Reverted",
    ];
    prop::sample::select(phases.to_vec()).prop_map(|phase| json!(phase))
}

fn code() -> impl Strategy<Value = Value> {
    let codes = ["SelfTestMismatch", "CrashLoop", "DiskFull", "EngineMissing", "Whatever"];
    prop::sample::select(codes.to_vec()).prop_map(|code| json!(code))
}

/// The state of a device that says what it likes.
fn state() -> impl Strategy<Value = Value> {
    let labels = prop::collection::btree_map(prop_oneof![Just("age".to_owned()), text()], text(), 0..4);
    let parts = (labels, text(), text(), moment(), moment(), phase(), code(), any::<bool>(), any::<u64>());
    parts.prop_map(|(labels, agent, detail, at, since, phase, code, new, number)| {
        let digest = Digest::of(if new { b"1.1.0" } else { b"1.0.0" });
        json!({
            "device": "odd", "sequence": number, "at": at, "agent": agent, "labels": labels,
            "capabilities": {"arch": detail, "memoryBytes": number},
            "models": [{
                "model": "m", "reverts": number,
                "plan": {"epoch": number, "revision": number, "issued": at, "expires": since},
                "running": {"digest": digest, "version": "1.1.0", "activated": since, "confirmed": new, "engine": agent},
                "candidate": {
                    "rollout": "r-1.1.0", "digest": Digest::of(b"1.1.0"), "phase": phase, "since": since,
                    "fetchedBytes": number, "failure": {"code": code, "detail": detail},
                },
            }],
        })
    })
}

/// One stage for everybody: its strata have bounds of their own, the labels of each with them.
fn spread(spec: &mut RolloutSpec) {
    spec.stages.drain(1..);
    for stage in &mut spec.stages {
        stage.devices = "100%".into();
        stage.spread_by = vec!["age".into(), "load".into()];
    }
}

/// Takes the rollout through so many outcomes, each on the status that the one before came to.
fn statuses(mut stage: Stage, outcomes: usize) -> Vec<RolloutStatus> {
    let mut all = Vec::new();
    for _ in 0..outcomes {
        let outcome = stage.outcomes().remove(0);
        let Ok(decided) = &outcome.result else { break };
        let status = decided_status(decided, outcome.rollout.status.as_ref(), Some((1, 2)), Some(1), NOW);
        let mut rollout = Rollout::clone(&outcome.rollout);
        rollout.status = Some(status.clone());
        stage.objects.rollouts[0] = Arc::new(rollout);
        all.push(status);
    }
    all
}

fn fleet(states: &[Value]) -> Stage {
    let waiting = State { phase: Phase::Queued, attempt: 1, ..State::default() };
    let mut stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
    for (i, age) in ["old", "new", "old", "new", "older"].iter().enumerate() {
        stage = stage.device(&format!("d{i}"), age, "1.0.0");
    }
    let shard = modelfleet_protocol::ids::shard(&"odd".parse().unwrap());
    let online = json!({"online": true, "since": 1, "connection": 1}).to_string();
    let topic = |what: &str| format!("mf/1/plant/device/{shard:02x}/odd/{what}");
    let _ = stage.index.fold(&topic("presence"), online.as_bytes(), false, NOW);
    for state in states {
        let _ = stage.index.fold(&topic("state"), state.to_string().as_bytes(), false, NOW);
    }
    stage.rollout("1.1.0", waiting, spread)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_state_of_a_device_makes_a_status_that_the_schema_refuses(
        states in prop::collection::vec(state(), 1..3),
    ) {
        let statuses = statuses(fleet(&states), 4);
        prop_assert_eq!(statuses.len(), 4);
        for status in statuses {
            let refused = schema::refusals(&serde_json::to_value(&status).unwrap());
            prop_assert!(refused.is_empty(), "{refused:?}");
        }
    }
}

#[test]
fn a_device_with_too_long_a_label_holds_up_nobody_and_is_named_on_the_object() {
    let odd = json!({
        "device": "odd", "sequence": 1, "at": 1, "agent": "test", "labels": {"age": "x".repeat(64)}, "models": [],
    });
    let statuses = statuses(fleet(&[odd]), 2);
    let last = statuses.last().unwrap();
    let drawn = last.membership.as_ref().unwrap();
    assert!(!drawn.clauses.is_empty(), "the stage has begun");
    let condition = last.conditions.iter().find(|c| c.type_ == "DevicesLeftOut").unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "StateRefused"));
    let said = &condition.message;
    assert!(
        said.starts_with("1 device is left out") && said.contains("odd: label age has a value of 64 bytes"),
        "{said}"
    );
}

#[test]
fn the_schema_is_held_as_the_api_server_holds_it() {
    let good = json!({"phase": "Stalled", "conditions": [], "planRevision": 3});
    assert_eq!(schema::refusals(&good), Vec::<String>::new());
    let stratum = |key: &str, bound: &str| json!({"key": [key], "bound": bound});
    let clause =
        |stratum| json!({"membership": {"salt": "s", "clauses": [{"stage": "a", "strata": [stratum]}]}});
    let bad = [
        json!({"message": "x".repeat(513)}),
        json!({"phase": "Lost"}),
        json!({"planRevision": -1}),
        json!({"startedAt": "yesterday"}),
        json!({"verdicts": [{"slo": "a", "verdict": "Healthy"}]}),
        json!({"conditions": vec![json!({
            "type": "A", "status": "True", "reason": "B", "message": "", "lastTransitionTime": "2026-08-01T12:00:00Z",
        }); 2]}),
        clause(stratum(&"x".repeat(64), "0666666666666666")),
        clause(stratum("x", "066666666666666g")),
    ];
    for status in bad {
        assert_eq!(schema::refusals(&status).len(), 1, "{status}: {:?}", schema::refusals(&status));
    }
}
