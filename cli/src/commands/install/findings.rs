//! From what there is to what is missing, and the next step for each.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::survey::{Right, Seen, Survey};
use crate::units;

/// A Lease that was not renewed for so long has no holder that is alive: a replica takes it over after 17 seconds.
const LEASE_SECONDS_MAX: i64 = 30;

/// Whether it is as it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Good,
    /// It is not.
    Missing,
    /// The caller may not look.
    Unseen,
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whether it is as it has to be.
    pub state: State,
    /// What there is, or is not.
    pub what: String,
    /// What to do.
    pub next: Option<String>,
}

fn good(what: String) -> Finding {
    Finding { state: State::Good, what, next: None }
}

fn missing(what: String, next: impl Into<String>) -> Finding {
    Finding { state: State::Missing, what, next: Some(next.into()) }
}

fn unseen(what: &str, why: &str) -> Finding {
    Finding { state: State::Unseen, what: format!("{what}: permission denied: {why}"), next: None }
}

const INSTALL: &str = "helm upgrade --install modelfleet packaging/helm/modelfleet -n modelfleet-system --create-namespace, or \
                       kubectl apply --server-side -k manifests";
const UPGRADE: &str = "helm upgrade modelfleet packaging/helm/modelfleet -n modelfleet-system, or kubectl apply --server-side \
                       -f manifests/crds";

/// Everything that was looked at, in the order in which one installs.
#[must_use]
pub fn of(survey: &Survey, now: Timestamp) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        survey.definitions.iter().map(|(wanted, seen)| definition(wanted, seen)).collect();
    let (namespace, seen) = &survey.system_namespace;
    found.push(match seen {
        Seen::There(_) => good(format!("Namespace {namespace} is there.")),
        Seen::Absent => missing(format!("Namespace {namespace} does not exist."), INSTALL),
        Seen::Forbidden(why) => unseen(&format!("Namespace {namespace}"), why),
    });
    let (name, deployment) = &survey.deployment;
    if let Seen::There(deployment) = deployment {
        found.extend(secrets(deployment, &survey.secrets, namespace));
        found.extend(broker(deployment));
    }
    found.push(match deployment {
        Seen::There(deployment) => readiness(name, namespace, deployment, &survey.pods),
        Seen::Absent => missing(format!("Deployment {name} is not in namespace {namespace}."), INSTALL),
        Seen::Forbidden(why) => unseen(&format!("Deployment {name}"), why),
    });
    found.push(lease(&survey.lease, namespace, now));
    let (namespace, rights) = &survey.rights;
    found.extend(rights.iter().map(|right| permission(right, namespace)));
    found.extend(survey.waiting.iter().map(|(rollout, why)| {
        let next = format!("kubectl modelfleet explain {rollout} -n {namespace}; docs/runbooks.md");
        missing(format!("Rollout {rollout} waits for the broker: {}", crate::printing::cut(why)), next)
    }));
    found
}

fn definition(wanted: &CustomResourceDefinition, seen: &Seen<CustomResourceDefinition>) -> Finding {
    let kind = &wanted.spec.names.kind;
    let installed = match seen {
        Seen::There(installed) => installed,
        Seen::Absent => return missing(format!("The definition of {kind} is not installed."), INSTALL),
        Seen::Forbidden(why) => return unseen(&format!("The definition of {kind}"), why),
    };
    let conditions = installed.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if !conditions.clone().any(|c| c.type_ == "Established" && c.status == "True") {
        return missing(
            format!("The definition of {kind} is installed and not yet established."),
            format!("kubectl describe crd {}", wanted.metadata.name.as_deref().unwrap_or_default()),
        );
    }
    for version in &wanted.spec.versions {
        let name = &version.name;
        let Some(other) = installed.spec.versions.iter().find(|other| other.name == *name) else {
            return missing(format!("The definition of {kind} has no version {name}."), UPGRADE);
        };
        if !other.served {
            return missing(format!("Version {name} of {kind} is not served."), UPGRADE);
        }
        if other.schema != version.schema {
            let what = format!(
                "The definition of {kind} differs from the one of this plugin ({}).",
                env!("CARGO_PKG_VERSION")
            );
            return missing(
                what,
                format!("{UPGRADE}; if the cluster is newer, take the plugin of its release"),
            );
        }
    }
    good(format!("The definition of {kind} is that of this plugin."))
}

fn controller(deployment: &Deployment) -> Option<&Container> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.iter().find(|container| container.name == "controller").or(pod.containers.first())
}

/// The Secrets that a Deployment mounts, and the keys that its variables name as files.
#[must_use]
pub fn secrets_of(deployment: &Deployment) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let (Some(pod), Some(container)) = (pod, controller(deployment)) else { return found };
    let values = container.env.iter().flatten().filter_map(|variable| variable.value.as_deref());
    let values: Vec<&str> = values.chain(container.args.iter().flatten().map(String::as_str)).collect();
    for volume in pod.volumes.iter().flatten() {
        let Some(secret) = volume.secret.as_ref().filter(|secret| secret.optional != Some(true)) else {
            continue;
        };
        let keys = found.entry(secret.secret_name.clone().unwrap_or_default()).or_default();
        for mount in container.volume_mounts.iter().flatten().filter(|mount| mount.name == volume.name) {
            let below = format!("{}/", mount.mount_path);
            keys.extend(
                values.iter().filter_map(|value| value.split_once(&below)).map(|(_, key)| key.to_owned()),
            );
        }
    }
    for source in container.env_from.iter().flatten() {
        if let Some(secret) = source.secret_ref.as_ref().filter(|secret| secret.optional != Some(true)) {
            found.entry(secret.name.clone()).or_default();
        }
    }
    found
}

