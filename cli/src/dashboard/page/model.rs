//! One model: its versions with their origin, and the rollouts that carried them.

use std::cmp::Reverse;

use jiff::Timestamp;
use kube::ResourceExt as _;
use modelfleet_crds::ModelVersion;
use modelfleet_crds::model_version::VersionStage;

use super::overview::{RolloutRow, rollout_row};
use crate::dashboard::objects::Objects;
use crate::units::{bytes, moment};

/// One model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPage {
    /// Its fleet.
    pub namespace: String,
    /// Its name.
    pub model: String,
    /// Its versions, the newest first.
    pub versions: Vec<VersionRow>,
    /// Its rollouts, the newest first.
    pub rollouts: Vec<RolloutRow>,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// Its number.
    pub version: String,
    /// Its stage.
    pub stage: Option<VersionStage>,
    /// Why it is in this stage.
    pub message: String,
    /// The digest of its file.
    pub digest: String,
    /// The size of its file.
    pub size: String,
    /// When it was registered.
    pub registered: String,
    /// For which devices it is in production; empty: for none.
    pub production_for: Vec<String>,
    /// Where it comes from: name and value.
    pub origin: Vec<(String, String)>,
}

/// A model; `None`: there is none of this name.
#[must_use]
pub fn model(objects: &Objects, namespace: &str, model: &str, now: Timestamp) -> Option<ModelPage> {
    let mut versions: Vec<_> = objects.versions_of(namespace, model).collect();
    versions.sort_by_cached_key(|version| {
        let number = semver::Version::parse(&version.spec.version).ok();
        Reverse((number, version.spec.version.clone()))
    });
    let mut rollouts: Vec<_> = objects.rollouts_of(namespace, model).collect();
    rollouts.sort_by_key(|rollout| (Reverse(rollout.creation_timestamp()), rollout.name_any()));
    let page = ModelPage {
        namespace: namespace.to_owned(),
        model: model.to_owned(),
        versions: versions.into_iter().map(|version| row(version)).collect(),
        rollouts: rollouts.into_iter().map(|rollout| rollout_row(rollout, now)).collect(),
    };
    (!page.versions.is_empty() || !page.rollouts.is_empty()).then_some(page)
}

fn row(version: &ModelVersion) -> VersionRow {
    let (spec, status) = (&version.spec, version.status.clone().unwrap_or_default());
    let whose =
        |selector: &str| if selector.is_empty() { "all devices".to_owned() } else { selector.to_owned() };
    VersionRow {
        version: spec.version.clone(),
        stage: status.stage,
        message: status.message.unwrap_or_default(),
        digest: spec.artifact.digest.clone(),
        size: bytes(u64::try_from(spec.artifact.size_bytes).unwrap_or(0)),
        registered: version.creation_timestamp().map(|time| moment(time.0)).unwrap_or_default(),
        production_for: status.production_for.iter().map(|scope| whose(&scope.selector)).collect(),
        origin: origin(version),
    }
}

fn origin(version: &ModelVersion) -> Vec<(String, String)> {
    let Some(lineage) = &version.spec.lineage else { return Vec::new() };
    let named = [
        ("Training data", &lineage.training_data),
        ("Code", &lineage.git_commit),
        ("Created by", &lineage.created_by),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    let parameters = lineage.hyperparameters.iter().map(|(name, value)| (name.clone(), value.clone()));
    let tags = (!lineage.tags.is_empty()).then(|| ("Tags".to_owned(), lineage.tags.join(", ")));
    named.chain(parameters).chain(tags).collect()
}
