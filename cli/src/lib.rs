//! `kubectl modelfleet`: registers model versions, shows and steers rollouts.
//!
//! The plugin is a convenience: everything that it changes is a plain spec field that `kubectl patch` changes
//! as well. It needs a running API server and no running controller, but for questions about devices.

pub mod arguments;
pub mod cluster;
pub mod commands;
pub mod costs_file;
pub mod dashboard;
pub mod decimal;
pub mod device_client;
pub mod device_order;
pub mod key_file;
pub mod manifest;
pub mod outcome;
pub mod printing;
pub mod promotion_scope;
pub mod register;
pub mod rollout_file;
pub mod rollout_patch;
pub mod rollout_setup;
pub mod schema;
pub mod simulation_input;
pub mod stage_warnings;
pub mod table;
pub mod telemetry;
pub mod tls;
pub mod units;
pub mod version_difference;
pub mod yaml_file;
