//! `release`: one device follows its plans again.

use clap::Args;
use modelfleet_crds::DeviceOrderSpec;
use modelfleet_protocol::ids::DeviceId;

use crate::cluster::ClusterFlags;
use crate::device_order::{OrderError, OrderFlags, change};
use crate::outcome::Outcome;

/// The command line of `release`.
#[derive(Debug, Args)]
pub struct ReleaseArguments {
    /// Id of the device.
    pub device: DeviceId,

    /// Name of the model. Default: every model of the device.
    pub model: Option<String>,

    /// What the order says beside.
    #[command(flatten)]
    pub order: OrderFlags,
}

/// Releases a model on a device, or all of them.
///
/// # Errors
/// When nothing is pinned or held there, or the API server refuses.
pub async fn run(flags: &ClusterFlags, arguments: &ReleaseArguments) -> Result<Outcome, OrderError> {
    let (model, reason) = (arguments.model.as_deref(), arguments.order.reason.as_ref());
    change(flags, &arguments.device, &arguments.order, |spec| release(spec, model, reason)).await
}

fn release(spec: &mut DeviceOrderSpec, model: Option<&str>, reason: Option<&String>) -> Result<(), String> {
    let before = spec.models.len();
    spec.models.retain(|order| model.is_some_and(|model| order.model != model));
    if spec.models.len() == before {
        let what = model.map_or_else(String::new, |model| format!("model {model} on "));
        return Err(format!("release {what}device {}: nothing is pinned or held there", spec.device));
    }
    spec.reason = reason.cloned();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_crds::device_order::OrderedModel;

    #[test]
    fn one_model_or_all_are_released() {
        let order = |model: &str| OrderedModel {
            model: model.to_owned(),
            pin: None,
            hold: true,
            until: None,
            reason: None,
        };
        let mut spec =
            DeviceOrderSpec { models: vec![order("m"), order("n")], ..DeviceOrderSpec::new("pump-1") };
        release(&mut spec, Some("m"), None).unwrap();
        assert_eq!(spec.models, [order("n")]);
        let said = release(&mut spec, Some("m"), None).unwrap_err();
        assert_eq!(said, "release model m on device pump-1: nothing is pinned or held there");
        release(&mut spec, None, None).unwrap();
        assert!(spec.models.is_empty() && release(&mut spec, None, None).is_err());
    }
}
