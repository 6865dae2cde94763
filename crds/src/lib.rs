//! `ModelVersion`, `Rollout` and `DeviceOrder`: the Kubernetes types of Modelfleet, their schema and their rules; and what the
//! controller answers about devices, which are no objects of Kubernetes.
//!
//! The crate holds no client and decides nothing. What a field means is written at the field, and `kubectl
//! explain` prints the same words. Strings with a form of their own (durations, percents, decimals) have
//! types in [`text`] that parse them into integers.

pub mod conditions;
pub mod definitions;
pub mod device_api;
pub mod device_order;
pub mod metric;
pub mod model_version;
pub mod rollout;
mod rules;
pub mod selector;
pub mod text;

pub use device_order::{DeviceOrder, DeviceOrderSpec, DeviceOrderStatus};
/// Names and other metadata of an object, without a client.
pub use kube::ResourceExt;
pub use metric::Metric;
pub use model_version::{ModelVersion, ModelVersionSpec, ModelVersionStatus};
pub use rollout::{Rollout, RolloutSpec, RolloutStatus};
pub use selector::DeviceSelector;

/// The API group of every kind.
pub const GROUP: &str = "modelfleet.io";

/// The served and stored version of every kind.
pub const VERSION: &str = "v1alpha1";

/// The category that lists every kind: `kubectl get modelfleet`.
pub const CATEGORY: &str = "modelfleet";
