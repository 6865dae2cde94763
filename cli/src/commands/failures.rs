//! `failures`: why devices failed, by reason.

use clap::Args;
use jiff::Timestamp;
use modelfleet_crds::device_api::FailureList;

use crate::cluster::{Cluster, ClusterFlags};
use crate::commands::device::OneOutput;
use crate::commands::devices::{DevicesError, build};
use crate::device_client::{DeviceApiFlags, DeviceClient};
use crate::outcome::Outcome;
use crate::printing;
use crate::table::Table;
use crate::units::{age, counted};

/// The command line of `failures`.
#[derive(Debug, Args)]
#[command(
    after_help = "BLAMES says whose trouble it is: Model (it speaks against the build), Device (a full disk or the like), \
                  Incompatible (the device cannot run the build) or Delivery (download, digest, signature). List the devices of \
                  one reason with: kubectl modelfleet devices --failure CODE"
)]
pub struct FailuresArguments {
    /// Failures of this model alone.
    pub model: Option<String>,

    /// Print JSON, as the API has it.
    #[arg(long, short, value_enum)]
    pub output: Option<OneOutput>,

    /// How the controller is reached.
    #[command(flatten)]
    pub api: DeviceApiFlags,
}

/// Shows why devices failed.
///
/// # Errors
/// When the controller does not answer.
pub async fn run(flags: &ClusterFlags, arguments: &FailuresArguments) -> Result<Outcome, DevicesError> {
    let cluster = Cluster::connect(flags).await?;
    let client = DeviceClient::new(&arguments.api, flags, &cluster).await?;
    let query: Vec<(&str, String)> = arguments.model.iter().map(|model| ("model", model.clone())).collect();
    let list: FailureList = client.get(&["failures"], &query).await?;
    if arguments.output.is_some() {
        printing::answer(&(serde_json::to_string_pretty(&list)? + "\n"))?;
        return Ok(Outcome::Done);
    }
    if list.items.is_empty() {
        let devices = counted(i64::try_from(list.devices).unwrap_or(i64::MAX), "device");
        printing::note(&format!("the {devices} of the fleet report no failure"));
        return Ok(Outcome::Done);
    }
    printing::answer(&table(&list, Timestamp::now()))?;
    Ok(Outcome::Done)
}

fn table(list: &FailureList, now: Timestamp) -> String {
    let mut table =
        Table::new(&["FAILURE", "DEVICES", "BLAMES", "MODEL", "VERSION", "LATEST", "FOR EXAMPLE"]);
    for group in &list.items {
        table.row(vec![
            group.failure.clone(),
            group.devices.to_string(),
            group.blames.clone(),
            group.model.clone(),
            build(&group.build),
            format!("{} ago", age(group.latest_at.0, now)),
            group.examples.join(", "),
        ]);
    }
    table.render()
}
