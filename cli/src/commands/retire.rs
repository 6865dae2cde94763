//! `retire`: a device is gone for good, or is taken back.

use clap::Args;
use modelfleet_crds::DeviceOrderSpec;
use modelfleet_protocol::ids::DeviceId;

use crate::cluster::ClusterFlags;
use crate::device_order::{OrderError, OrderFlags, change};
use crate::outcome::Outcome;

/// The command line of `retire`.
#[derive(Debug, Args)]
#[command(
    after_help = "What the device has retained at the broker is cleared, and it counts nowhere from now on, also when it is \
                  heard again; then the condition HeardAgain says so. Switch the device off, and take its login away at the \
                  broker."
)]
pub struct RetireArguments {
    /// Id of the device.
    pub device: DeviceId,

    /// Take it back: it counts again with the next state that it sends.
    #[arg(long)]
    pub undo: bool,

    /// What the order says beside.
    #[command(flatten)]
    pub order: OrderFlags,
}

/// Retires a device, or takes it back.
///
/// # Errors
/// When it is not as the command supposes, or the API server refuses.
pub async fn run(flags: &ClusterFlags, arguments: &RetireArguments) -> Result<Outcome, OrderError> {
    let (undo, reason) = (arguments.undo, arguments.order.reason.as_ref());
    change(flags, &arguments.device, &arguments.order, |spec| retire(spec, undo, reason)).await
}

fn retire(spec: &mut DeviceOrderSpec, undo: bool, reason: Option<&String>) -> Result<(), String> {
    let device = &spec.device;
    match (undo, spec.retired) {
        (true, false) => return Err(format!("take device {device} back: it is not retired")),
        (false, true) => return Err(format!("retire device {device}: it is retired already")),
        _ => {}
    }
    spec.retired = !undo;
    spec.reason = reason.cloned();
    if spec.retired {
        // It has none to run, and would follow them when it is taken back.
        spec.models.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_retired_once_and_taken_back_once() {
        let mut spec = DeviceOrderSpec::new("pump-1");
        assert!(retire(&mut spec, true, None).is_err());
        retire(&mut spec, false, Some(&"scrapped".to_owned())).unwrap();
        assert!(spec.retired && spec.reason.as_deref() == Some("scrapped"));
        assert!(retire(&mut spec, false, None).is_err());
        retire(&mut spec, true, None).unwrap();
        assert!(!spec.retired);
    }
}
