use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::statement::Statement;

use super::*;
use crate::register::signing::{Formats, sign};

fn arguments(folder: &Path) -> InstallArguments {
    InstallArguments {
        check: false,
        keys: Some(folder.to_owned()),
        system_namespace: "modelfleet-system".into(),
        deployment: "modelfleet-controller".into(),
        without_rights: false,
        broker_host: Vec::new(),
        devices: vec!["pump-001".parse().unwrap(), "pump-002".parse().unwrap()],
        models: vec!["pump-anomaly".parse().unwrap()],
    }
}

fn fleet() -> ClusterFlags {
    ClusterFlags { namespace: Some("plant-a".into()), ..ClusterFlags::default() }
}

#[test]
fn everything_is_made_once_and_never_replaced() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("keys");
    let told = make(&fleet(), &arguments(&folder), &folder).unwrap();
    assert!(told.contains("2 devices") && told.contains("modelfleet-broker.modelfleet-system.svc"), "{told}");
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let key = crate::key_file::signing_key(&folder.join("plan.key"), "plan key").unwrap();
    assert_eq!(text("plan.key.pub").trim(), hex::encode(key.verifying_key().to_bytes()));
    let statement = Statement {
        model: "pump".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        digest: Digest::of(b"model"),
        size_bytes: Some(5),
    };
    let signed = sign(b"model", &folder.join("ci.key"), None, &statement, Formats::default()).unwrap();
    assert!(text("ci.pub").contains(&signed[0].key_id));
    assert_eq!(text("devices").lines().count(), 2);
    assert!(text("acl-devices").contains("user pump-002\n"));
    assert!(text("controllers").starts_with("modelfleet-controller:$7$101$"));
    assert_eq!(text("device-passwords/pump-001.password").trim().len(), 32);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("."), mode("plan.key"), mode("secrets.yaml")), (0o700, 0o600, 0o600));
    }
    let before = text("plan.key");
    assert!(matches!(make(&fleet(), &arguments(&folder), &folder), Err(KeysError::Taken(_))));
    assert_eq!(text("plan.key"), before);
}

#[test]
fn the_secrets_hold_what_the_files_hold() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("keys");
    make(&fleet(), &arguments(&folder), &folder).unwrap();
    let yaml = fs::read_to_string(folder.join("secrets.yaml")).unwrap();
    let secrets: Vec<serde_json::Value> =
        yaml.split("---\n").map(|text| serde_saphyr::from_str(text).unwrap()).collect();
    let held: Vec<(&str, &str, &str)> = vec![
        ("modelfleet-plan-key", "plan.key", "plan.key"),
        ("modelfleet-broker-login", "ca.crt", "ca.crt"),
        ("modelfleet-broker-tls", "tls.key", "tls.key"),
        ("modelfleet-broker-users", "devices", "devices"),
        ("modelfleet-broker-users", "acl-devices", "acl-devices"),
    ];
    for (name, key, file) in held {
        let secret = secrets.iter().find(|secret| secret["metadata"]["name"] == name).unwrap();
        let text = fs::read_to_string(folder.join(file)).unwrap();
        assert_eq!(secret["stringData"][key], text, "{name} {key}");
    }
    let login = secrets.iter().find(|s| s["metadata"]["name"] == "modelfleet-broker-login").unwrap();
    let password = fs::read_to_string(folder.join("controller.password")).unwrap();
    assert_eq!(login["stringData"]["password"], password.trim());
}

#[test]
fn devices_need_their_fleet() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("keys");
    let refused = make(&ClusterFlags::default(), &arguments(&folder), &folder);
    assert!(matches!(refused, Err(KeysError::NoNamespace)) && !folder.exists());
}
