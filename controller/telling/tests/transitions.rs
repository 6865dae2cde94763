//! What is told for every pair of phases, and that nothing is told twice or left out however often a process ends.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may end where it stands")]

use modelfleet_crds::rollout::status::{DecisionKind, DecisionRecord, RolloutPhase, RolloutStatus};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{EventKind, Move, PhaseKind, after};
use modelfleet_telling::transition::{PHASE_CHANGED, between, phase_word, since};
use modelfleet_telling::{Cursor, Severity, Subject};

use RolloutPhase as P;

const PHASES: [P; 8] = [
    P::Queued,
    P::Progressing,
    P::AwaitingApproval,
    P::Paused,
    P::RollingBack,
    P::RolledBack,
    P::Succeeded,
    P::Stalled,
];

fn record(second: u64, reason: &str) -> DecisionRecord {
    let at = format!("2026-08-01T12:{:02}:{:02}Z", second / 60, second % 60);
    DecisionRecord {
        at: serde_json::from_value(at.into()).unwrap(),
        stage: "canary".into(),
        decision: DecisionKind::Hold,
        reason: reason.into(),
        message: format!("{reason} at {second}."),
    }
}

fn status(phase: P, decisions: &[DecisionRecord]) -> RolloutStatus {
    RolloutStatus { phase: Some(phase), decisions: decisions.to_vec(), ..RolloutStatus::default() }
}

fn reasons(transitions: &[modelfleet_telling::Transition]) -> Vec<&str> {
    transitions.iter().map(|t| t.reason.as_str()).collect()
}

/// How a phase of the core is shown.
fn shown(kind: PhaseKind) -> &'static [P] {
    match kind {
        PhaseKind::Queued => &[P::Queued],
        PhaseKind::Refused => &[P::Stalled],
        PhaseKind::Progressing => &[P::Progressing],
        PhaseKind::AwaitingApproval => &[P::AwaitingApproval],
        // It depends on who can end the pause.
        PhaseKind::Paused => &[P::Paused, P::Stalled],
        PhaseKind::RollingBack => &[P::RollingBack],
        PhaseKind::RolledBack => &[P::RolledBack],
        PhaseKind::Succeeded => &[P::Succeeded],
    }
}

/// The decision that the core writes with a move.
fn decision(step: Move) -> EventKind {
    match step {
        Move::Start => EventKind::Started,
        Move::Refuse => EventKind::Refused,
        Move::Reconsider | Move::Resume => EventKind::Resumed,
        Move::Cancel | Move::Finish => EventKind::RolledBack,
        Move::Adopt | Move::Succeed => EventKind::Succeeded,
        Move::OpenStage => EventKind::StageOpened,
        Move::Ask => EventKind::ApprovalRequested,
        Move::Pause => EventKind::Paused,
        Move::RollBack => EventKind::RollbackStarted,
        Move::Retry => EventKind::Retried,
    }
}

/// Without a decision, such as when the spec cannot work any more.
#[test]
fn every_pair_of_phases_without_a_decision_is_a_change_of_the_phase() {
    let before = [record(0, "DevicesQuarantined")];
    for from in PHASES {
        for to in PHASES {
            let new = status(to, &before);
            let told = between("uid", Some(&status(from, &before)), &new);
            let expected: &[&str] = if from == to { &[] } else { &[PHASE_CHANGED] };
            assert_eq!(reasons(&told), expected, "{from:?} to {to:?}");
            for changed in told {
                assert_eq!(changed.phase, Some(to), "{from:?}");
                assert!(since("uid", &changed.told, &new).is_empty(), "{from:?} to {to:?}: told once");
            }
        }
    }
}

#[test]
fn every_legal_move_is_told_by_its_decision_alone() {
    let before = [record(0, "DevicesQuarantined")];
    let mut moves = 0;
    for from in PhaseKind::ALL {
        for step in Move::ALL {
            let Some(to) = after(from, step) else { continue };
            moves += 1;
            for (old, new) in shown(from).iter().flat_map(|old| shown(to).iter().map(move |new| (*old, *new)))
            {
                let reason = decision(step).as_str();
                let now = status(new, &[before[0].clone(), record(9, reason)]);
                let told = between("uid", Some(&status(old, &before)), &now);
                assert_eq!(reasons(&told), [reason], "{from:?} {step:?}: {old:?} to {new:?}");
                assert_eq!(told[0].phase, Some(new), "{from:?} {step:?}");
                assert!(since("uid", &told[0].told, &now).is_empty(), "{from:?} {step:?}: told once");
            }
        }
    }
    assert!(moves > 20, "{moves}");
}

#[test]
fn every_kind_of_event_has_a_type_and_a_severity_and_bad_news_is_no_info() {
    let subject = || Subject {
        namespace: "plant".into(),
        rollout: "r".into(),
        uid: "u".into(),
        model: "m".into(),
        version: "1.0.0".into(),
    };
    let mut kinds = std::collections::BTreeSet::new();
    for kind in EventKind::ALL {
        let new = status(P::Progressing, &[record(1, kind.as_str())]);
        let told = between("uid", None, &new);
        let occurrence = told[0].occurrence(subject());
        assert_eq!(occurrence.reason, kind.as_str());
        assert_eq!(occurrence.severity > Severity::Info, kind.is_warning(), "{kind:?}");
        assert!(kinds.insert(occurrence.kind.clone()), "{}", occurrence.kind);
    }
    for kind in [
        "rollout.started",
        "rollout.stage-opened",
        "rollout.rollback-started",
        "rollout.breach-in-production",
    ] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
}

