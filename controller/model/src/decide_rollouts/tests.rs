use std::collections::VecDeque;

use ed25519_dalek::SigningKey;
use modelfleet_crds::{ModelVersion, RolloutSpec};
use modelfleet_protocol::draw::Target;
use modelfleet_protocol::envelope::{PLAN_TYPE, seal};
use modelfleet_protocol::ids::{DeviceId, Digest};
use modelfleet_protocol::membership::Clause;
use modelfleet_protocol::plan::{Plan, to_json};
use modelfleet_protocol::trust::TrustDocument;
use modelfleet_rollout::{Cause, Drawn, EventKind, PauseCause, Rollback};
use serde_json::{Value, json};

use super::*;
use crate::decide_model::{LastLooks, ModelDecision, decide_model};
use crate::plan::{PlanInput, plan_owner};
use crate::status::{StatusInputs, status_from};
use modelfleet_fleet::Source;
use modelfleet_fleet::ledger::Ledger;
use modelfleet_fleet::{Index, Key};

mod fewer_devices;
mod first_sight;
mod hostile;
mod in_the_way;
mod later_trust;
mod lost_plan;
mod quiet;
mod set_aside;
mod without_look;

const NOW: Time = Time(1_000_000_000);

fn key() -> Key {
    ("plant".parse().unwrap(), "m".parse().unwrap())
}

/// One model with its rollouts and versions, and what devices have said.
struct Stage {
    objects: ModelObjects,
    index: Index,
    ledger: Ledger,
    link: Link,
    signer: SigningKey,
    last_looks: LastLooks,
    trust: Option<Arc<TrustDocument>>,
}

impl Stage {
    fn new() -> Stage {
        let signer = SigningKey::from_bytes(&[7; 32]);
        let mut index = Index::new(100);
        index.note(&key(), Source::Plan);
        index.complete(&key().0, NOW);
        let ledger = Ledger::new(signer.verifying_key());
        let link = Link { connected: true, settled: true, since: Time(1) };
        Stage {
            objects: ModelObjects::default(),
            index,
            ledger,
            link,
            signer,
            last_looks: LastLooks::new(),
            trust: None,
        }
    }

    fn version(mut self, version: &str, status: Value) -> Stage {
        let object = json!({
            "apiVersion": "modelfleet.io/v1alpha1", "kind": "ModelVersion",
            "metadata": {"name": format!("m-{version}"), "namespace": "plant"},
            "spec": {"model": "m", "version": version, "artifact": {
                "uri": "file:///m.onnx", "digest": Digest::of(version.as_bytes()).to_string(), "sizeBytes": 1,
            }},
            "status": status,
        });
        let object: ModelVersion = serde_json::from_value(object).unwrap();
        self.objects.versions.insert(version.to_owned(), Arc::new(object));
        self
    }

    /// A rollout of a version, in a state that its status tells of.
    fn rollout(mut self, version: &str, state: State, edit: impl FnOnce(&mut RolloutSpec)) -> Stage {
        let mut rollout = Rollout::new(&format!("r-{version}"), RolloutSpec::new("m", version));
        rollout.metadata.namespace = Some("plant".into());
        rollout.metadata.uid = Some(format!("uid-{version}"));
        let good = modelfleet_spec::validate(&rollout, None).unwrap();
        let state = State { version: version.to_owned(), ..state };
        let memory = Memory { judged: (state.attempt, state.stage), state, judge: String::new() };
        let clause = Clause { devices: vec!["d1".parse().unwrap()], ..Clause::default() };
        let membership =
            Membership { salt: format!("uid-{version}/1"), clauses: vec![clause], exclude: vec![] };
        let inputs = StatusInputs {
            valid: &good,
            memory: &memory,
            membership: &membership,
            reasons: &[],
            fleet: None,
            answer: None,
            watched: None,
            plan: None,
            restored: false,
            generation: None,
            now: NOW,
        };
        rollout.status = Some(status_from(&inputs, None));
        edit(&mut rollout.spec);
        self.objects.rollouts.push(Arc::new(rollout));
        self
    }

