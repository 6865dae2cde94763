//! `resume`: `spec.paused: false`.

use clap::Args;
use serde_json::json;

use crate::cluster::{Cluster, ClusterFlags};
use crate::outcome::Outcome;
use crate::printing;
use crate::rollout_patch::{self, IntentError};

/// The command line of `resume`.
#[derive(Debug, Args)]
#[command(after_help = "Without the plugin: kubectl patch rollout NAME --type merge -p \
                        '{\"spec\":{\"paused\":false}}'")]
pub struct ResumeArguments {
    /// Name of the rollout.
    pub rollout: String,
}

/// Lets a rollout go on.
///
/// # Errors
/// When it is not there, or the API server refuses.
pub async fn run(flags: &ClusterFlags, arguments: &ResumeArguments) -> Result<Outcome, IntentError> {
    let cluster = Cluster::connect(flags).await?;
    let before = rollout_patch::get(&cluster, &arguments.rollout).await?;
    let patch = json!({ "spec": { "paused": false } });
    let (_, changes) = rollout_patch::apply(&cluster, &before, "resume", patch, false).await?;
    printing::answer(&changes)?;
    Ok(Outcome::Done)
}
