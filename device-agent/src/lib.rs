//! The device agent's shell: it waits, feeds the pure core one input at a time and carries out its outputs.
//!
//! Nothing here decides about a rollout; see `modelfleet-agent-core` for that.

pub mod admit;
pub mod api;
pub mod clock;
pub mod config;
pub mod device;
pub mod engine;
pub mod fetch;
pub mod host;
pub mod http;
pub mod log;
pub mod mqtt;
pub mod probe;
pub mod serve;
pub mod signal;
pub mod slots;
pub mod store;
pub mod tensor;
pub mod tls;
