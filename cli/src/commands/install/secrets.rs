//! The Secrets of a new installation, under the names that the manifests and the chart expect.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;

use super::keys::Tls;
use crate::yaml_file;

/// What the Secrets hold.
pub(super) struct Made {
    pub(super) plan_key: String,
    pub(super) password: String,
    pub(super) tls: Tls,
    pub(super) controllers: String,
    pub(super) devices: String,
    pub(super) rules: String,
}

/// The Secrets as one file of YAML.
pub(super) fn yaml(namespace: &str, made: &Made) -> Result<String, serde_saphyr::SerializeError> {
    let tls = &made.tls;
    let list = [
        secret(namespace, "modelfleet-plan-key", "Opaque", &[("plan.key", &made.plan_key)]),
        secret(
            namespace,
            "modelfleet-broker-login",
            "Opaque",
            &[("password", &made.password), ("ca.crt", &tls.authority)],
        ),
        secret(
            namespace,
            "modelfleet-broker-tls",
            "kubernetes.io/tls",
            &[("ca.crt", &tls.authority), ("tls.crt", &tls.certificate), ("tls.key", &tls.key)],
        ),
        secret(
            namespace,
            "modelfleet-broker-users",
            "Opaque",
            &[("controllers", &made.controllers), ("devices", &made.devices), ("acl-devices", &made.rules)],
        ),
    ];
    let texts: Result<Vec<String>, _> = list.iter().map(yaml_file::written).collect();
    Ok(texts?.join("---\n"))
}

fn secret(namespace: &str, name: &str, kind: &str, held: &[(&str, &String)]) -> Secret {
    let held: BTreeMap<String, String> =
        held.iter().map(|(key, text)| ((*key).to_owned(), (*text).clone())).collect();
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some(kind.to_owned()),
        string_data: Some(held),
        ..Secret::default()
    }
}
