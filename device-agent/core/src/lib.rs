//! The pure device agent: one `step` from an input to outputs, the same on a device and in the simulated world.
//!
//! No IO, no clock, no environment, no randomness: time is an argument, chance is a hash of names. No input
//! makes it panic. The shell ([`words`]) feeds what happened and carries out what comes back.

pub mod agent;
mod aim;
mod answers;
mod attempts;
pub mod backlog;
pub mod build;
mod crashes;
mod deeds;
mod deletions;
mod fetch_schedule;
mod fetch_turns;
mod fetching;
pub mod history;
mod inputs;
mod limits;
mod memory;
mod mind;
mod observation;
mod outputs;
mod pace;
mod plan_intake;
mod prediction;
mod probation;
mod pursue;
pub mod recorder;
mod report;
mod roster;
mod runs;
pub mod saved;
mod saved_windows;
mod serve;
mod shapes;
mod slots;
mod state;
mod truth;
mod turn;
mod unit;
mod waits;
pub mod words;
mod writing;
