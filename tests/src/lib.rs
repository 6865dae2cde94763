//! What the end-to-end tests and the demo stand on: real parts, started and stopped as a person would.
//!
//! The parts themselves, such as the broker and the API server, are in `modelfleet_test_support`.

pub mod artifact_server;
pub mod controller;
pub mod devices;
pub mod plant;
pub mod rollout_view;
pub mod short_rollout;
