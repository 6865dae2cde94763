//! The simulated world with faults: the shipped agent core, index, ledger and decision cores in one process on virtual time.
//!
//! A seed draws a fleet, what its versions are like, and which faults are on. Laws hold at every moment; at the end
//! everything is healed, and the fleet has to come to what the objects say. The same seed always plays alike.

pub mod api_server;
pub mod attempt_laws;
pub mod author;
pub mod broker;
pub mod controller;
pub mod device;
pub mod disk;
pub mod faults;
pub mod fleet_laws;
pub mod habits;
pub mod laws;
pub mod nature;
pub mod network;
pub mod object_store;
pub mod operator;
pub mod probes;
pub mod record_laws;
pub mod scale;
pub mod schedule;
pub mod shrink;
pub mod stage_laws;
pub mod world;