fn secrets(
    deployment: &Deployment,
    seen: &BTreeMap<String, Seen<Vec<String>>>,
    namespace: &str,
) -> Vec<Finding> {
    let make = format!(
        "kubectl modelfleet install --keys KEYS makes the Secrets of a new installation; then: kubectl apply -n {namespace} -f \
         KEYS/secrets.yaml"
    );
    let one = |(name, wanted): (String, BTreeSet<String>)| match seen.get(&name) {
        Some(Seen::There(keys)) => {
            let lacking: Vec<&str> =
                wanted.iter().filter(|key| !keys.contains(key)).map(String::as_str).collect();
            match lacking.is_empty() {
                true => good(format!("Secret {name} is there.")),
                false => missing(format!("Secret {name} lacks {}.", lacking.join(" and ")), &make),
            }
        }
        Some(Seen::Forbidden(why)) => unseen(&format!("Secret {name}"), why),
        Some(Seen::Absent) | None => {
            missing(format!("Secret {name} is not in namespace {namespace}."), &make)
        }
    };
    secrets_of(deployment).into_iter().map(one).collect()
}

/// What the Deployment says about the broker. Whether the controller reaches it shows in the readiness of its leader.
fn broker(deployment: &Deployment) -> Option<Finding> {
    let container = controller(deployment)?;
    let variable = |name: &str| {
        let found = container.env.iter().flatten().find(|variable| variable.name == name);
        found.and_then(|variable| variable.value.clone())
    };
    let argument =
        container.args.iter().flatten().find_map(|a| a.strip_prefix("--mqtt-url=")).map(str::to_owned);
    let Some(url) = argument.or_else(|| variable("MODELFLEET_MQTT_URL")) else {
        return Some(missing(
            "The controller has no address of a broker.".to_owned(),
            "set MODELFLEET_MQTT_URL, in the chart broker.url",
        ));
    };
    Some(match url.starts_with("mqtt://") {
        true => missing(
            format!("The broker {url} is reached without TLS, so passwords cross the network in the clear."),
            "give the broker a certificate, and the controller a URL that begins with mqtts://",
        ),
        false => good(format!("The broker is {url}.")),
    })
}

fn readiness(name: &str, namespace: &str, deployment: &Deployment, pods: &[Pod]) -> Finding {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let image = controller(deployment).and_then(|container| container.image.clone()).unwrap_or_default();
    let what = format!("Deployment {name} has {ready} of {wanted} replicas ready, with the image {image}.");
    if wanted == 0 {
        return missing(what, format!("kubectl -n {namespace} scale deployment {name} --replicas=2"));
    }
    if ready >= wanted {
        return good(what);
    }
    let why: BTreeSet<String> = pods.iter().filter_map(waiting).collect();
    let why: Vec<String> = why.into_iter().collect();
    let logs = format!(
        "kubectl -n {namespace} describe pods -l app.kubernetes.io/name={name}; kubectl -n {namespace} logs deploy/{name}"
    );
    match why.is_empty() {
        true => missing(what, logs),
        false => missing(format!("{what} Its pods wait: {}.", why.join("; ")), logs),
    }
}

/// Why a pod's container does not run.
fn waiting(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let waiting = statuses.iter().find_map(|status| status.state.as_ref()?.waiting.as_ref())?;
    let reason = waiting.reason.clone().unwrap_or_default();
    Some(match &waiting.message {
        Some(message) => format!("{reason}: {}", crate::printing::cut(message)),
        None => reason,
    })
}

fn lease(seen: &Seen<Lease>, namespace: &str, now: Timestamp) -> Finding {
    let next = format!("kubectl -n {namespace} logs deploy/modelfleet-controller says why no replica leads");
    let lease = match seen {
        Seen::There(lease) => lease,
        Seen::Absent => return missing("No replica has led yet: there is no Lease.".to_owned(), next),
        Seen::Forbidden(why) => return unseen("The Lease modelfleet-controller", why),
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let (Some(holder), Some(renewed)) = (holder, spec.renew_time) else {
        return missing("No replica leads: the Lease has no holder.".to_owned(), next);
    };
    let seconds = now.duration_since(renewed.0).as_secs();
    let age = units::age(renewed.0, now);
    match seconds <= LEASE_SECONDS_MAX {
        true => good(format!("{holder} leads, and renewed its Lease {age} ago.")),
        false => missing(
            format!("No replica leads: {holder} renewed the Lease {age} ago for the last time."),
            next,
        ),
    }
}

fn permission(right: &Right, namespace: &str) -> Finding {
    let Right { verb, resource, allowed } = right;
    match allowed {
        true => good(format!("You may {verb} {resource} in namespace {namespace}.")),
        false => missing(
            format!("You may not {verb} {resource} in namespace {namespace}."),
            format!(
                "an admin of the namespace gives you the role: kubectl create rolebinding NAME -n {namespace} --clusterrole=edit \
                 --user=YOU"
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
