use std::collections::BTreeMap;

use modelfleet_crds::{ModelVersionSpec, RolloutSpec};
use modelfleet_rollout::Rejection as Seen;
use serde_json::{Value, json};

use super::*;
use crate::version_facts::stage;

fn digest(version: &str) -> String {
    Digest::of(version.as_bytes()).to_string()
}

fn object(version: &str, mark: Option<&str>, status: Value) -> Arc<ModelVersion> {
    let spec: ModelVersionSpec = serde_json::from_value(json!({
        "model": "m", "version": version,
        "artifact": {"uri": "file:///m.onnx", "digest": digest(version), "sizeBytes": 1},
    }))
    .unwrap();
    let mut object = ModelVersion::new(&format!("m-{version}"), spec);
    object.metadata.annotations = mark.map(|mark| BTreeMap::from([(REJECTED.to_owned(), mark.to_owned())]));
    object.status = serde_json::from_value(status).unwrap();
    Arc::new(object)
}

fn objects(versions: &[Arc<ModelVersion>]) -> ModelObjects {
    let versions = versions.iter().map(|object| (object.spec.version.clone(), Arc::clone(object)));
    ModelObjects { versions: versions.collect(), ..ModelObjects::default() }
}

/// A plan with this stable version and these rejected ones, issued a second after the epoch.
fn held(stable: &str, rejected: &[&str]) -> Plan {
    let build = json!({
        "model": "m", "version": stable, "digest": digest(stable), "uri": "file:///m.onnx", "sizeBytes": 1,
        "format": "Onnx",
    });
    let rejected: Vec<String> = rejected.iter().map(|version| digest(version)).collect();
    let plan = json!({
        "namespace": "plant", "model": "m", "epoch": 1, "revision": 1, "issued": 1_000, "expires": 9_000,
        "stable": build, "rejected": rejected,
    });
    serde_json::from_value(plan).unwrap()
}

fn rejected_status() -> Value {
    let by = json!({"rollout": "r-1.2.0", "reason": "Degraded", "time": "2026-01-01T00:00:00Z", "retryToken": "t"});
    json!({"stage": "Rejected", "reason": "Degraded", "message": "harm", "rejectedBy": by})
}

/// What objects, annotations and the plan say, and what a version is then. No device moves by any of it.
#[test]
fn a_version_comes_back_as_it_was() {
    let (none, verified) = (json!(null), json!({"stage": "Verified", "verifiedAt": "2026-01-01T00:00:00Z"}));
    let lifted = json!({"stage": "Verified", "reason": LIFTED});
    let taken_out = json!({"stage": "Verified", "promotedAt": "2026-01-01T00:00:00Z"});
    let mark = rejected_mark(&object("1.2.0", None, rejected_status())).unwrap();
    let foreign = rejected_mark(&object("9.9.9", None, rejected_status())).unwrap();
    let forged = json!({"stage": "Production", "productionFor": [{"selector": {}, "order": 9}]}).to_string();
    let (plan, other) = (held("1.2.0", &[]), held("1.0.0", &["1.2.0"]));
    use VersionStage as S;
    let table = [
        (None, &none, Some(&plan), S::Production),
        (None, &verified, Some(&plan), S::Production),
        (None, &taken_out, Some(&plan), S::Verified),
        (None, &none, Some(&other), S::Rejected),
        (None, &lifted, Some(&other), S::Verified),
        (Some(&mark), &none, None, S::Rejected),
        (Some(&mark), &verified, None, S::Rejected),
        // The mark was there before the rejection was lifted.
        (Some(&mark), &lifted, None, S::Verified),
        // A mark that was copied from another version, and one that somebody made up.
        (Some(&foreign), &none, None, S::Registered),
        (Some(&forged), &none, None, S::Registered),
        // The plan is signed, and a version that devices have in production is not rejected.
        (Some(&mark), &none, Some(&plan), S::Production),
        (None, &none, None, S::Registered),
    ];
    for (at, (mark, status, plan, expected)) in table.into_iter().enumerate() {
        let before = objects(&[object("1.2.0", mark.map(String::as_str), status.clone())]);
        let (after, changed) = restored(&before, plan);
        assert_eq!(stage(&after.versions["1.2.0"]), expected, "row {at}");
        let is_changed = stage(&before.versions["1.2.0"]) != expected;
        assert_eq!(changed.len(), usize::from(is_changed), "row {at}");
        assert_eq!(restored(&after, plan).1, Vec::<String>::new(), "row {at}: once");
    }
}