    /// A connected device that runs a version.
    fn device(mut self, device: &str, age: &str, version: &str) -> Stage {
        let digest = Digest::of(version.as_bytes());
        let running = json!({"digest": digest, "version": version, "activated": 5, "confirmed": true});
        let state = json!({
            "device": device, "sequence": 1, "at": 1, "agent": "test", "labels": {"age": age},
            "models": [{"model": "m", "running": running}],
        });
        let id: DeviceId = device.parse().unwrap();
        let shard = modelfleet_protocol::ids::shard(&id);
        let presence = json!({"online": true, "since": 1, "connection": 1});
        for (what, payload) in [("presence", presence), ("state", state)] {
            let topic = format!("mf/1/plant/device/{shard:02x}/{device}/{what}");
            let _ = self.index.fold(&topic, payload.to_string().as_bytes(), false, NOW);
        }
        self
    }

    /// A device that told so has this engine.
    fn able(mut self, device: &str, engine: &str) -> Stage {
        let digest = Digest::of(b"1.0.0");
        let running = json!({"digest": digest, "version": "1.0.0", "activated": 5, "confirmed": true});
        let state = json!({
            "device": device, "sequence": 2, "at": 2, "agent": "test", "labels": {"age": "old"},
            "capabilities": {"engines": [{"name": engine, "version": "1", "opsets": {"": 21}}]},
            "models": [{"model": "m", "running": running}],
        });
        let shard = modelfleet_protocol::ids::shard(&device.parse().unwrap());
        let topic = format!("mf/1/plant/device/{shard:02x}/{device}/state");
        let _ = self.index.fold(&topic, state.to_string().as_bytes(), false, NOW);
        self
    }

    /// The broker holds a plan with this stable version and this candidate.
    fn holds(mut self, stable: &str, candidate: &str) -> Stage {
        let build = |version: &str| {
            json!({
                "model": "m", "version": version, "digest": Digest::of(version.as_bytes()),
                "uri": "file:///m.onnx", "sizeBytes": 1, "format": "Onnx",
            })
        };
        let plan = json!({
            "namespace": "plant", "model": "m", "epoch": 1, "revision": 1, "issued": 0, "expires": u64::MAX,
            "stable": build(stable),
            "candidate": {
                "rollout": "r", "build": build(candidate), "membership": Membership::default(), "admit": true,
                "mode": "Live", "probation": {"timeoutMs": 1, "minPredictions": 1, "maxErrors": 1},
            },
        });
        let plan: Plan = serde_json::from_value(plan).unwrap();
        let sealed = seal(&self.signer, PLAN_TYPE, &to_json(&plan));
        assert_eq!(self.ledger.take(&key(), &sealed), Some(1));
        self
    }

    fn outcomes(&mut self) -> Vec<RolloutOutcome> {
        self.decision().rollouts
    }

    fn decision(&mut self) -> ModelDecision {
        let key = key();
        let snapshot = Snapshot {
            objects: self.objects.clone(),
            plan: self.ledger.newest(&key).cloned(),
            recalled: self.ledger.recalled(&key).cloned(),
            fleet: self.index.fleet(&key.0),
            trust: self.trust.clone(),
            link: self.link,
            recorded: None,
            last_looks: Arc::new(self.last_looks.clone()),
            key,
        };
        decide_model(&snapshot, NOW)
    }
}

fn decided(outcome: &RolloutOutcome) -> &Decided {
    outcome.result.as_ref().unwrap()
}

fn production() -> Value {
    json!({"stage": "Production", "promotedAt": "2026-01-01T00:00:00Z"})
}

fn verified() -> Value {
    json!({"stage": "Verified"})
}

fn progressing() -> State {
    State {
        phase: Phase::Progressing,
        attempt: 1,
        stage: 1,
        prior: Production::of_all("1.0.0"),
        started_at: Some(Time(5)),
        stage_opened_at: Some(Time(6)),
        drawn: Some(Drawn { stage: 1, target: Target::Ppm(100_000), at: Time(6), set_aside: 0 }),
        phase_since: Time(6),
        log: VecDeque::new(),
        ..State::default()
    }
}

