//! What the end-to-end tests and the demo stand on: real parts, started and stopped as a person would.
//!
//! Every part is a process of its own with a log file, is known to be ready by asking it, and ends with the
//! value that started it.

pub mod artifact_server;
pub mod broker;
mod certificate;
pub mod control_plane;
pub mod controller;
pub mod devices;
pub mod kubectl;
pub mod part;
pub mod place;
pub mod plant;
pub mod rollout_view;
pub mod short_rollout;
pub mod wait;