#[test]
fn what_was_rejected_keeps_its_time_and_its_token() {
    let status = rejected_status();
    let mark = rejected_mark(&object("1.2.0", None, status.clone())).unwrap();
    let (after, _) = restored(&objects(&[object("1.2.0", Some(&mark), json!(null))]), None);
    let back = &after.versions["1.2.0"];
    assert_eq!(serde_json::to_value(&back.status).unwrap(), status);
    assert_eq!(rejected_mark(back), Some(mark));
}

fn rollout(version: &str, mark: Option<&str>) -> Rollout {
    let mut rollout = Rollout::new(&format!("r-{version}"), RolloutSpec::new("m", version));
    rollout.metadata.annotations = mark.map(|mark| BTreeMap::from([(ENDED.to_owned(), mark.to_owned())]));
    rollout
}

fn ended_at(phase: Phase, cause: Option<Cause>) -> State {
    let (at, sentence) = (Time(7_000), "harm was shown".to_owned());
    let rollback = |cause: Cause| Rollback {
        cause,
        sentence: sentence.clone(),
        by_person: !cause.rejects(),
        started_at: at,
        deadline: at,
        overdue: false,
    };
    State {
        phase,
        attempt: 2,
        version: "1.1.0".to_owned(),
        retry_token: Some("again".to_owned()),
        phase_since: at,
        rollback: cause.map(rollback),
        figures: Figures { ended_at: Some(at), ..Figures::default() },
        ..State::default()
    }
}

#[test]
fn a_rollout_that_has_ended_stays_so_and_one_that_has_not_says_nothing() {
    let ends = [
        ended_at(Phase::Succeeded, None),
        ended_at(Phase::RolledBack, Some(Cause::Degraded)),
        ended_at(Phase::RolledBack, Some(Cause::Aborted)),
    ];
    for end in ends {
        let mark = ended_mark(&rollout("1.1.0", None), &end).unwrap();
        let back = ended(&rollout("1.1.0", Some(&mark)), &State::default()).unwrap();
        assert_eq!(back, end);
        assert_eq!(ended_mark(&rollout("1.1.0", None), &back), Some(mark.clone()), "the mark stays as it is");
        // A look before the broker was read, whose status was stored.
        let looked = State { attempt: 1, phase: Phase::Queued, ..State::default() };
        assert!(ended(&rollout("1.1.0", Some(&mark)), &looked).is_some());
        // Who was asked to begin anew has begun; who is at the end knows it himself; another object is another one.
        let retried = State { attempt: 3, phase: Phase::Queued, ..State::default() };
        assert_eq!(ended(&rollout("1.1.0", Some(&mark)), &retried), None);
        assert_eq!(ended(&rollout("1.1.0", Some(&mark)), &end), None);
        assert_eq!(ended(&rollout("1.2.0", Some(&mark)), &State::default()), None);
    }
    for mark in [None, Some("{}"), Some("garbage")] {
        assert_eq!(ended(&rollout("1.1.0", mark), &State::default()), None);
    }
    let under_way = State { phase: Phase::Progressing, ..State::default() };
    assert_eq!(ended_mark(&rollout("1.1.0", None), &under_way), None);
}

/// Nothing says how these ended: a cluster was built anew from files that hold no annotations.
#[test]
fn an_older_version_without_a_mark_waits_for_a_person() {
    let verified = json!({"stage": "Verified"});
    let versions: Vec<_> = ["1.0.0", "1.1.0", "1.2.0"].map(|v| object(v, None, verified.clone())).into();
    let (objects, _) = restored(&objects(&versions), Some(&held("1.1.0", &[])));
    let waits = State { attempt: 1, ..State::default() };
    let of = |version: &str, state: &State| fact(&objects, &rollout(version, None), state, version);
    let VersionFact::Doubtful { why, at } = of("1.0.0", &waits) else {
        panic!("it would downgrade the fleet")
    };
    assert!(why.contains("1.0.0 is older than 1.1.0") && at == Time(1_000), "{why}");
    assert_eq!(of("1.1.0", &waits), VersionFact::Production);
    assert_eq!(of("1.2.0", &waits), VersionFact::Verified, "nobody has had it");
    let refused =
        State { phase: Phase::Refused, rejection: Some(Seen { at: Some(at), lifted: false }), ..waits };
    assert!(refused.is_refused(at, None) && !refused.is_refused(at, Some("run it")));
}
