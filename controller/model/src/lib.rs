//! One model of one fleet: its rollouts, versions, queue and plan. [`decide_model`] is total, pure and deterministic: it
//! takes a snapshot and a moment, and says what is to be written and sent.
//!
//! No client, no lock, no clock and no IO: the controller carries what is decided here, in the order that it is said in.

pub mod assess;
pub mod closed;
pub mod decide_model;
pub mod decide_rollouts;
pub mod device_order;
pub mod epoch;
pub mod events;
pub mod inputs;
pub mod interventions;
pub mod known_devices;
mod later_trust;
pub mod objects;
pub mod plan;
pub mod production;
pub mod queue;
pub mod recall;
pub mod recording;
pub mod restore;
pub mod retention;
pub mod rollout_release;
pub mod rollout_status;
pub mod security_floor;
pub mod shared_labels;
pub mod status;
pub mod version_claims;
pub mod version_facts;
pub mod version_status;
pub mod watch;

pub use modelfleet_spec::builds;

pub use decide_model::{LastLooks, ModelDecision, Snapshot, decide_model};
pub use objects::ModelObjects;
