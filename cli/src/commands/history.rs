//! `history`: the versions of a model.

use std::cmp::Reverse;

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use modelfleet_crds::ModelVersion;

use crate::cluster::{Cluster, ClusterError, ClusterFlags, send};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::table::Table;
use crate::units;
use crate::yaml_file;

/// Versions that are read at a time.
const PAGE: u32 = 500;
/// Digits of a digest that are printed: enough to tell versions apart.
const DIGEST_DIGITS: usize = 12;

/// The command line of `history`.
#[derive(Debug, Args)]
pub struct HistoryArguments {
    /// Name of the model.
    pub model: String,

    /// Print the objects in this format.
    #[arg(long, short, value_enum)]
    pub output: Option<ListOutput>,
}

/// The form of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ListOutput {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// Why there is no history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The API server does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No version.
    #[error(
        "model {model} has no versions in namespace {namespace}; list all models with: kubectl get mv -A"
    )]
    Empty {
        /// The model.
        model: String,
        /// The namespace.
        namespace: String,
    },
    /// The objects cannot be printed.
    #[error("write the versions as text")]
    Json(#[from] serde_json::Error),
    /// The objects cannot be printed.
    #[error("write the versions as text")]
    Yaml(#[from] serde_saphyr::SerializeError),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// Lists the versions of a model, the newest first.
///
/// # Errors
/// When there is none, or the API server does not answer.
pub async fn run(flags: &ClusterFlags, arguments: &HistoryArguments) -> Result<Outcome, HistoryError> {
    let cluster = Cluster::connect(flags).await?;
    let mut versions = versions(&cluster, &arguments.model).await?;
    if versions.is_empty() {
        return Err(HistoryError::Empty { model: arguments.model.clone(), namespace: cluster.namespace });
    }
    newest_first(&mut versions);
    printing::answer(&match arguments.output {
        None => table(&versions, Timestamp::now()),
        Some(ListOutput::Json) => serde_json::to_string_pretty(&versions)? + "\n",
        Some(ListOutput::Yaml) => yaml_file::written(&versions)?,
    })?;
    Ok(Outcome::Done)
}

/// Sorts versions; those of one second by their number.
pub(super) fn newest_first(versions: &mut [ModelVersion]) {
    versions.sort_by_key(|version| {
        let number = version.spec.version.parse::<semver::Version>().ok();
        Reverse((version.creation_timestamp().map(|time| time.0), number))
    });
}

/// All versions of a model.
pub(super) async fn versions(cluster: &Cluster, model: &str) -> Result<Vec<ModelVersion>, ClusterError> {
    let api = cluster.api::<ModelVersion>();
    let doing = format!("list the versions of {model} in namespace {}", cluster.namespace);
    let mut parameters = ListParams::default().fields(&format!("spec.model={model}")).limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = send(&doing, "modelversions", api.list(&parameters)).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(all),
        }
    }
}

fn table(versions: &[ModelVersion], now: Timestamp) -> String {
    let mut table = Table::new(&["VERSION", "STAGE", "DIGEST", "SIZE", "SIGNED", "REGISTERED", "BY", "WHY"]);
    for version in versions {
        let spec = &version.spec;
        let status = version.status.as_ref();
        let digest = spec.artifact.digest.trim_start_matches("sha256:");
        let registered = version
            .creation_timestamp()
            .map(|time| format!("{} ago", units::age(time.0, now)))
            .unwrap_or_default();
        table.row(vec![
            spec.version.clone(),
            status
                .and_then(|s| s.stage)
                .map_or_else(|| "Registered".to_owned(), |stage| format!("{stage:?}")),
            digest.chars().take(DIGEST_DIGITS).collect(),
            units::bytes(u64::try_from(spec.artifact.size_bytes).unwrap_or(0)),
            if spec.signatures.is_empty() { "no".into() } else { "yes".into() },
            registered,
            by(version),
            why(version),
        ]);
    }
    table.render()
}

/// Who made it: what the lineage says, else the program that wrote the object.
pub(super) fn by(version: &ModelVersion) -> String {
    let creator = version.spec.lineage.as_ref().and_then(|lineage| lineage.created_by.clone());
    let manager = || version.managed_fields().first().and_then(|entry| entry.manager.clone());
    creator.or_else(manager).unwrap_or_default()
}

/// How it came to its stage.
fn why(version: &ModelVersion) -> String {
    let Some(status) = &version.status else { return String::new() };
    if let Some(rejection) = &status.rejected_by {
        let time = units::moment(rejection.time.0);
        return format!("rejected by rollout {} at {time}: {}", rejection.rollout, rejection.reason);
    }
    match (&status.promoted_by, &status.promoted_at) {
        (Some(rollout), Some(time)) => format!("promoted by rollout {rollout} at {}", units::moment(time.0)),
        _ => status.message.clone().or(status.reason.clone()).unwrap_or_default(),
    }
}