fn broken(spec: &mut RolloutSpec) {
    // Nobody can measure it: the version has no profile.
    spec.slos[0].metric = modelfleet_crds::Metric::FeaturePsi;
    spec.slos[0].threshold = "0.2".into();
}

#[test]
fn who_begins_to_go_back_keeps_the_next_one_waiting() {
    let succeeded = State { phase: Phase::Succeeded, stage: 3, ..progressing() };
    let stage = Stage::new().version("1.0.0", json!({"stage": "Archived"})).version("1.1.0", production());
    let mut stage = stage
        .version("1.2.0", verified())
        .device("d1", "old", "1.1.0")
        // The next one is read first, and it would be next.
        .rollout("1.2.0", State { phase: Phase::Queued, attempt: 1, ..State::default() }, |_| {})
        .rollout("1.1.0", succeeded, |spec| spec.abort = true);
    let outcomes = stage.outcomes();
    assert_eq!(outcomes[0].rollout.name_any(), "r-1.2.0", "in the order of the objects");
    assert_eq!((outcomes[0].phase(), outcomes[1].phase()), (Phase::Queued, Phase::RollingBack));
    let reason = &decided(&outcomes[0]).decision.reasons[0].message;
    assert!(reason.contains("Waiting for rollout r-1.1.0"), "{reason}");
}

#[test]
fn a_spec_that_breaks_on_the_way_stands_still_and_people_are_obeyed() {
    let stage = |state: State, edit: fn(&mut RolloutSpec)| {
        let stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
        stage.device("d1", "old", "1.1.0").rollout("1.1.0", state, edit)
    };
    let outcomes = stage(progressing(), broken).outcomes();
    let stands = decided(&outcomes[0]);
    assert_eq!(outcomes[0].phase(), Phase::Paused(PauseCause::InvalidSpec));
    assert!(stands.view.candidate && !stands.view.admit && stands.answer.is_none());
    assert_eq!(stands.membership.salt, "uid-1.1.0/1", "who is in stays in");
    assert_eq!((stands.memory.state.stage, stands.memory.state.attempt), (1, 1));
    let aborted = |spec: &mut RolloutSpec| {
        broken(spec);
        spec.abort = true;
    };
    assert_eq!(stage(progressing(), aborted).outcomes()[0].phase(), Phase::RollingBack);
    let back = Rollback {
        cause: Cause::Degraded,
        sentence: "harm".into(),
        by_person: false,
        started_at: NOW,
        deadline: NOW.after_ms(60_000),
        overdue: false,
    };
    let going_back = State { phase: Phase::RollingBack, rollback: Some(back), ..progressing() };
    let outcomes = stage(going_back, broken).outcomes();
    assert_eq!(outcomes[0].phase(), Phase::RollingBack);
    assert!(decided(&outcomes[0]).view.rejected && !decided(&outcomes[0]).view.candidate);
}

#[test]
fn nothing_begins_by_a_spec_that_cannot_work() {
    let waiting = State { phase: Phase::Queued, attempt: 1, ..State::default() };
    let stage = Stage::new().version("1.1.0", verified()).rollout("1.1.0", waiting, broken);
    assert!(stage.device("d1", "old", "1.0.0").outcomes()[0].result.is_err());
    let ended = State { phase: Phase::RolledBack, ..progressing() };
    let again = |spec: &mut RolloutSpec| {
        broken(spec);
        spec.retry_token = Some("again".into());
    };
    let stage = Stage::new().version("1.1.0", verified()).rollout("1.1.0", ended, again);
    assert_eq!(stage.device("d1", "old", "1.0.0").outcomes()[0].phase(), Phase::Queued);
}

