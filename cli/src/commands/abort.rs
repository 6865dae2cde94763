//! `abort`: `spec.abort: true`.

use clap::Args;
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterFlags};
use crate::outcome::Outcome;
use crate::printing;
use crate::rollout_patch::{self, IntentError};
use crate::units::counted;

/// The annotation that keeps the reason.
pub const REASON_ANNOTATION: &str = "modelfleet.io/abort-reason";

/// The command line of `abort`.
#[derive(Debug, Args)]
#[command(after_help = "Without the plugin: kubectl patch rollout NAME --type merge -p \
                        '{\"spec\":{\"abort\":true}}'")]
pub struct AbortArguments {
    /// Name of the rollout.
    pub rollout: String,

    /// Why, for people who read the object later; kept in the annotation modelfleet.io/abort-reason.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Ends a rollout and takes its version back.
///
/// # Errors
/// When it is not there or has ended, or the API server refuses.
pub async fn run(flags: &ClusterFlags, arguments: &AbortArguments) -> Result<Outcome, IntentError> {
    let cluster = Cluster::connect(flags).await?;
    let before = rollout_patch::get(&cluster, &arguments.rollout).await?;
    rollout_patch::not_ended(&before, "abort")?;
    let (after, changes) =
        rollout_patch::apply(&cluster, &before, "abort", patch(arguments.reason.as_deref()), false).await?;
    printing::answer(&changes)?;
    let counts = after.status.as_ref().and_then(|status| status.counts).unwrap_or_default();
    let devices = counted(counts.activated, "device");
    printing::answer(&format!(
        "rolling back every device that has the version ({devices} so far); follow with: kubectl modelfleet status {} --for rolled-back\n",
        arguments.rollout
    ))?;
    Ok(Outcome::Done)
}

fn patch(reason: Option<&str>) -> Value {
    let mut patch = json!({ "spec": { "abort": true } });
    if let Some(reason) = reason {
        patch["metadata"] = json!({ "annotations": { REASON_ANNOTATION: reason } });
    }
    patch
}
