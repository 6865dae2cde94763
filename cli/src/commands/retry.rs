//! `retry`: a new `spec.retryToken`.

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::abort::REASON_ANNOTATION;
use crate::cluster::{Cluster, ClusterFlags};
use crate::outcome::Outcome;
use crate::printing;
use crate::rollout_patch::{self, IntentError};

/// The command line of `retry`.
#[derive(Debug, Args)]
#[command(
    after_help = "Retry also clears abort and promote, which belong to the previous attempt, and lifts the rejection of \
                  the version.\nWithout the plugin: kubectl patch rollout NAME --type merge -p \
                  '{\"spec\":{\"retryToken\":\"TEXT\",\"abort\":false,\"promote\":null}}'"
)]
pub struct RetryArguments {
    /// Name of the rollout.
    pub rollout: String,

    /// Any text that this rollout has not used before, such as a ticket number. Default: the current time.
    #[arg(long, value_name = "TEXT")]
    pub token: Option<String>,
}

/// Starts a rollout again.
///
/// # Errors
/// When it is not there, or the API server refuses.
pub async fn run(flags: &ClusterFlags, arguments: &RetryArguments) -> Result<Outcome, IntentError> {
    let cluster = Cluster::connect(flags).await?;
    let before = rollout_patch::get(&cluster, &arguments.rollout).await?;
    let present = before.spec.retry_token.as_deref();
    let token =
        arguments.token.clone().unwrap_or_else(|| rollout_patch::fresh_token(Timestamp::now(), present));
    let patch = json!({
        "metadata": { "annotations": { REASON_ANNOTATION: null } },
        "spec": { "retryToken": token, "abort": false, "promote": null },
    });
    let (after, changes) = rollout_patch::apply(&cluster, &before, "retry", patch, false).await?;
    printing::answer(&changes)?;
    if after.spec.paused {
        let name = &arguments.rollout;
        printing::answer(&format!(
            "the rollout is still paused; to continue: kubectl modelfleet resume {name}\n"
        ))?;
    }
    Ok(Outcome::Done)
}
