//! The order of one device, read, changed and written back: the verbs `pin`, `hold`, `release` and `retire` share it.

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use modelfleet_crds::device_order::{GIVEN_BY, OrderedModel, object_name};
use modelfleet_crds::text::DurationText;
use modelfleet_crds::{DeviceOrder, DeviceOrderSpec};
use modelfleet_protocol::ids::DeviceId;
use serde_json::json;

use crate::cluster::{Cluster, ClusterError, ClusterFlags, FIELD_MANAGER, send};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};

/// What every order says beside what it is.
#[derive(Clone, Debug, Default, Args)]
pub struct OrderFlags {
    /// Why, for people who read the object later.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Who gives the order, for the history of the object.
    #[arg(long, value_name = "NAME", env = "USER")]
    pub by: Option<String>,

    /// Print what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// Why an order was not written.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The API server does not do it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is nothing to change.
    #[error("{0}")]
    Nothing(String),
    /// It is neither a time nor a length of time.
    #[error(
        "read --until {text}: give a length of time such as 8h, or a moment such as 2026-09-01T06:00:00Z"
    )]
    Until {
        /// What was given.
        text: String,
    },
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// Reads `--until`: a length of time from now, or a moment.
///
/// # Errors
/// When it is neither.
pub fn until(text: Option<&str>, now: Timestamp) -> Result<Option<Time>, OrderError> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || OrderError::Until { text: text.to_owned() };
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(Some(Time(moment)));
    }
    let ms = DurationText::from(text).milliseconds().map_err(|_| wrong())?;
    let seconds = i64::try_from(ms / 1_000).map_err(|_| wrong())?;
    let moment = now.as_second().checked_add(seconds).and_then(|at| Timestamp::from_second(at).ok());
    Ok(Some(Time(moment.ok_or_else(wrong)?)))
}

/// Changes the order of a device, and says what changed. `edit` gets what is there, or an order about nothing.
///
/// # Errors
/// When `edit` finds nothing to change, or the API server refuses.
pub async fn change(
    flags: &ClusterFlags,
    device: &DeviceId,
    order: &OrderFlags,
    edit: impl FnOnce(&mut DeviceOrderSpec) -> Result<(), String>,
) -> Result<Outcome, OrderError> {
    let cluster = Cluster::connect(flags).await?;
    let api = cluster.api::<DeviceOrder>();
    let doing = format!("read the order of device {device} in namespace {}", cluster.namespace);
    let named = ListParams::default().fields(&format!("spec.device={device}"));
    let mut known = send(&doing, "deviceorders", api.list(&named)).await?.items;
    // Of several the oldest counts.
    known.sort_by_key(|object| object.metadata.creation_timestamp.as_ref().map(|at| at.0));
    let known = known.into_iter().next();
    let before =
        known.as_ref().map_or_else(|| DeviceOrderSpec::new(device.as_str()), |object| object.spec.clone());
    let mut after = before.clone();
    edit(&mut after).map_err(OrderError::Nothing)?;
    let doing = format!("write the order of device {device} in namespace {}", cluster.namespace);
    let annotations = json!({ GIVEN_BY: order.by.as_deref().filter(|by| !by.is_empty()) });
    let name = match known {
        None => {
            let mut object = DeviceOrder::new(&object_name(device.as_str()), after.clone());
            object.metadata.annotations =
                order.by.clone().filter(|by| !by.is_empty()).map(|by| [(GIVEN_BY.to_owned(), by)].into());
            let parameters =
                PostParams { dry_run: order.dry_run, field_manager: Some(FIELD_MANAGER.to_owned()) };
            send(&doing, "deviceorders", api.create(&parameters, &object)).await?.metadata.name
        }
        Some(object) => {
            let patch = json!({
                "metadata": { "resourceVersion": object.metadata.resource_version, "annotations": annotations },
                "spec": { "models": after.models, "retired": after.retired, "reason": after.reason },
            });
            let name = object.metadata.name.clone().unwrap_or_default();
            let parameters = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                dry_run: order.dry_run,
                ..PatchParams::default()
            };
            send(&doing, "deviceorders", api.patch(&name, &parameters, &Patch::Merge(patch)))
                .await?
                .metadata
                .name
        }
    };
    let name = name.unwrap_or_default();
    let dry = if order.dry_run { " (dry run: nothing was changed)" } else { "" };
    printing::answer(&format!("deviceorder/{name}: {} -> {}{dry}\n", told(&before), told(&after)))?;
    printing::answer(&format!("see what became of it with: kubectl get deviceorder {name} -o wide\n"))?;
    Ok(Outcome::Done)
}

/// Names a model in an order, in the place of what the order said of it before.
pub fn put(spec: &mut DeviceOrderSpec, order: OrderedModel) -> Result<(), String> {
    if spec.retired {
        return Err(format!(
            "device {} is retired; take it back first: kubectl modelfleet retire {} --undo",
            spec.device, spec.device
        ));
    }
    spec.models.retain(|known| known.model != order.model);
    spec.models.push(order);
    spec.models.sort_by(|a, b| a.model.cmp(&b.model));
    Ok(())
}

/// An order in a few words.
fn told(spec: &DeviceOrderSpec) -> String {
    if spec.retired {
        return "retired".to_owned();
    }
    let of = |order: &OrderedModel| match &order.pin {
        Some(version) => format!("pin {} {version}", order.model),
        None => format!("hold {}", order.model),
    };
    let all: Vec<String> = spec.models.iter().map(of).collect();
    if all.is_empty() { "follows its plans".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(model: &str, pin: Option<&str>) -> OrderedModel {
        let pin = pin.map(str::to_owned);
        OrderedModel { model: model.to_owned(), hold: pin.is_none(), pin, until: None, reason: None }
    }

    #[test]
    fn a_later_order_about_a_model_takes_the_place_of_the_one_before() {
        let mut spec = DeviceOrderSpec::new("pump-1");
        put(&mut spec, order("m", None)).unwrap();
        put(&mut spec, order("a", None)).unwrap();
        put(&mut spec, order("m", Some("1.0.0"))).unwrap();
        assert_eq!(told(&spec), "hold a, pin m 1.0.0");
        spec.retired = true;
        assert!(put(&mut spec, order("m", None)).unwrap_err().contains("retire pump-1 --undo"));
    }

    #[test]
    fn the_end_is_a_moment_or_a_length_of_time() {
        let now = Timestamp::from_second(1_000).unwrap();
        assert_eq!(until(None, now).unwrap(), None);
        assert_eq!(until(Some("8h"), now).unwrap().unwrap().0, Timestamp::from_second(29_800).unwrap());
        let moment = until(Some("2026-09-01T06:00:00Z"), now).unwrap().unwrap();
        assert_eq!(moment.0.to_string(), "2026-09-01T06:00:00Z");
        assert!(until(Some("soon"), now).unwrap_err().to_string().contains("8h"));
    }
}
