use std::sync::Arc;

use modelfleet_crds::ModelVersionSpec;
use serde_json::{Value, json};

use super::*;

fn site(value: &str) -> Selector {
    Selector { match_labels: [("site".to_owned(), value.to_owned())].into(), ..Selector::default() }
}

fn object(version: &str, status: Value) -> (String, Arc<ModelVersion>) {
    let spec: ModelVersionSpec = serde_json::from_value(json!({
        "model": "m", "version": version,
        "artifact": {"uri": "file:///m.onnx", "digest": Digest::of(version.as_bytes()).to_string(), "sizeBytes": 1},
    }))
    .unwrap();
    let mut object = ModelVersion::new(&format!("m-{version}"), spec);
    object.status = serde_json::from_value(status).unwrap();
    (version.to_owned(), Arc::new(object))
}

fn objects(versions: &[(&str, Value)]) -> ModelObjects {
    let versions = versions.iter().map(|(version, status)| object(version, status.clone()));
    ModelObjects { versions: versions.collect(), ..ModelObjects::default() }
}

fn build(version: &str) -> Value {
    json!({
        "model": "m", "version": version, "digest": Digest::of(version.as_bytes()), "uri": "file:///m.onnx",
        "sizeBytes": 1, "format": "Onnx",
    })
}

/// A plan with 1.1.0 for the north and 1.0.0 for all others.
fn held() -> Plan {
    let plan = json!({
        "namespace": "plant", "model": "m", "epoch": 1, "revision": 1, "issued": 0, "expires": 1,
        "stable": build("1.0.0"), "stableFor": [{"selector": site("north"), "build": build("1.1.0")}],
    });
    serde_json::from_value(plan).unwrap()
}

fn scope(site: &str, order: i64) -> Value {
    let selector = if site.is_empty() { json!({}) } else { json!({"matchLabels": {"site": site}}) };
    json!({"selector": selector.to_string(), "order": order})
}

fn produced(scopes: &[Value]) -> Value {
    json!({"stage": "Production", "promotedAt": "2026-01-01T00:00:00Z", "productionFor": scopes})
}

const NORTH: &str = "1.1.0 for site=north, 1.0.0 for all other devices";

#[test]
fn statuses_and_the_plan_say_what_is_in_production() {
    let (none, archived) = (json!(null), json!({"stage": "Archived"}));
    let verified = json!({"stage": "Verified", "verifiedAt": "2026-01-01T00:00:00Z"});
    let taken_out = json!({"stage": "Verified", "promotedAt": "2026-01-01T00:00:00Z"});
    let old = json!({"stage": "Production", "promotedAt": "2026-01-01T00:00:00Z"});
    let newer = json!({"stage": "Production", "promotedAt": "2026-01-02T00:00:00Z"});
    let (all, north) = (produced(&[scope("", 1)]), produced(&[scope("north", 2)]));
    // What the statuses of 1.0.0 and 1.1.0 say (`gone`: there is no such object), whether devices hold a plan, and what
    // is in production then.
    let gone = json!("gone");
    let table = [
        (&all, &north, false, NORTH),
        (&all, &north, true, NORTH),
        (&old, &newer, false, "1.1.0"),
        (&old, &north, false, NORTH),
        (&none, &none, false, "none"),
        // Everything came back without its status, before and after its bytes were checked, or has not come back yet.
        (&none, &none, true, NORTH),
        (&verified, &none, true, NORTH),
        (&gone, &gone, true, NORTH),
        (&gone, &verified, true, NORTH),
        // One of the two has lost its status: the other's word stands.
        (&all, &none, true, NORTH),
        (&none, &north, true, NORTH),
        // An object that says that it is not in production is believed before the plan is.
        (&all, &taken_out, true, "1.0.0"),
        (&archived, &north, true, "1.1.0 for site=north"),
        // A promotion that was stored, and whose plan was not sent.
        (&archived, &produced(&[scope("", 3)]), true, "1.1.0"),
    ];
    for (at, (first, second, plan, expected)) in table.into_iter().enumerate() {
        let versions: Vec<(&str, Value)> = [("1.0.0", first), ("1.1.0", second)]
            .into_iter()
            .filter(|(_, status)| **status != gone)
            .map(|(version, status)| (version, status.clone()))
            .collect();
        let plan = plan.then(held);
        assert_eq!(production(&objects(&versions), plan.as_ref()).to_string(), expected, "row {at}");
    }
}

