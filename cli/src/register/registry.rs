//! One version, one content: what happens when a version is registered again.

use kube::Api;
use kube::api::{ListParams, PostParams};
use modelfleet_crds::{ModelVersion, ModelVersionSpec};
use serde_json::Value;

use crate::cluster::{ClusterError, FIELD_MANAGER, send};

/// Why a version is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The API server does not do it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The version has another content.
    #[error(transparent)]
    Taken(#[from] Box<Taken>),
    /// Two versions whose names differ in what object names do not keep.
    #[error(
        "the object name {name} is taken by {model} {version}, which differs only in capital letters or in '+' and \
         '-'; choose another version"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The model that has it.
        model: String,
        /// The version that has it.
        version: String,
    },
}

/// A version with another content.
#[derive(Debug, thiserror::Error)]
#[error(
    "{model} {version} is already registered with different content:\n  registered {registered}\n  this file  {this}\nA version \
     never changes. Register this file under a new version. Or, if no device ever got the registered one, delete it:\n  kubectl \
     delete modelversion {name} -n {namespace}"
)]
pub struct Taken {
    /// The model.
    pub model: String,
    /// The version.
    pub version: String,
    /// Name of the object.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Digest that is registered.
    pub registered: String,
    /// Digest of the file.
    pub this: String,
}

/// What is registered now.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The object as the API server has it.
    pub object: ModelVersion,
    /// Whether it was there before.
    pub unchanged: bool,
}

/// The registered object of the same model and version; nothing when there is none.
///
/// # Errors
/// When it has another content, or the API server does not answer.
pub async fn find(
    api: &Api<ModelVersion>,
    wanted: &ModelVersion,
) -> Result<Option<ModelVersion>, RegistryError> {
    let ModelVersionSpec { model, version, .. } = &wanted.spec;
    let doing = format!("look for {model} {version}");
    let same = ListParams::default().fields(&format!("spec.model={model},spec.version={version}")).limit(1);
    let listed = send(&doing, "modelversions", api.list(&same)).await?;
    match listed.items.into_iter().next() {
        Some(found) => same_content(found, wanted).map(Some),
        None => named(api, wanted).await,
    }
}

/// The object of the wanted name, if it is the wanted version.
async fn named(
    api: &Api<ModelVersion>,
    wanted: &ModelVersion,
) -> Result<Option<ModelVersion>, RegistryError> {
    let name = wanted.metadata.name.as_deref().unwrap_or_default();
    match send(&format!("look for {name}"), "modelversions", api.get_opt(name)).await? {
        Some(found) => same_content(found, wanted).map(Some),
        None => Ok(None),
    }
}

/// Makes the object known, or finds that it is.
///
/// # Errors
/// When other content was registered meanwhile, or the API server refuses.
pub async fn create(api: &Api<ModelVersion>, wanted: &ModelVersion) -> Result<Registered, RegistryError> {
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let created = async {
        match api.create(&parameters, wanted).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => Err(error),
        }
    };
    let doing = format!("register {} {}", wanted.spec.model, wanted.spec.version);
    if let Some(object) = send(&doing, "modelversions", created).await? {
        return Ok(Registered { object, unchanged: false });
    }
    // Another process was faster. What it registered counts.
    let name = wanted.metadata.name.as_deref().unwrap_or_default();
    let found = send(&doing, "modelversions", api.get(name)).await?;
    Ok(Registered { object: same_content(found, wanted)?, unchanged: true })
}

fn same_content(found: ModelVersion, wanted: &ModelVersion) -> Result<ModelVersion, RegistryError> {
    let name = found.metadata.name.clone().unwrap_or_default();
    let (has, wants) = (&found.spec, &wanted.spec);
    if (&has.model, &has.version) != (&wants.model, &wants.version) {
        return Err(RegistryError::NameTaken {
            name,
            model: has.model.clone(),
            version: has.version.clone(),
        });
    }
    if has.artifact.digest != wants.artifact.digest {
        return Err(RegistryError::Taken(Box::new(Taken {
            model: has.model.clone(),
            version: has.version.clone(),
            name,
            namespace: found.metadata.namespace.clone().unwrap_or_default(),
            registered: has.artifact.digest.clone(),
            this: wants.artifact.digest.clone(),
        })));
    }
    Ok(found)
}

/// The fields of the spec in which the registered version differs from the wanted one.
#[must_use]
pub fn differing_fields(registered: &ModelVersionSpec, wanted: &ModelVersionSpec) -> Vec<String> {
    let comparable = |spec: &ModelVersionSpec| {
        let mut spec = spec.clone();
        // A signature differs each time that it is made; its key does not.
        spec.signatures.iter_mut().for_each(|signature| signature.value.clear());
        match serde_json::to_value(&spec) {
            Ok(Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        }
    };
    let (a, b) = (comparable(registered), comparable(wanted));
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
}
