//! Silence is told by the windows that devices follow, not by those that the next rollout would have them follow.

use super::*;

const MINUTE_MS: u64 = 60_000;

/// A rollout with windows of a minute that is queued, and a device that was heard so long ago, under a plan
/// with windows of an hour.
fn outcome(heard_ms_ago: u64) -> RolloutOutcome {
    let waiting = State { phase: Phase::Queued, attempt: 1, ..State::default() };
    let mut stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
    let plan = json!({
        "namespace": "plant", "model": "m", "epoch": 1, "revision": 1, "issued": 0, "expires": u64::MAX,
        "observe": {"windowMs": 60 * MINUTE_MS},
    });
    let plan: Plan = serde_json::from_value(plan).unwrap();
    let sealed = seal(&stage.signer, PLAN_TYPE, &to_json(&plan));
    assert_eq!(stage.ledger.take(&key(), &sealed), Some(1));
    let state = json!({"device": "d1", "sequence": 1, "at": 1, "agent": "test", "labels": {}});
    let shard = modelfleet_protocol::ids::shard(&"d1".parse().unwrap());
    let topic = format!("mf/1/plant/device/{shard:02x}/d1/state");
    let heard = Time(NOW.0 - heard_ms_ago);
    let _ = stage.index.fold(&topic, state.to_string().as_bytes(), false, heard);
    let short = |spec: &mut RolloutSpec| spec.observe.window = "1m".into();
    stage.rollout("1.1.0", waiting, short).outcomes().remove(0)
}

#[test]
fn a_shorter_window_does_not_hold_the_next_rollout_back() {
    for minutes in [1, 4, 100, 179] {
        assert_eq!(outcome(minutes * MINUTE_MS).phase(), Phase::Progressing, "heard {minutes} minutes ago");
    }
    let quiet = outcome(180 * MINUTE_MS);
    assert_eq!(quiet.phase(), Phase::Queued);
    let reason = &decided(&quiet).decision.reasons[0].message;
    assert!(reason.contains("no device has sent anything for 3 hours (limit 3 hours)"), "{reason}");
}
