//! What bytes of a stranger must not do: one function for each kind of bytes that a program of ours reads, the one home of
//! what is asked of its reader. `fuzz/` calls these functions with what libFuzzer makes, `tests/mutations.rs` with the kept
//! corpus and changes of it.
//!
//! A function panics when the reader breaks a promise, and returns whether the bytes were taken: a corpus of which nothing is
//! taken would try the door alone.

pub mod agent;
pub mod controller;
pub mod protocol;

#[cfg(feature = "agent")]
pub mod local_api;
#[cfg(feature = "plugin")]
pub mod plugin;

/// One kind of bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which its corpus and its fuzz target have as well.
    pub name: &'static str,
    /// Reads them; whether they were taken.
    pub read: fn(&[u8]) -> bool,
    /// What reading costs: a test of bounded time tries a cheap one more often.
    pub cost: Cost,
}

/// What reading costs, by order of magnitude.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// Tens of microseconds.
    Low,
    /// Milliseconds: an agent lives through what it read.
    Middle,
    /// More: a rollout is planned.
    High,
}

const fn target(name: &'static str, read: fn(&[u8]) -> bool, cost: Cost) -> Target {
    Target { name, read, cost }
}

/// All kinds.
pub const TARGETS: &[Target] = &[
    target("card", protocol::card, Cost::Low),
    target("control_record", agent::control_record, Cost::Middle),
    target("envelope", protocol::envelope, Cost::Low),
    target("in_toto", protocol::in_toto, Cost::Low),
    target("message", controller::message, Cost::Low),
    target("model_file", protocol::model_file, Cost::Low),
    target("override", agent::override_of, Cost::Middle),
    target("plan", protocol::plan, Cost::Low),
    target("report", protocol::report, Cost::Low),
    target("signed_plan", agent::signed_plan, Cost::Middle),
    target("state", protocol::state, Cost::Low),
    target("statement", protocol::statement, Cost::Low),
    target("topic", protocol::topic, Cost::Low),
    target("trust", protocol::trust, Cost::Low),
    target("truth_lines", agent::truth_lines, Cost::Low),
    target("windows_record", agent::windows_record, Cost::Middle),
    #[cfg(feature = "agent")]
    target("local_api", local_api::request, Cost::Low),
    #[cfg(feature = "plugin")]
    target("judge_record", plugin::judge_record, Cost::High),
    #[cfg(feature = "plugin")]
    target("lint", plugin::lint, Cost::Middle),
    #[cfg(feature = "plugin")]
    target("model_signing", plugin::model_signing, Cost::Low),
    #[cfg(feature = "plugin")]
    target("rollout", plugin::rollout, Cost::High),
    #[cfg(feature = "plugin")]
    target("scenario", plugin::scenario, Cost::High),
    #[cfg(feature = "plugin")]
    target("training_rows", plugin::training_rows, Cost::Low),
];
