//! Objects with the statuses that the shipped code writes, as files that the health checks of GitOps tools are tried on:
//! `manifests/argocd` has the checks, `tests/gitops` tries them. `UPDATE_GOLDEN=1 cargo test -p modelfleet-model --test
//! gitops_statuses` writes the files anew.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]
#![allow(clippy::disallowed_methods, reason = "it reads and writes files")]

use std::path::Path;
use std::sync::Arc;

use modelfleet_crds::{ModelVersion, Rollout, RolloutSpec};
use modelfleet_fleet::{Index, Key, Link, Source};
use modelfleet_model::rollout_status::rollout_status;
use modelfleet_model::status::memory::Memory;
use modelfleet_model::status::{StatusInputs, status_from};
use modelfleet_model::version_status::version_conditions;
use modelfleet_model::{ModelObjects, Snapshot, decide_model};
use modelfleet_protocol::ids::{DeviceId, Digest};
use modelfleet_protocol::membership::{Clause, Membership};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{
    Breach, Cause, Drawn, Harm, PauseCause, Phase, Production, Reason, ReasonCode, Rollback, State,
};
use serde_json::{Value, json};

const NOW: Time = Time(1_790_000_000_000);
const MINUTE: u64 = 60_000;

fn key() -> Key {
    ("plant-a".parse().unwrap(), "pump-anomaly".parse().unwrap())
}

