//! The controller's shell: it carries Kubernetes objects and MQTT messages to the pure core, and what the core decides
//! back to them.
//!
//! It holds nothing that it cannot rebuild: intent and decisions are in Kubernetes, plans and device states at the
//! broker, bytes in the object store. Kill it at any instant, start it elsewhere, and it goes on.
//!
//! A reconcile is about one model of one fleet and is five steps ([`reconcile`]): observe, decide, apply, publish, report.
//! What is decided is decided elsewhere, in rooms without a client, a clock and IO: `fleet/` folds what devices say,
//! `model/` decides. [`mqtt`] alone knows the MQTT library; [`clock`] alone reads the clock.

pub mod apply;
pub mod args;
pub mod clock;
pub mod context;
pub mod device_orders;
pub mod error;
pub mod fleets;
pub mod history;
pub mod http;
pub mod keys;
pub mod lease;
pub mod logging;
pub mod metrics;
pub mod model_metrics;
pub mod mqtt;
pub mod observe;
pub mod publish;
pub mod reach;
pub mod reconcile;
pub mod records;
pub mod registry;
pub mod retry;
pub mod run;
pub mod telling;
pub mod traces;
pub mod trust;
pub mod verify_artifact;
pub mod work;
pub mod write_cache;
