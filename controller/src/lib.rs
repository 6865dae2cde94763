//! The controller's shell: it carries Kubernetes objects and MQTT messages to the pure core, and what the core decides
//! back to them.
//!
//! It holds nothing that it cannot rebuild: intent and decisions are in Kubernetes, plans and device states at the
//! broker, bytes in the object store. Kill it at any instant, start it elsewhere, and it goes on.
//!
//! A reconcile is about one model of one fleet and is five calls ([`reconcile`]): observe, validate, decide, apply,
//! publish. What each room must never know: [`index`], [`assess`], [`turn`], [`plan`], [`ledger`], [`needed`] and
//! [`status`] have no client, no clock and no IO; [`mqtt`] alone knows the MQTT library; [`context::now`] alone reads
//! the clock for decisions.

pub mod apply;
pub mod args;
pub mod assess;
pub mod builds;
pub mod context;
pub mod error;
pub mod facts;
pub mod http;
pub mod index;
pub mod keys;
pub mod lease;
pub mod ledger;
pub mod metrics;
pub mod mqtt;
pub mod needed;
pub mod observe;
pub mod plan;
pub mod production;
pub mod publish;
pub mod queue;
pub mod read;
pub mod reconcile;
pub mod records;
pub mod registry;
pub mod restore;
pub mod retry;
pub mod run;
pub mod shared_labels;
pub mod status;
pub mod turn;
pub mod verify_artifact;
pub mod work;
pub mod written;
