//! What the device sends: its state, its reports, and when.

pub(crate) mod device_state;
pub(crate) mod message;
pub(crate) mod schedule;
pub(crate) mod waits;
