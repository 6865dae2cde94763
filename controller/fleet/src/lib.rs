//! What devices and the broker say, folded into an index: devices, their windows, and the plans that the broker holds.
//!
//! No client, no lock, no clock and no IO: a message and the moment in which it came are arguments. A [`FleetIndex`] is
//! written message by message; a [`Fleet`] is a copy of it at one moment, which costs a few hundred pointers to take and
//! does not change.

pub mod arm_values;
pub mod arrivals;
pub mod census;
mod clones;
pub mod closed_windows;
pub mod device;
mod device_changes;
pub mod device_list;
pub mod enrolment;
pub mod failure_groups;
pub mod fair;
mod first_by_id;
pub mod fleet;
pub mod fleet_index;
pub mod future_windows;
mod heard_live;
mod index;
pub mod intern;
mod label_sets;
pub mod ledger;
pub mod left_out;
pub mod link;
pub mod malformed;
pub mod managed;
mod members;
pub mod merged;
pub mod other_plan;
pub mod room;
pub mod shards;
pub mod single_devices;
pub mod trust;
pub mod trust_held;
pub mod unable;
pub mod view;
pub mod windows;
pub mod wrong_clocks;

pub use arrivals::Arrived;
pub use device_changes::{DeviceChange, DeviceChanges};
pub use enrolment::Enrolment;
pub use fleet::Fleet;
pub use fleet_index::{Change, FleetIndex, Folded};
pub use index::Index;
pub use ledger::{Key, Ledger};
pub use link::Link;
pub use malformed::Malformed;
pub use managed::{Managed, Source};
pub use room::Room;
pub use single_devices::SingleDevices;
pub use trust::Trust;