fn version(version: &str, status: &Value) -> Arc<ModelVersion> {
    let object = json!({
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "ModelVersion",
        "metadata": {"name": format!("pump-anomaly-{version}"), "namespace": "plant-a"},
        "spec": {"model": "pump-anomaly", "version": version, "artifact": {
            "uri": format!("https://models.example.com/pump-anomaly/{version}.onnx"),
            "digest": Digest::of(version.as_bytes()).to_string(), "sizeBytes": 1,
        }},
        "status": status,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

/// Eight connected devices that run a version.
fn index(running: &str) -> Index {
    let mut index = Index::new(100);
    index.note(&key(), Source::Plan);
    for number in 1..=8 {
        let id: DeviceId = format!("pump-{number:03}").parse().unwrap();
        let root = modelfleet_protocol::topic::device_root(&key().0, &id);
        let digest = Digest::of(running.as_bytes());
        let state = json!({
            "device": id, "sequence": 1, "at": NOW, "agent": "0.1.0", "labels": {"site": "north"},
            "models": [{"model": "pump-anomaly", "running":
                {"digest": digest, "version": running, "activated": 5, "confirmed": true}}],
        });
        let presence = json!({"online": true, "since": 1, "connection": 1});
        for (channel, payload) in [("presence", presence), ("state", state)] {
            index.fold(&format!("{root}/{channel}"), payload.to_string().as_bytes(), false, NOW);
        }
    }
    index.complete(&key().0, NOW);
    index
}

/// A rollout of 1.1.0 that the controller has not seen.
fn unwritten() -> Rollout {
    let mut rollout = Rollout::new("pump-anomaly", RolloutSpec::new("pump-anomaly", "1.1.0"));
    rollout.metadata.namespace = Some("plant-a".into());
    rollout.metadata.uid = Some("5d1f6f3e-0000-4000-8000-000000000001".into());
    rollout.metadata.generation = Some(2);
    rollout
}

/// The rollout, with a status that says that it is in this state.
fn rollout(state: State) -> Rollout {
    because(state, &[])
}

/// The same, and why.
fn because(state: State, reasons: &[Reason]) -> Rollout {
    let mut rollout = unwritten();
    let valid = modelfleet_spec::validate(&rollout, None).unwrap();
    let state = State { version: "1.1.0".into(), prior: Production::of_all("1.0.0"), ..state };
    let memory = Memory { judged: (state.attempt, state.stage), state, judge: String::new() };
    let membership = Membership {
        salt: "5d1f6f3e-0000-4000-8000-000000000001/1".into(),
        clauses: vec![Clause { devices: vec!["pump-001".parse().unwrap()], ..Clause::default() }],
        exclude: vec![],
    };
    let inputs = StatusInputs {
        valid: &valid,
        memory: &memory,
        membership: &membership,
        reasons,
        fleet: None,
        answer: None,
        watched: None,
        plan: None,
        restored: false,
        generation: Some(2),
        now: NOW,
    };
    rollout.status = Some(status_from(&inputs, None));
    rollout
}

/// What the controller writes when it looks at this rollout while `running` is in production.
fn looked_at(rollout: Rollout, running: &str) -> Rollout {
    let produced = json!({"stage": "Production", "promotedAt": "2026-01-01T00:00:00Z"});
    let stage = |name: &str, other: &str| match name == running {
        true => produced.clone(),
        false => json!({"stage": other}),
    };
    let versions =
        vec![version("1.0.0", &stage("1.0.0", "Archived")), version("1.1.0", &stage("1.1.0", "Verified"))];
    let rollout = Arc::new(rollout);
    let snapshot = Snapshot {
        key: key(),
        objects: ModelObjects::new(vec![rollout.clone()], versions),
        plan: None,
        recalled: None,
        fleet: index(running).fleet(&key().0),
        link: Link { connected: true, settled: true, since: Time(1) },
        recorded: None,
        last_looks: Arc::default(),
        trust: None,
    };
    let decision = decide_model(&snapshot, NOW);
    let mut rollout = (*rollout).clone();
    let generation = rollout.metadata.generation;
    rollout.status =
        Some(rollout_status(&decision.rollouts[0], rollout.status.as_ref(), None, generation, NOW));
    rollout
}

/// The canary stage, an hour old.
fn canary(phase: Phase) -> State {
    let begun = Time(NOW.0 - 60 * MINUTE);
    let valid = modelfleet_spec::validate(&unwritten(), None).unwrap();
    State {
        phase,
        attempt: 1,
        started_at: Some(begun),
        stage_opened_at: Some(begun),
        phase_since: begun,
        drawn: Some(Drawn { stage: 0, target: valid.policy.stage(0).target, at: begun, set_aside: 0 }),
        ..State::default()
    }
}

fn harm() -> Harm {
    Harm {
        at: Time(NOW.0 - 10 * MINUTE),
        cause: Cause::Degraded,
        sentence: "too many false alarms (limit 25 %) on 3 of 5 updated devices, 0 of 195 others".into(),
        statistics: "rate 52.32x the expected".into(),
    }
}

fn taken_back(phase: Phase, cause: Cause) -> State {
    let rollback = Rollback {
        cause,
        sentence: if cause == Cause::Degraded { harm().sentence } else { "spec.abort is true".into() },
        by_person: cause == Cause::Aborted,
        started_at: Time(NOW.0 - 10 * MINUTE),
        deadline: Time(NOW.0 + 5 * MINUTE),
        overdue: false,
    };
    State { rollback: Some(rollback), harm: (cause == Cause::Degraded).then(harm), ..canary(phase) }
}

/// Each state in which a rollout can be for long.
fn rollouts() -> Vec<(&'static str, Rollout)> {
    let edit = |mut rollout: Rollout, edit: fn(&mut RolloutSpec)| {
        edit(&mut rollout.spec);
        looked_at(rollout, "1.0.0")
    };
    let reason = |code, message: &str| Reason { code, message: message.into(), deadline: None };
    let paused = |cause, code, message| because(canary(Phase::Paused(cause)), &[reason(code, message)]);
    let back = reason(ReasonCode::RollingBack, "Rolling back 1.1.0 on 5 reachable devices, 5 minutes left.");
    let asked = reason(ReasonCode::AwaitingApproval, "Stage canary waits for approval. Set promote: canary.");
    let broken =
        reason(ReasonCode::BreachInProduction, "Version 1.1.0 is in production and breaks an objective.");
    let succeeded = || State { stage: 3, ..canary(Phase::Succeeded) };
    let breach = Breach { at: NOW, sentence: "7 of 9 devices are slow".into() };
    let mut edited = looked_at(rollout(canary(Phase::Progressing)), "1.0.0");
    edited.metadata.generation = Some(3);
    let shrinking: fn(&mut RolloutSpec) = |spec| {
        let stage = |name: &str, devices: &str| json!({"name": name, "devices": devices});
        spec.stages = serde_json::from_value(json!([stage("half", "50%"), stage("tenth", "10%")])).unwrap();
    };
    vec![
        ("unwritten", unwritten()),
        ("new", looked_at(unwritten(), "1.0.0")),
        ("edited", edited),
        ("progressing", looked_at(rollout(canary(Phase::Progressing)), "1.0.0")),
        ("paused_by_a_person", edit(rollout(canary(Phase::Progressing)), |spec| spec.paused = true)),
        (
            "paused_for_an_incident",
            paused(PauseCause::Incident, ReasonCode::Incident, "Paused because of an incident."),
        ),
        (
            "paused_undecided",
            paused(PauseCause::Undecided, ReasonCode::Undecided, "Paused: stage canary had no verdict."),
        ),
        (
            "paused_without_approval",
            paused(
                PauseCause::ApprovalTimedOut,
                ReasonCode::ApprovalTimedOut,
                "Paused: not approved in time.",
            ),
        ),
        ("awaiting_approval", because(canary(Phase::AwaitingApproval), &[asked])),
        ("rolling_back", because(taken_back(Phase::RollingBack, Cause::Degraded), &[back])),
        ("rolled_back", looked_at(rollout(taken_back(Phase::RolledBack, Cause::Degraded)), "1.0.0")),
        ("aborted", edit(rollout(taken_back(Phase::RolledBack, Cause::Aborted)), |spec| spec.abort = true)),
        ("succeeded", looked_at(rollout(succeeded()), "1.1.0")),
        ("breached", because(State { breach: Some(breach), ..succeeded() }, &[broken])),
        ("invalid", edit(unwritten(), shrinking)),
    ]
}

/// Each state of a version.
fn versions() -> Vec<(&'static str, ModelVersion)> {
    let told = |status: Value| {
        let object = version("1.1.0", &status);
        let mut told = (*object).clone();
        let mut status = told.status.clone().unwrap_or_default();
        status.conditions = version_conditions(&told, &status, Vec::new(), NOW);
        told.status = Some(status);
        told
    };
    let checked = "2026-01-01T00:00:00Z";
    let refused = json!({
        "stage": "Rejected", "reason": "DigestMismatch",
        "message": "The file has another digest than spec.artifact.digest. Register the version again.",
    });
    let mut unwritten = told(json!({}));
    unwritten.status = None;
    vec![
        ("unwritten", unwritten),
        ("registered", told(json!({"stage": "Registered"}))),
        ("verified", told(json!({"stage": "Verified", "verifiedAt": checked}))),
        ("production", told(json!({"stage": "Production", "verifiedAt": checked, "promotedAt": checked}))),
        ("archived", told(json!({"stage": "Archived", "verifiedAt": checked}))),
        ("rejected", told(refused)),
    ]
}

/// Compares an object with its file, or writes the file.
fn keep<T: serde::Serialize>(kind: &str, name: &str, object: &T) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/argocd/resource_customizations");
    let file = root.join("modelfleet.io").join(kind).join("testdata").join(format!("{name}.yaml"));
    let text = serde_yaml::to_string(object).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &text).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, text, "{} is not what the code writes", file.display());
}

#[test]
fn the_files_have_the_statuses_that_the_code_writes() {
    rollouts().iter().for_each(|(name, object)| keep("Rollout", name, object));
    versions().iter().for_each(|(name, object)| keep("ModelVersion", name, object));
}
