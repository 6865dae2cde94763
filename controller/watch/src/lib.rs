//! The watch over a version in production: closed windows of the whole fleet in, alarms out.
//!
//! Two layers share one alarm budget, half each. The *levels* ask in every window whether more is bad than is allowed; they
//! need nothing to compare with, and find what is grossly wrong within a day of hourly windows. The *changes* ask once a
//! day whether the day differs from the days before; they find what stays within the allowed. Both are e-detectors
//! ([`modelfleet_monitor::detect::EDetector`]): windows that hang together and rhythms cost no false alarms as long as what
//! is expected of the next one is within the allowed. What that comes to is measured in `docs/monitor-proof.md`.
//!
//! No clock, no fleet, no words for people: what is kept is a [`WatchMemory`] that goes through a status and back.

mod alarm;
mod change;
mod feature;
mod keep;
mod level;
mod memory;
mod named;
mod policy;
mod reading;
mod stream;

pub use alarm::{Alarm, Cause, Found};
pub use change::{Change, DAY_MS, LEARNING_DAYS};
pub use feature::{feature_seen, gate};
pub use keep::{Kept, keep, nearness};
pub use memory::{TEXT_MAX, WatchMemory};
pub use named::{NAMED_MAX, Named, NamedKind};
pub use policy::{OnAlarm, WatchPolicy};
pub use reading::{Seen, Share, WindowReading, share_difference};
pub use stream::{FEATURES_MAX, GROUPS_MAX, Stream};
