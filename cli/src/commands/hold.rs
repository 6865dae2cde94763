//! `hold`: one device keeps what it runs.

use clap::Args;
use jiff::Timestamp;
use modelfleet_crds::device_order::OrderedModel;
use modelfleet_protocol::ids::DeviceId;

use crate::cluster::ClusterFlags;
use crate::device_order::{OrderError, OrderFlags, change, put, until};
use crate::outcome::Outcome;

/// The command line of `hold`.
#[derive(Debug, Args)]
#[command(
    after_help = "The device counts in no rollout of the model while it is held. End it with: kubectl modelfleet \
                        release DEVICE MODEL.\nWithout the plugin: kubectl apply a DeviceOrder; see docs/single-devices.md"
)]
pub struct HoldArguments {
    /// Id of the device.
    pub device: DeviceId,

    /// Name of the model.
    pub model: String,

    /// When it ends by itself: a length of time such as 8h, or a moment such as 2026-09-01T06:00:00Z. Default: never.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,

    /// What the order says beside.
    #[command(flatten)]
    pub order: OrderFlags,
}

/// Holds a model on a device.
///
/// # Errors
/// When the device is retired, or the API server refuses.
pub async fn run(flags: &ClusterFlags, arguments: &HoldArguments) -> Result<Outcome, OrderError> {
    let order = OrderedModel {
        model: arguments.model.clone(),
        pin: None,
        hold: true,
        until: until(arguments.until.as_deref(), Timestamp::now())?,
        reason: arguments.order.reason.clone(),
    };
    change(flags, &arguments.device, &arguments.order, |spec| put(spec, order)).await
}
