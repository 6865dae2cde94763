//! What the API server says about an installation.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Resource, ResourceExt as _};
use modelfleet_crds::{Rollout, definitions};
use serde::de::DeserializeOwned;

use super::InstallArguments;
use super::findings::secrets_of;
use crate::cluster::{Cluster, ClusterError, ClusterFlags, send};

/// The Lease by which one replica leads.
const LEASE: &str = "modelfleet-controller";
/// Most pods that are looked at; a Deployment has a few.
const PODS_MAX: u32 = 20;

/// An object as it was looked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<T> {
    /// It is there.
    There(T),
    /// It is not there.
    Absent,
    /// The caller may not look; the API server's words.
    Forbidden(String),
}

/// A thing that a user of the fleet does, and whether the caller may.
#[derive(Clone, Debug)]
pub struct Right {
    /// As `kubectl auth can-i` takes it.
    pub verb: &'static str,
    /// Plural of the kind.
    pub resource: &'static str,
    /// Whether the caller may.
    pub allowed: bool,
}

/// What there is.
#[derive(Debug)]
pub struct Survey {
    /// Namespace of the controller, by name.
    pub system_namespace: (String, Seen<Namespace>),
    /// The definitions that this program knows, and what is installed of each.
    pub definitions: Vec<(CustomResourceDefinition, Seen<CustomResourceDefinition>)>,
    /// The controller's Deployment, by name.
    pub deployment: (String, Seen<Deployment>),
    /// The pods of the Deployment.
    pub pods: Vec<Pod>,
    /// The Lease.
    pub lease: Seen<Lease>,
    /// The names of keys of the Secrets that the Deployment mounts; no values are kept.
    pub secrets: BTreeMap<String, Seen<Vec<String>>>,
    /// The fleet's namespace, and what the caller may do there. Empty if that was not asked for.
    pub rights: (String, Vec<Right>),
    /// Rollouts of the fleet that wait for the broker, with what their conditions say. Empty if that was not asked for.
    pub waiting: Vec<(String, String)>,
}

/// Reasons of conditions that are about the broker.
const BROKER_REASONS: [&str; 2] = ["BrokerUnavailable", "ViewIncomplete"];
/// Most rollouts that are looked at.
const ROLLOUTS_MAX: u32 = 500;

/// What a user of a fleet does.
const RIGHTS: [(&str, &str); 5] = [
    ("create", "modelversions"),
    ("create", "rollouts"),
    ("patch", "rollouts"),
    ("create", "deviceorders"),
    ("list", "rollouts"),
];

/// Looks at everything. What may not be looked at is noted and left out.
///
/// # Errors
/// When the API server does not answer.
pub async fn take(flags: &ClusterFlags, arguments: &InstallArguments) -> Result<Survey, ClusterError> {
    let cluster = Cluster::connect(flags).await?;
    let system = cluster.of_namespace(&arguments.system_namespace);
    let mut definitions = Vec::new();
    for wanted in definitions::all() {
        let name = wanted.metadata.name.clone().unwrap_or_default();
        let api = cluster.cluster_wide::<CustomResourceDefinition>();
        let seen = look(send(&format!("read the definition {name}"), "crds", api.get(&name)).await)?;
        definitions.push((wanted, seen));
    }
    let namespace = system.namespace.clone();
    let api = cluster.cluster_wide::<Namespace>();
    let seen = look(send(&format!("read namespace {namespace}"), "namespaces", api.get(&namespace)).await)?;
    let deployment = one::<Deployment>(&system, &arguments.deployment, "deployments").await?;
    let mut secrets = BTreeMap::new();
    let mut pods = Vec::new();
    if let Seen::There(deployment) = &deployment {
        for name in secrets_of(deployment).into_keys() {
            let seen = one::<Secret>(&system, &name, "secrets").await?;
            secrets.insert(name, keys_only(seen));
        }
        pods = pods_of(&system, deployment).await?;
    }
    let lease = one::<Lease>(&system, LEASE, "leases").await?;
    let (rights, waiting) = match arguments.without_rights {
        true => (Vec::new(), Vec::new()),
        false => (rights(&cluster).await?, waiting(&cluster).await?),
    };
    Ok(Survey {
        system_namespace: (namespace, seen),
        definitions,
        deployment: (arguments.deployment.clone(), deployment),
        pods,
        lease,
        secrets,
        rights: (cluster.namespace, rights),
        waiting,
    })
}