/// Nothing is offered to anybody, the next rollout begins, and the plan stays what it was.
#[test]
fn a_version_that_no_device_can_run_ends_at_once_and_says_why() {
    let waiting = || State { phase: Phase::Queued, attempt: 1, ..State::default() };
    let needs = |spec: &mut ModelVersion| {
        spec.spec.requires = serde_json::from_value(json!({"engine": ["Rten"]})).unwrap();
    };
    let stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
    let mut stage = stage.version("1.2.0", verified()).holds("1.0.0", "1.0.0");
    let mut object = ModelVersion::clone(&stage.objects.versions["1.1.0"]);
    needs(&mut object);
    stage.objects.versions.insert("1.1.0".to_owned(), Arc::new(object));
    for device in ["d1", "d2"] {
        stage = stage.device(device, "old", "1.0.0").able(device, "OnnxRuntime");
    }
    let mut stage = stage.rollout("1.1.0", waiting(), |_| {}).rollout("1.2.0", waiting(), |_| {});
    let outcomes = stage.outcomes();
    let ended = decided(&outcomes[0]);
    assert_eq!(ended.memory.state.phase, Phase::RolledBack);
    assert_eq!(ended.memory.state.rollback.as_ref().map(|r| r.cause), Some(Cause::NobodyCanRun));
    let said = &ended.decision.reasons[0].message;
    for words in
        ["none of the 2 devices of", "1.1.0: 2 because the model requires the engine Rten", "retryToken"]
    {
        assert!(said.contains(words), "{said}");
    }
    assert!(!ended.view.candidate);
    assert!(!ended.decision.actions.iter().any(|a| matches!(a, Action::OpenStage { .. })));
    assert_eq!(ended.view.speaks, modelfleet_rollout::Speaks::No, "it knows no version to go back to");
}

#[test]
fn a_version_whose_object_is_gone_is_known_by_the_plan() {
    let stage =
        Stage::new().holds("1.0.0", "1.1.0").device("d1", "old", "1.1.0").device("d2", "new", "1.0.0");
    let mut stage = stage.rollout("1.1.0", progressing(), |_| {});
    let outcomes = stage.outcomes();
    let seen = decided(&outcomes[0]).seen.as_ref().unwrap();
    assert_eq!((seen.view.activated, seen.view.still_exposed), (1, 1));
    assert!(decided(&outcomes[0]).answer.is_some());
    let waiting = State { phase: Phase::Queued, attempt: 1, ..State::default() };
    let stage = Stage::new().holds("1.0.0", "1.0.0").version("1.1.0", verified());
    let mut stage = stage.device("d1", "old", "1.0.0").rollout("1.1.0", waiting, |_| {});
    let outcomes = stage.outcomes();
    assert_eq!(decided(&outcomes[0]).memory.state.prior.to_string(), "1.0.0", "there is a way back");
}

#[test]
fn objectives_against_the_baseline_of_a_version_that_is_gone_are_not_guessed() {
    let relative = |spec: &mut RolloutSpec| {
        spec.slos[2].relative_to = modelfleet_crds::rollout::RelativeTo::Baseline;
        spec.slos[2].threshold = "150%".into();
    };
    let mut stage = Stage::new().holds("1.0.0", "1.1.0").device("d1", "old", "1.1.0");
    stage = stage.rollout("1.1.0", progressing(), relative);
    let outcomes = stage.outcomes();
    assert_eq!(outcomes[0].phase(), Phase::Paused(PauseCause::InvalidSpec));
    let reason = &decided(&outcomes[0]).decision.reasons[0].message;
    assert!(reason.contains("its ModelVersion was deleted"), "{reason}");
}

#[test]
fn counts_are_of_all_that_the_rollout_is_for() {
    let narrow = |spec: &mut RolloutSpec| {
        spec.stages[1].selector =
            Some(serde_json::from_value(json!({"matchLabels": {"age": "new"}})).unwrap());
    };
    let stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
    let stage = stage.device("d1", "old", "1.1.0").device("d2", "new", "1.0.0").device("d3", "old", "1.0.0");
    let outcomes = stage.rollout("1.1.0", progressing(), narrow).outcomes();
    let seen = decided(&outcomes[0]).seen.as_ref().unwrap();
    assert_eq!((seen.view.matching, seen.eligible, seen.online), (1, 3, 3));
}

