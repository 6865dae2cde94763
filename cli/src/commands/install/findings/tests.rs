use k8s_openapi::api::core::v1::Namespace;
use modelfleet_crds::definitions;
use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn deployment(ready: i32) -> Deployment {
    serde_json::from_value(json!({
        "spec": { "replicas": 2, "selector": {}, "template": { "spec": {
            "containers": [{
                "name": "controller", "image": "registry.example.com/controller:0.1.0", "args": ["run"],
                "env": [
                    { "name": "MODELFLEET_MQTT_URL", "value": "mqtts://broker:8884" },
                    { "name": "MODELFLEET_MQTT_PASSWORD_FILE", "value": "/etc/broker/password" },
                    { "name": "MODELFLEET_MQTT_CA", "value": "/etc/broker/ca.crt" },
                ],
                "envFrom": [{ "secretRef": { "name": "store" } }],
                "volumeMounts": [{ "name": "login", "mountPath": "/etc/broker" }],
            }],
            "volumes": [
                { "name": "login", "secret": { "secretName": "broker-login" } },
                { "name": "trust", "configMap": { "name": "trust" } },
            ],
        } } },
        "status": { "readyReplicas": ready },
    }))
    .unwrap()
}

fn lease_of(holder: &str, renewed: &str) -> Lease {
    serde_json::from_value(json!({ "spec": { "holderIdentity": holder, "renewTime": renewed } })).unwrap()
}

/// An installation that lacks nothing.
fn complete() -> Survey {
    let established = json!({ "conditions": [{ "type": "Established", "status": "True" }] });
    let installed = |mut definition: CustomResourceDefinition| {
        definition.status = serde_json::from_value(established.clone()).unwrap();
        Seen::There(definition)
    };
    let keys = |names: &[&str]| Seen::There(names.iter().map(|&name| name.to_owned()).collect());
    Survey {
        system_namespace: ("system".into(), Seen::There(Namespace::default())),
        definitions: definitions::all().into_iter().map(|one| (one.clone(), installed(one))).collect(),
        deployment: ("controller".into(), Seen::There(deployment(2))),
        pods: Vec::new(),
        lease: Seen::There(lease_of("controller-1", "1970-01-01T00:00:00.000000Z")),
        secrets: BTreeMap::from([
            ("broker-login".to_owned(), keys(&["password", "ca.crt"])),
            ("store".to_owned(), keys(&[])),
        ]),
        rights: ("plant-a".into(), vec![Right { verb: "create", resource: "rollouts", allowed: true }]),
        waiting: Vec::new(),
    }
}

/// What is not as it has to be.
fn lacking(survey: &Survey) -> Vec<(State, String)> {
    let found = of(survey, NOW).into_iter().filter(|finding| finding.state != State::Good);
    found
        .map(|finding| {
            assert_eq!(finding.next.is_some(), finding.state == State::Missing, "{}", finding.what);
            (finding.state, finding.what)
        })
        .collect()
}

fn only(change: impl FnOnce(&mut Survey), state: State, words: &str) {
    let mut survey = complete();
    change(&mut survey);
    let lacking = lacking(&survey);
    assert!(
        matches!(&lacking[..], [(found, what)] if *found == state && what.contains(words)),
        "{words}: {lacking:?}"
    );
}

#[test]
fn a_complete_installation_lacks_nothing() {
    assert_eq!(lacking(&complete()), []);
    assert_eq!(of(&complete(), NOW).len(), 3 + 1 + 2 + 1 + 1 + 1 + 1);
}

#[test]
fn each_thing_that_is_missing_is_told_alone() {
    use State::{Missing, Unseen};
    only(|s| s.definitions[1].1 = Seen::Absent, Missing, "definition of Rollout is not installed");
    only(
        |s| s.definitions[0].1 = Seen::Forbidden("no".into()),
        Unseen,
        "ModelVersion: permission denied: no",
    );
    only(|s| s.lease = Seen::Absent, Missing, "No replica has led yet");
    only(|s| s.lease = Seen::There(lease_of("", "1970-01-01T00:00:00.000000Z")), Missing, "has no holder");
    only(
        |s| s.lease = Seen::There(lease_of("a", "1969-12-31T23:59:00.000000Z")),
        Missing,
        "a renewed the Lease 1 minute ago for the last time",
    );
    only(|s| s.deployment.1 = Seen::There(deployment(1)), Missing, "1 of 2 replicas ready");
    only(|s| _ = s.secrets.insert("broker-login".into(), Seen::Absent), Missing, "broker-login is not in");
    only(|s| _ = s.secrets.insert("store".into(), Seen::Forbidden("no".into())), Unseen, "Secret store");
    only(
        |s| _ = s.secrets.insert("broker-login".into(), Seen::There(vec!["password".into()])),
        Missing,
        "Secret broker-login lacks ca.crt",
    );
    only(|s| s.rights.1[0].allowed = false, Missing, "You may not create rollouts in namespace plant-a");
    only(
        |s| s.waiting = vec![("pump".into(), "The broker is away.".into())],
        Missing,
        "Rollout pump waits for the broker: The broker is away.",
    );
    only(|s| s.system_namespace.1 = Seen::Absent, Missing, "Namespace system does not exist");
}

#[test]
fn other_definitions_than_the_plugins_are_told() {
    let mut survey = complete();
    for (at, (_, seen)) in survey.definitions.iter_mut().enumerate() {
        let Seen::There(installed) = seen else { unreachable!() };
        match at {
            0 => installed.spec.versions[0].schema = None,
            1 => installed.spec.versions[0].served = false,
            _ => installed.status = None,
        }
    }
    let lacking: Vec<String> = lacking(&survey).into_iter().map(|(_, what)| what).collect();
    assert!(
        lacking[0].contains("ModelVersion differs from the one of this plugin")
            && lacking[1].contains("Rollout is not served")
            && lacking[2].contains("DeviceOrder is installed and not yet established"),
        "{lacking:?}"
    );
}

#[test]
fn a_pod_that_waits_says_why() {
    let pod = json!({ "status": { "containerStatuses": [{
        "name": "controller", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": "CreateContainerConfigError", "message": "secret \"x\" not found" } },
    }] } });
    let mut survey = complete();
    survey.deployment.1 = Seen::There(deployment(0));
    survey.pods = vec![serde_json::from_value(pod).unwrap()];
    let [(State::Missing, what)] = &lacking(&survey)[..] else { panic!() };
    assert!(what.contains("CreateContainerConfigError: secret \"x\" not found"), "{what}");
}

#[test]
fn a_broker_without_tls_is_told() {
    let mut plain = deployment(2);
    let pod = plain.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    pod.containers[0].args = Some(vec!["run".into(), "--mqtt-url=mqtt://broker:1883".into()]);
    only(
        |s| s.deployment.1 = Seen::There(plain),
        State::Missing,
        "mqtt://broker:1883 is reached without TLS",
    );
}
