//! What is told of rollouts to the outside. [`transition`] says which transitions a stored status has that a sink was not told
//! yet, [`cloud_event`], [`slack`] and [`alertmanager`] bring one into the form of a receiver, [`signature`] signs it, and
//! [`sink_queue`] says when a sink is tried next.
//!
//! Time and chance are arguments; the controller carries the requests.

pub mod alertmanager;
pub mod answer;
pub mod breaker;
pub mod cloud_event;
pub mod occurrence;
pub mod signature;
pub mod sink;
pub mod sink_queue;
pub mod slack;
pub mod transition;

pub use occurrence::{Occurrence, Severity, Subject};
pub use sink::{SinkId, SinkKind};
pub use sink_queue::{Next, Sent, SinkQueue};
pub use transition::{Cursor, Transition};
