//! `diff`: what differs between two versions of a model.

use clap::Args;
use modelfleet_crds::ModelVersion;

use crate::cluster::{Cluster, ClusterError, ClusterFlags};
use crate::commands::history::{self, ListOutput};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::table::Table;
use crate::version_difference::{Difference, differences, is_same_interface};
use crate::yaml_file;

/// The command line of `diff`.
#[derive(Debug, Args)]
#[command(after_help = "Example: kubectl modelfleet diff pump-anomaly 1.3.0 1.4.0")]
pub struct DiffArguments {
    /// Name of the model.
    pub model: String,
    /// The first version.
    pub before: String,
    /// The second version.
    pub after: String,

    /// Print the differences in this format.
    #[arg(long, short, value_enum)]
    pub output: Option<ListOutput>,
}

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The API server does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// No such version.
    #[error(
        "model {model} has no version {version}; list its versions with: kubectl modelfleet history {model}"
    )]
    NoVersion {
        /// The model.
        model: String,
        /// The version.
        version: String,
    },
    /// The differences cannot be printed.
    #[error("write the differences as JSON")]
    Json(#[from] serde_json::Error),
    /// The differences cannot be printed.
    #[error("write the differences as YAML")]
    Yaml(#[from] serde_saphyr::SerializeError),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// Compares two versions.
///
/// # Errors
/// When one of them is not there, or the API server does not answer.
pub async fn run(flags: &ClusterFlags, arguments: &DiffArguments) -> Result<Outcome, DiffError> {
    let cluster = Cluster::connect(flags).await?;
    let versions = history::versions(&cluster, &arguments.model).await?;
    let find = |wanted: &str| {
        let found = versions.iter().find(|version| version.spec.version == wanted);
        let missing = || DiffError::NoVersion { model: arguments.model.clone(), version: wanted.to_owned() };
        found.ok_or_else(missing)
    };
    let (before, after) = (find(&arguments.before)?, find(&arguments.after)?);
    let all = differences(&before.spec, &after.spec);
    printing::answer(&match arguments.output {
        None => table(before, after, &all),
        Some(ListOutput::Json) => serde_json::to_string_pretty(&all)? + "\n",
        Some(ListOutput::Yaml) => yaml_file::written(&all)?,
    })?;
    Ok(Outcome::Done)
}

fn table(before: &ModelVersion, after: &ModelVersion, all: &[Difference]) -> String {
    let (old, new) = (&before.spec.version, &after.spec.version);
    if all.is_empty() {
        return format!("Versions {old} and {new} are the same but for their number.\n");
    }
    let mut table = Table::new(&["WHAT", old, new, "NOTE"]);
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    for difference in all {
        let Difference { what, before, after, note } = difference;
        table.row(vec![what.clone(), shown(before), shown(after), note.clone()]);
    }
    let interface = match is_same_interface(&before.spec, &after.spec) {
        true => "Inputs and outputs are the same: callers need not change.",
        false => "Inputs or outputs differ: change the callers before the rollout.",
    };
    format!("{}\n{interface}\n", table.render())
}
