//! `pause`: `spec.paused: true`.

use clap::Args;
use serde_json::json;

use crate::cluster::{Cluster, ClusterFlags};
use crate::outcome::Outcome;
use crate::printing;
use crate::rollout_patch::{self, IntentError};

/// The command line of `pause`.
#[derive(Debug, Args)]
#[command(after_help = "Without the plugin: kubectl patch rollout NAME --type merge -p \
                        '{\"spec\":{\"paused\":true}}'")]
pub struct PauseArguments {
    /// Name of the rollout.
    pub rollout: String,
}

/// Pauses a rollout.
///
/// # Errors
/// When it is not there or has ended, or the API server refuses.
pub async fn run(flags: &ClusterFlags, arguments: &PauseArguments) -> Result<Outcome, IntentError> {
    let cluster = Cluster::connect(flags).await?;
    let before = rollout_patch::get(&cluster, &arguments.rollout).await?;
    rollout_patch::not_ended(&before, "pause")?;
    let patch = json!({ "spec": { "paused": true } });
    let (_, changes) = rollout_patch::apply(&cluster, &before, "pause", patch, false).await?;
    printing::answer(&changes)?;
    Ok(Outcome::Done)
}
