//! The words that cross MQTT: topics, messages, membership, mergeable summaries, signed envelopes.
//!
//! This crate depends on no other of ours. It has no IO, no clock and no randomness, and no input makes it panic.

pub mod admission;
pub mod bins;
pub mod broker_rights;
pub mod card;
pub mod causes;
pub mod details;
pub mod draw;
pub mod envelope;
pub mod floor;
pub mod ids;
pub mod in_toto;
pub mod label;
pub mod latency;
pub mod membership;
pub mod metric;
pub mod model;
pub mod observe;
pub mod overrides;
pub mod plan;
pub mod presence;
pub mod report;
pub mod selector;
pub mod state;
pub mod statement;
pub mod texts;
pub mod time;
pub mod topic;
pub mod trust;
pub mod window;

/// Messages generated from `proto/`; the committed file is compared with the contract in a test.
#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
pub mod generated {
    include!("generated/modelfleet.v1.rs");
}
