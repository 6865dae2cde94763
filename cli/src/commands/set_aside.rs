//! `set-aside`: edits `spec.setAside` of a rollout.

use std::collections::BTreeSet;

use clap::Args;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::membership::SET_ASIDE_MAX;
use serde_json::json;

use crate::cluster::{Cluster, ClusterFlags};
use crate::outcome::Outcome;
use crate::printing;
use crate::rollout_patch::{self, IntentError};
use crate::units::counted;

/// The command line of `set-aside`.
#[derive(Debug, Args)]
#[command(
    after_help = "A device that is set aside runs what it ran before this rollout, and counts in no verdict, no number of \
                  devices and no limit of it. The next rollout takes it in again.\nLeave out devices that are broken \
                  whatever they run: setting aside a device because the new version fails on it hides the failure.\nWithout \
                  the plugin: kubectl patch rollout NAME --type merge -p '{\"spec\":{\"setAside\":[\"pump-017\"]}}' (the \
                  whole list)"
)]
pub struct SetAsideArguments {
    /// Name of the rollout.
    pub rollout: String,

    /// Ids of the devices.
    #[arg(required = true, value_name = "DEVICE")]
    pub devices: Vec<DeviceId>,

    /// Take them in again.
    #[arg(long)]
    pub undo: bool,

    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Why devices were not set aside.
#[derive(Debug, thiserror::Error)]
pub enum SetAsideError {
    /// The rollout cannot be read or changed.
    #[error(transparent)]
    Intent(#[from] IntentError),
    /// The list has no room.
    #[error(
        "set aside devices in rollout {rollout}: {devices} would be set aside, at most {SET_ASIDE_MAX} can be; when so many \
         devices are broken, narrow spec.selector in a new rollout instead"
    )]
    TooMany {
        /// The rollout.
        rollout: String,
        /// How many there would be.
        devices: usize,
    },
}

/// Sets devices aside, or takes them in again.
///
/// # Errors
/// When the rollout is not there or was rolled back, the list has no room, or the API server refuses.
pub async fn run(flags: &ClusterFlags, arguments: &SetAsideArguments) -> Result<Outcome, SetAsideError> {
    let cluster = Cluster::connect(flags).await.map_err(IntentError::from)?;
    let before = rollout_patch::get(&cluster, &arguments.rollout).await.map_err(IntentError::from)?;
    rollout_patch::not_ended(&before, "set aside devices in")?;
    let present = &before.spec.set_aside;
    let after = list(present, &arguments.devices, arguments.undo);
    if after.len() > SET_ASIDE_MAX && after.len() > present.len() {
        return Err(SetAsideError::TooMany { rollout: arguments.rollout.clone(), devices: after.len() });
    }
    // Two operators who set devices aside at the same time must not undo each other's list.
    let patch = json!({
        "metadata": { "resourceVersion": before.metadata.resource_version },
        "spec": { "setAside": after },
    });
    let (_, changes) =
        rollout_patch::apply(&cluster, &before, "set aside devices in", patch, arguments.dry_run).await?;
    let answer = |text: &str| printing::answer(text).map_err(IntentError::from);
    answer(&changes)?;
    let devices = counted(i64::try_from(after.len()).unwrap_or(i64::MAX), "device");
    let dry = if arguments.dry_run { " (dry run: nothing was changed)" } else { "" };
    answer(&format!("rollout {} leaves out {devices}{dry}\n", arguments.rollout))?;
    Ok(Outcome::Done)
}

/// The list after the change, in the order of the ids.
fn list(present: &[String], devices: &[DeviceId], undo: bool) -> Vec<String> {
    let named: BTreeSet<&str> = devices.iter().map(DeviceId::as_str).collect();
    let kept = present.iter().map(String::as_str).filter(|id| !named.contains(id));
    let added = named.iter().copied().filter(|_| !undo);
    let all: BTreeSet<&str> = kept.chain(added).collect();
    all.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_added_once_and_taken_out_by_name() {
        let ids = |all: &[&str]| all.iter().map(|id| id.parse().unwrap()).collect::<Vec<DeviceId>>();
        let present = vec!["p-2".to_owned(), "p-1".to_owned()];
        assert_eq!(list(&present, &ids(&["p-3", "p-1"]), false), ["p-1", "p-2", "p-3"]);
        assert_eq!(list(&present, &ids(&["p-1", "p-9"]), true), ["p-2"]);
        assert!(list(&present, &ids(&["p-1", "p-2"]), true).is_empty());
    }
}
