//! The device agent's shell: it waits for events, feeds them into the pure core one at a time, and carries out the core's
//! outputs.
//!
//! Decisions about a rollout are made in `modelfleet-agent-core`, not here.

pub mod admit;
pub mod api;
pub mod clock;
pub mod config;
pub mod device;
pub mod engine;
pub mod fetch;
pub mod host;
pub mod http;
pub mod inherited;
pub mod log;
pub mod mqtt;
pub mod probe;
pub mod serve;
pub mod signal;
pub mod slots;
pub mod store;
pub mod telemetry;
pub mod tensor;
pub mod tls;
