//! `lineage`: where the versions of a model come from, which rollouts carried them, and where they run now.

use std::fmt::Write as _;

use clap::Args;
use kube::ResourceExt;
use kube::api::ListParams;
use modelfleet_crds::{ModelVersion, Rollout};
use serde::Serialize;

use crate::cluster::{Cluster, ClusterError, ClusterFlags, send};
use crate::commands::history::{self, ListOutput};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::table::one_line;
use crate::units;
use crate::yaml_file;

/// Rollouts that are read at a time.
const PAGE: u32 = 500;

/// The command line of `lineage`.
#[derive(Debug, Args)]
#[command(after_help = "Example: kubectl modelfleet lineage pump-anomaly 1.4.0")]
pub struct LineageArguments {
    /// Name of the model.
    pub model: String,
    /// One version; without it, all of them, the newest first.
    pub version: Option<String>,

    /// Print in this format.
    #[arg(long, short, value_enum)]
    pub output: Option<ListOutput>,
}

/// Why nothing is printed.
#[derive(Debug, thiserror::Error)]
pub enum LineageError {
    /// The API server does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No such version.
    #[error("model {model} has no such version; list its versions with: kubectl modelfleet history {model}")]
    NoVersion {
        /// The model.
        model: String,
    },
    /// It cannot be printed.
    #[error("write the lineage as JSON")]
    Json(#[from] serde_json::Error),
    /// It cannot be printed.
    #[error("write the lineage as YAML")]
    Yaml(#[from] serde_saphyr::SerializeError),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// One version with all that is known of its way.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionLineage {
    version: String,
    stage: String,
    digest: String,
    /// When and by whom the object was made.
    registered: String,
    /// Name and value: data, code, parameters.
    origin: Vec<(String, String)>,
    /// Each rollout of it: name, and how far it got.
    rollouts: Vec<(String, String)>,
    /// Where it runs.
    runs: String,
}

/// Prints where versions come from.
///
/// # Errors
/// When there is none, or the API server does not answer.
pub async fn run(flags: &ClusterFlags, arguments: &LineageArguments) -> Result<Outcome, LineageError> {
    let cluster = Cluster::connect(flags).await?;
    let mut versions = history::versions(&cluster, &arguments.model).await?;
    if let Some(wanted) = &arguments.version {
        versions.retain(|version| version.spec.version == *wanted);
    }
    if versions.is_empty() {
        return Err(LineageError::NoVersion { model: arguments.model.clone() });
    }
    history::newest_first(&mut versions);
    let rollouts = rollouts(&cluster, &arguments.model).await?;
    let all: Vec<VersionLineage> = versions.iter().map(|version| lineage(version, &rollouts)).collect();
    printing::answer(&match arguments.output {
        None => all.iter().map(text).collect::<Vec<_>>().join("\n"),
        Some(ListOutput::Json) => serde_json::to_string_pretty(&all)? + "\n",
        Some(ListOutput::Yaml) => yaml_file::written(&all)?,
    })?;
    Ok(Outcome::Done)
}

async fn rollouts(cluster: &Cluster, model: &str) -> Result<Vec<Rollout>, ClusterError> {
    let api = cluster.api::<Rollout>();
    let doing = format!("list the rollouts of {model} in namespace {}", cluster.namespace);
    let mut parameters = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = send(&doing, "rollouts", api.list(&parameters)).await?;
        all.extend(page.items.into_iter().filter(|rollout| rollout.spec.model == model));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(all),
        }
    }
}

fn lineage(version: &ModelVersion, rollouts: &[Rollout]) -> VersionLineage {
    let (spec, status) = (&version.spec, version.status.as_ref());
    let registered = version.creation_timestamp().map(|time| units::moment(time.0)).unwrap_or_default();
    let of = rollouts.iter().filter(|rollout| rollout.spec.version == spec.version);
    let told = |rollout: &Rollout| {
        let phase = rollout.status.as_ref().and_then(|status| status.phase);
        let stage = rollout.status.as_ref().and_then(|status| status.stage_summary.clone());
        let phase = phase.map_or_else(|| "not looked at yet".to_owned(), |phase| format!("{phase:?}"));
        (rollout.name_any(), stage.map_or(phase.clone(), |stage| format!("{phase}, stage {stage}")))
    };
    VersionLineage {
        version: spec.version.clone(),
        stage: status
            .and_then(|s| s.stage)
            .map_or_else(|| "Registered".to_owned(), |stage| format!("{stage:?}")),
        digest: spec.artifact.digest.clone(),
        registered: match history::by(version) {
            by if by.is_empty() => registered,
            by => format!("{registered} by {by}"),
        },
        origin: origin(version),
        rollouts: of.map(told).collect(),
        runs: runs(version),
    }
}

fn origin(version: &ModelVersion) -> Vec<(String, String)> {
    let Some(lineage) = &version.spec.lineage else { return Vec::new() };
    let named = [("data", &lineage.training_data), ("code", &lineage.git_commit)];
    let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    let parameters =
        lineage.hyperparameters.iter().map(|(name, value)| (format!("parameter {name}"), value.clone()));
    let tags = (!lineage.tags.is_empty()).then(|| ("tags".to_owned(), lineage.tags.join(", ")));
    named.chain(parameters).chain(tags).collect()
}

/// What the controller says of the devices that have it; no device is asked.
fn runs(version: &ModelVersion) -> String {
    let Some(status) = &version.status else { return "on no device that is known".to_owned() };
    let scopes: Vec<&str> = status.production_for.iter().map(|scope| scope.selector.as_str()).collect();
    let whose =
        |selector: &&str| if selector.is_empty() { "all devices".to_owned() } else { (*selector).to_owned() };
    let scopes: Vec<String> = scopes.iter().map(whose).collect();
    match (&status.devices, scopes.is_empty()) {
        (Some(devices), true) => format!("on {devices} devices"),
        (Some(devices), false) => format!("on {devices} devices, in production for {}", scopes.join("; ")),
        (None, false) => format!("in production for {}", scopes.join("; ")),
        (None, true) => "on no device that is known".to_owned(),
    }
}

fn text(lineage: &VersionLineage) -> String {
    let VersionLineage { version, stage, digest, registered, origin, rollouts, runs } = lineage;
    let mut text = format!("{version}  {stage}\n");
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<20}{}", one_line(value));
    };
    line("file", digest);
    line("registered", registered);
    origin.iter().for_each(|(name, value)| line(name, value));
    for (name, told) in rollouts {
        line("rollout", &format!("{name}: {told}"));
    }
    line("runs", runs);
    text
}
