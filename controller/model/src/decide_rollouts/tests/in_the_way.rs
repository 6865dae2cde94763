//! A rollout that is for nobody keeps no other waiting for long.

use super::*;

const MINUTE_MS: u64 = 60_000;

/// Where a rollout stands whose selector no device matches, so long after its stage began.
fn phase(minutes: u64, another_waits: bool) -> Phase {
    let state = State {
        stage: 0,
        stage_opened_at: Some(Time(NOW.0 - minutes * MINUTE_MS)),
        drawn: Some(Drawn { stage: 0, target: Target::Ppm(25_000), at: Time(NOW.0 - 1), set_aside: 0 }),
        ..progressing()
    };
    let nobody = |spec: &mut RolloutSpec| {
        spec.selector = serde_json::from_value(json!({"matchLabels": {"age": "none"}})).unwrap();
    };
    let stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
    let stage = stage.version("1.2.0", verified()).device("d1", "old", "1.0.0");
    let mut stage = stage.rollout("1.1.0", state, nobody);
    if another_waits {
        let waiting = State { phase: Phase::Queued, attempt: 1, ..State::default() };
        stage = stage.rollout("1.2.0", waiting, |_| {});
    }
    let mut rollout = Rollout::clone(&stage.objects.rollouts[0]);
    // Nobody was drawn.
    if let Some(membership) = rollout.status.as_mut().and_then(|status| status.membership.as_mut()) {
        membership.clauses[0].devices.clear();
    }
    stage.objects.rollouts[0] = Arc::new(rollout);
    stage.outcomes().remove(0).phase()
}

#[test]
fn a_selector_that_matches_nobody_makes_room_for_who_waits() {
    assert_eq!(phase(9, true), Phase::Progressing);
    assert_eq!(phase(10, true), Phase::RolledBack);
    assert_eq!(phase(60, false), Phase::Progressing, "no other rollout waits");
}
