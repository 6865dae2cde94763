//! What a person takes back or holds is decided by the counts of the last look: no other look has to come first.

use modelfleet_rollout::ReasonCode;

use super::*;

/// A rollout of 1.1.0 under way on `d1`, which was looked at once. Since then the fleet is gone: a look would find nothing.
fn looked_at() -> Stage {
    let stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
    let mut stage = stage.rollout("1.1.0", progressing(), |_| {}).device("d1", "old", "1.1.0");
    stage = stage.device("d2", "new", "1.0.0").holds("1.0.0", "1.1.0");
    let decision = stage.decision();
    stage.last_looks = decision.looks();
    assert_eq!(stage.last_looks.len(), 1);
    assert_eq!(decided(&decision.rollouts[0]).seen.as_ref().unwrap().view.still_exposed, 1);
    assert!(stage.index.forget(&key(), &Source::Plan));
    stage
}

fn edited(mut stage: Stage, edit: impl FnOnce(&mut Rollout)) -> Stage {
    let mut rollout = (*stage.objects.rollouts[0]).clone();
    edit(&mut rollout);
    stage.objects.rollouts[0] = Arc::new(rollout);
    stage
}

#[test]
fn an_abort_goes_out_by_the_counts_of_the_last_look_and_ends_by_the_next() {
    let aborts: [fn(&mut Rollout); 3] = [
        |rollout| rollout.spec.abort = true,
        |rollout| rollout.spec.version = "1.2.0".into(),
        |rollout| rollout.metadata.deletion_timestamp = Some(crate::status::time::to_k8s(NOW)),
    ];
    for abort in aborts {
        let mut stage = edited(looked_at(), abort);
        let decision = stage.decision();
        let back = decided(&decision.rollouts[0]);
        assert_eq!(back.memory.state.phase, Phase::RollingBack);
        assert_eq!(back.seen.as_ref().unwrap().view.still_exposed, 1, "what was seen last is shown on");
        let event = back.decision.actions.iter().find_map(|action| match action {
            Action::Event { kind: EventKind::RollbackStarted, message } => Some(message.as_str()),
            _ => None,
        });
        assert!(event.unwrap().contains("1 reachable device"), "{event:?}");
        assert!(back.decision.reasons.iter().any(|reason| reason.code == ReasonCode::ViewIncomplete));
        assert_eq!(back.decision.wake_at, Some(NOW.after_ms(1)), "the next look follows at once");
        let crate::plan::DesiredPlan::Plan(plan) = &decision.plan else { panic!("no plan goes out") };
        assert!(plan.candidate.is_none());
        assert_eq!(decision.samples, crate::decide_model::SampleChange::None);
        assert!(decision.looks().keys().eq(stage.last_looks.keys()), "it is kept until the next look");
    }
}

#[test]
fn a_pause_holds_by_the_counts_of_the_last_look() {
    let mut stage = edited(looked_at(), |rollout| rollout.spec.paused = true);
    let decision = stage.decision();
    let held = decided(&decision.rollouts[0]);
    assert_eq!(held.memory.state.phase, Phase::Paused(PauseCause::User));
    assert_eq!(held.seen.as_ref().unwrap().view.still_exposed, 1);
}

#[test]
fn no_other_edit_and_no_first_look_is_decided_so() {
    let mut stage = edited(looked_at(), |rollout| rollout.spec.promote = Some("full".into()));
    assert!(
        decided(&stage.decision().rollouts[0]).seen.is_none(),
        "it looked, and there is no fleet any more"
    );
    let mut stage = edited(looked_at(), |rollout| rollout.spec.abort = true);
    stage.last_looks.clear();
    assert!(decided(&stage.decision().rollouts[0]).seen.is_none(), "nothing was seen before");
}

#[test]
fn an_intervention_that_moves_nothing_keeps_no_look_from_being_taken() {
    let stage = Stage::new().version("1.1.0", production());
    let succeeded =
        State { phase: Phase::Succeeded, stage: 3, prior: Production::default(), ..progressing() };
    let stage = stage.rollout("1.1.0", succeeded, |spec| spec.abort = true);
    let mut stage = stage.device("d1", "old", "1.1.0").holds("1.1.0", "1.1.0");
    let before = stage.decision();
    stage.last_looks = before.looks();
    let mut stage = stage.device("d2", "new", "1.1.0");
    let seen = |decision: &ModelDecision| decided(&decision.rollouts[0]).seen.as_ref().unwrap().view.matching;
    assert_eq!((seen(&before), seen(&stage.decision())), (1, 2));
}