#[test]
fn a_new_rollout_is_told_from_its_first_decision_and_an_old_one_from_where_the_sink_came() {
    let all = [record(1, "Started"), record(1, "StageOpened"), record(5, "Paused")];
    let now = status(P::Paused, &all);
    assert_eq!(reasons(&between("uid", None, &now)), ["Started", "StageOpened", "Paused"]);
    let began = Cursor::after("uid", Some(&status(P::Progressing, &all[..2])));
    assert_eq!(reasons(&since("uid", &began, &now)), ["Paused"]);
    assert!(between("uid", Some(&now), &now).is_empty());
    assert!(between("uid", None, &status(P::Queued, &[])).is_empty(), "it waits, and nothing has happened");
}

#[test]
fn decisions_that_say_the_same_in_one_second_are_told_apart() {
    let all = [record(1, "Paused"), record(1, "Resumed"), record(1, "Paused"), record(1, "Resumed")];
    let told = between("uid", None, &status(P::Progressing, &all));
    let ids: std::collections::BTreeSet<&str> = told.iter().map(|t| t.id.as_str()).collect();
    assert_eq!((told.len(), ids.len()), (4, 4));
    assert_ne!(told[0].id, between("another", None, &status(P::Progressing, &all))[0].id);
}

/// A status that is short of room clips the sentences of its decisions: they are the same decisions.
#[test]
fn an_id_does_not_change_with_what_room_there_is() {
    let whole = status(P::Paused, &[record(1, "Started"), record(5, "Paused")]);
    let mut clipped = whole.clone();
    clipped.decisions[0].message.truncate(3);
    clipped.decisions[1].message.truncate(3);
    let ids = |status| between("uid", None, status).into_iter().map(|t| t.id).collect::<Vec<_>>();
    assert_eq!(ids(&whole), ids(&clipped));
}

/// The status forgets its oldest decisions. A sink that was away for longer is told what is left of them.
#[test]
fn a_sink_that_was_away_for_too_long_is_told_what_is_left() {
    let first = status(P::Progressing, &[record(1, "Started")]);
    let cursor = Cursor::after("uid", Some(&first));
    let rest: Vec<DecisionRecord> = (2..34).map(|second| record(second, "Resumed")).collect();
    assert_eq!(since("uid", &cursor, &status(P::Progressing, &rest)).len(), 32);
}

/// Why a rollback began is known of the newest attempt alone.
#[test]
fn the_cause_of_a_rollback_is_not_told_of_an_earlier_attempt() {
    let back = |second| [record(second, "RollbackStarted"), record(second + 1, "RolledBack")];
    let mut now = status(P::RolledBack, &back(1));
    now.rollback = Some(
        serde_json::from_value(serde_json::json!({
            "startedAt": "2026-08-01T12:00:01Z", "remaining": 0, "reason": "Aborted",
        }))
        .unwrap(),
    );
    let causes = |status: &RolloutStatus| {
        between("uid", None, status).into_iter().map(|t| t.cause).collect::<Vec<_>>()
    };
    let aborted = || Some("Aborted".to_owned());
    assert_eq!(causes(&now), [aborted(), aborted()]);
    now.decisions = [&back(1)[..], &[record(3, "Retried"), record(3, "Started")], &back(4)].concat();
    assert_eq!(causes(&now), [None, None, None, None, aborted(), aborted()]);
}

/// What kind of alarm it is, while it lasts, and never of one before it.
#[test]
fn an_alarm_says_what_kind_it_is() {
    let all = [record(1, "AlarmRaised"), record(2, "AlarmCleared"), record(3, "RetrainingWanted")];
    let mut now = status(P::Succeeded, &all);
    now.conditions = serde_json::from_value(serde_json::json!([{
        "type": "Alarm", "status": "True", "reason": "Drift", "message": "m", "lastTransitionTime": "2026-08-01T12:00:03Z",
    }]))
    .unwrap();
    let kinds = |status: &RolloutStatus| {
        between("uid", None, status).into_iter().map(|t| t.cause).take(3).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&now), [None, None, Some("Drift".to_owned())]);
    now.conditions[0].status = "False".into();
    assert_eq!(kinds(&now), [None, None, None]);
}

/// However often the process ends between the delivery and the note of it: every transition arrives, in order, and what
/// arrives twice has one id.
#[test]
fn all_arrive_in_order_however_often_the_process_ends() {
    let reasons =
        ["Started", "StageOpened", "Paused", "Resumed", "StageOpened", "RollbackStarted", "RolledBack"];
    let all: Vec<DecisionRecord> =
        (1..).zip(reasons).map(|(second, reason)| record(second, reason)).collect();
    // The note of every `lost`-th delivery is lost; the status grows by one decision at each step.
    for lost in 1..6 {
        let (mut stored, mut arrived, mut deliveries) = (Cursor::default(), Vec::<String>::new(), 0);
        for step in 1..=100 {
            let now = status(P::Progressing, &all[..step.min(all.len())]);
            for transition in since("uid", &stored.clone(), &now) {
                if transition.reason == PHASE_CHANGED {
                    continue;
                }
                deliveries += 1;
                arrived.push(transition.id);
                if deliveries % lost == 0 && deliveries < 40 {
                    break;
                }
                stored = transition.told;
            }
        }
        let mut once = arrived.clone();
        once.dedup();
        let mut seen = std::collections::BTreeSet::new();
        once.retain(|id| seen.insert(id.clone()));
        let expected: Vec<String> =
            between("uid", None, &status(P::RolledBack, &all)).into_iter().map(|t| t.id).collect();
        assert_eq!(once, expected, "every {lost}. note lost");
    }
}

#[test]
fn moments_and_words_are_those_of_the_status() {
    let told = between("uid", None, &status(P::Progressing, &[record(61, "Started")]));
    assert_eq!(told[0].at, Time(1_785_585_661_000));
    for phase in PHASES {
        assert_eq!(phase_word(phase), format!("{phase:?}"));
    }
}