async fn one<K>(cluster: &Cluster, name: &str, resource: &'static str) -> Result<Seen<K>, ClusterError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let doing = format!("read {name} ({resource}) in namespace {}", cluster.namespace);
    look(send(&doing, resource, cluster.api::<K>().get(name)).await)
}

fn look<T>(answer: Result<T, ClusterError>) -> Result<Seen<T>, ClusterError> {
    match answer {
        Ok(object) => Ok(Seen::There(object)),
        Err(
            ClusterError::Absent { .. }
            | ClusterError::NotInstalled { .. }
            | ClusterError::NoNamespace { .. },
        ) => Ok(Seen::Absent),
        Err(ClusterError::Forbidden { message, .. }) => Ok(Seen::Forbidden(message)),
        Err(error) => Err(error),
    }
}

fn keys_only(seen: Seen<Secret>) -> Seen<Vec<String>> {
    match seen {
        Seen::There(secret) => Seen::There(secret.data.unwrap_or_default().into_keys().collect()),
        Seen::Absent => Seen::Absent,
        Seen::Forbidden(why) => Seen::Forbidden(why),
    }
}

/// The pods of a Deployment; none if the caller may not list them, because they only say more about a Deployment that is
/// not ready.
async fn pods_of(cluster: &Cluster, deployment: &Deployment) -> Result<Vec<Pod>, ClusterError> {
    let labels = deployment.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone());
    let selector: Vec<String> =
        labels.unwrap_or_default().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let parameters = ListParams::default().labels(&selector.join(",")).limit(PODS_MAX);
    let pods = cluster.api::<Pod>();
    Ok(match look(send("list the controller's pods", "pods", pods.list(&parameters)).await)? {
        Seen::There(list) => list.items,
        Seen::Absent | Seen::Forbidden(_) => Vec::new(),
    })
}

/// The rollouts of the fleet that wait for the broker; none if the caller may not list them, which [`rights`] says.
async fn waiting(cluster: &Cluster) -> Result<Vec<(String, String)>, ClusterError> {
    let api = cluster.api::<Rollout>();
    let doing = format!("list the rollouts of namespace {}", cluster.namespace);
    let parameters = ListParams::default().limit(ROLLOUTS_MAX);
    let Seen::There(list) = look(send(&doing, "rollouts", api.list(&parameters)).await)? else {
        return Ok(Vec::new());
    };
    Ok(list.items.iter().filter_map(for_the_broker).collect())
}

fn for_the_broker(rollout: &Rollout) -> Option<(String, String)> {
    let conditions = &rollout.status.as_ref()?.conditions;
    let told = conditions.iter().find(|condition| BROKER_REASONS.contains(&condition.reason.as_str()))?;
    Some((rollout.name_any(), told.message.clone()))
}

async fn rights(cluster: &Cluster) -> Result<Vec<Right>, ClusterError> {
    let api = cluster.cluster_wide::<SelfSubjectAccessReview>();
    let mut found = Vec::new();
    for (verb, resource) in RIGHTS {
        let attributes = ResourceAttributes {
            group: Some("modelfleet.io".into()),
            namespace: Some(cluster.namespace.clone()),
            resource: Some(resource.into()),
            verb: Some(verb.into()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
            ..SelfSubjectAccessReview::default()
        };
        let doing = format!("ask whether you may {verb} {resource}");
        let parameters = PostParams::default();
        let answer = send(&doing, "selfsubjectaccessreviews", api.create(&parameters, &review)).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        found.push(Right { verb, resource, allowed });
    }
    Ok(found)
}