#[test]
fn another_build_under_the_same_name_is_not_what_devices_run() {
    let mut objects = objects(&[("1.0.0", json!(null)), ("1.1.0", json!(null))]);
    let other = Arc::make_mut(objects.versions.get_mut("1.1.0").unwrap());
    other.spec.artifact.digest = Digest::of(b"rebuilt").to_string();
    assert_eq!(production(&objects, Some(&held())).to_string(), "1.0.0");
    assert_eq!(lost(&objects, Some(&held())), BTreeSet::from(["1.0.0".to_owned()]));
}

/// What is written holds after each single write, in the order of the shell: new entries first.
#[test]
fn no_crash_between_two_writes_gives_anybody_what_no_stage_brought() {
    let all = produced(&[scope("", 1)]);
    let before = objects(&[("1.0.0", all.clone()), ("1.1.0", json!(null)), ("1.2.0", json!(null))]);
    let start = production(&before, None);
    let steps: [(&str, &Selector); 4] = [
        ("1.1.0", &site("north")),
        ("1.2.0", &site("south")),
        ("1.2.0", &site("north")),
        ("1.1.0", &Selector::default()),
    ];
    let (mut now, mut history) = (before, vec![start.clone()]);
    for (version, selector) in steps {
        let (old, new) = (production(&now, None), production(&now, None).with(selector, version));
        now = written(&now, &new, &[&old, &new]);
        assert_eq!(production(&now, None), new);
        history.push(new);
    }
    // And back again.
    history.pop();
    for prior in history.into_iter().rev() {
        let old = production(&now, None);
        now = written(&now, &prior, &[&old, &prior]);
        assert_eq!(production(&now, None), prior);
    }
}

/// Writes one version after the other, as the shell does; each moment must be one of `allowed`, for every kind of device.
fn written(objects: &ModelObjects, target: &Production, allowed: &[&Production]) -> ModelObjects {
    let scopes = scopes(objects, target);
    let mut objects = objects.clone();
    let kept: Vec<String> = scopes.iter().map(|(version, _)| version.clone()).collect();
    let last: Vec<String> =
        objects.versions.keys().filter(|version| !kept.contains(version)).cloned().collect();
    let all = kept.iter().map(|version| (version, true)).chain(kept.iter().chain(&last).map(|v| (v, false)));
    for (version, adds) in all {
        let object = Arc::make_mut(objects.versions.get_mut(version).unwrap());
        let mut status = object.status.clone().unwrap_or_default();
        let listed = scopes.iter().find(|(kept, _)| kept == version);
        let new = listed.map_or_else(Vec::new, |(_, listed)| listed.clone());
        let scopes = if adds { joined(&new, &status.production_for) } else { new };
        status.stage =
            Some(if scopes.is_empty() { VersionStage::Archived } else { VersionStage::Production });
        put(&mut status, scopes);
        object.status = Some(status);
        let seen = production(&objects, None);
        for place in ["north", "south", "west"] {
            let of = |list: &Production| {
                let labels = [("site".to_owned(), place.to_owned())].into();
                let entry = list.entries().iter().find(|entry| entry.selector.matches(&labels));
                entry.map(|entry| entry.version.clone())
            };
            assert!(allowed.iter().any(|list| of(list) == of(&seen)), "{place}: {seen}");
        }
    }
    objects
}
