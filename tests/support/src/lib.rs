//! What several test suites stand on. A dev-dependency of the packages that are tested; nothing that ships knows it.
//!
//! Every part is a process of its own with a log file, is known to be ready by asking it, and ends with the value that
//! started it. Nothing here is skipped: what is missing fails, with what to install or to start.

pub mod api_server;
pub mod broker;
pub mod certificate;
pub mod console;
pub mod control_plane;
pub mod endless_model;
pub mod http;
pub mod kubectl;
pub mod onnxruntime;
pub mod part;
pub mod place;
pub mod pump_plan;
pub mod wait;
pub mod wire;