#[test]
fn a_late_way_back_ends_without_the_devices_that_nobody_hears() {
    let back = |deadline| Rollback {
        cause: Cause::Aborted,
        sentence: "aborted".into(),
        by_person: true,
        started_at: Time(NOW.0 - 60_000),
        deadline,
        overdue: false,
    };
    let stage = |deadline| {
        let state = State { phase: Phase::RollingBack, rollback: Some(back(deadline)), ..progressing() };
        let stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
        // Its presence says that it is connected, and no report of it has come since.
        stage.device("d1", "old", "1.1.0").rollout("1.1.0", state, |_| {})
    };
    let outcomes = stage(NOW.after_ms(1)).outcomes();
    assert_eq!(
        (outcomes[0].phase(), decided(&outcomes[0]).seen.as_ref().unwrap().view.still_exposed_mute),
        (Phase::RollingBack, 1)
    );
    let outcomes = stage(NOW).outcomes();
    assert_eq!(outcomes[0].phase(), Phase::RolledBack);
    let figures = decided(&outcomes[0]).memory.state.figures;
    assert_eq!((figures.to_follow, figures.safe_at), (1, None), "nobody knows that it is back");
    let log: Vec<_> =
        decided(&outcomes[0]).memory.state.log.iter().map(|line| (line.kind, &line.message)).collect();
    let [(EventKind::RollbackOverdue, warned), (EventKind::RolledBack, ended)] = log.as_slice() else {
        panic!("{log:?}")
    };
    let reason = &decided(&outcomes[0]).decision.reasons[0].message;
    for text in [warned.as_str(), ended.as_str(), reason.as_str()] {
        assert!(text.contains("1 connected device has not confirmed the rollback"), "{text}");
        assert!(text.contains("d1") && text.contains("check its agent"), "{text}");
    }
}

#[test]
fn an_overdue_way_back_lets_the_next_one_begin() {
    let back = Rollback {
        cause: Cause::Aborted,
        sentence: "aborted".into(),
        by_person: true,
        // Before anything was heard of the device, so that it counts as one that is there and stays.
        started_at: Time(0),
        deadline: Time(NOW.0 - 1),
        overdue: true,
    };
    let late = State { phase: Phase::RollingBack, rollback: Some(back), ..progressing() };
    let next = State { phase: Phase::Queued, attempt: 1, ..State::default() };
    let stage = Stage::new().version("1.0.0", production()).version("1.1.0", verified());
    let mut stage =
        stage.version("1.2.0", verified()).rollout("1.1.0", late, |_| {}).rollout("1.2.0", next, |_| {});
    stage = stage.device("d1", "old", "1.1.0");
    let outcomes = stage.outcomes();
    let inputs: Vec<PlanInput> = outcomes
        .iter()
        .map(|outcome| PlanInput {
            rollout: outcome.rollout.name_any(),
            view: decided(outcome).view.clone(),
            membership: Membership::default(),
            ended_at: None,
            goes_back: decided(outcome).goes_back(),
            stands_in: false,
        })
        .collect();
    assert_eq!((outcomes[0].phase(), outcomes[1].phase()), (Phase::RollingBack, Phase::Progressing));
    assert_eq!(plan_owner(&inputs).map(|input| input.rollout.as_str()), Some("r-1.2.0"));
}

#[test]
fn a_success_whose_way_back_is_gone_stays_in_production_and_says_so() {
    let succeeded = || State { phase: Phase::Succeeded, prior: Production::of_all("1.0.0"), ..progressing() };
    let abort = |spec: &mut RolloutSpec| spec.abort = true;
    let stage = || Stage::new().version("1.1.0", production()).device("d1", "old", "1.1.0");
    let mut whole =
        stage().version("1.0.0", json!({"stage": "Archived"})).rollout("1.1.0", succeeded(), abort);
    assert_eq!(whole.outcomes()[0].phase(), Phase::RollingBack);
    let outcomes = stage().rollout("1.1.0", succeeded(), abort).outcomes();
    assert_eq!(outcomes[0].phase(), Phase::Succeeded, "devices are not told to run nothing");
    let reason = &decided(&outcomes[0]).decision.reasons[0].message;
    assert!(reason.contains("version 1.0.0 is gone: register 1.0.0 again"), "{reason}");
}
