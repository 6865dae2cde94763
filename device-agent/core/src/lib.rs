//! The pure device agent: one `step` takes an input and returns outputs. The same code runs on a device and in the
//! simulated world.
//!
//! No IO, no clock, no environment, no random numbers: time is an argument, and jitter is a hash of names. No input makes
//! it panic. The shell ([`interface`]) feeds in what happened and carries out what comes back.
//!
//! - [`agent`]: the device as a whole, and one step.
//! - `model`: one model on this device; it brings together the parts below, each of which owns its own state.
//! - `plan`: what the controller wants. `download`, `install`: how a build gets onto the disk.
//! - `serve`: which build answers, and how it proves itself. `observe`: what is counted. `report`: what is sent.
//! - [`truth`]: what people or systems say of predictions later. [`trust`]: which keys count. `persist`: what survives a restart. [`held_plans`]: which plans the device sends back.

pub mod agent;
mod download;
pub mod held_plans;
mod install;
pub mod interface;
mod model;
mod observe;
mod persist;
mod plan;
mod report;
mod serve;
pub mod trust;
pub mod truth;

pub use observe::recorder;
pub use persist::saved;
pub use plan::build;
