//! What goes into the agent and what comes out.
//!
//! The shell waits for one thing, feeds it in as an [`Input`], and carries out the [`Output`]s in their order. It decides
//! nothing: what it cannot do comes back as an input.

mod inputs;
mod limits;
mod outputs;

use modelfleet_protocol::ids::{DeviceId, Namespace};
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::state::Capabilities;
use modelfleet_protocol::time::Time;

use crate::trust::TrustAnchor;

pub use inputs::{FetchedDetails, Input, Retry};
pub use limits::Limits;
pub use outputs::{Output, Record, RecordingTarget, Role};

/// A moment, on both clocks of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock. It can be set, and can be wrong by years.
    pub wall: Time,
    /// Milliseconds on a clock that cannot be set, from any origin. It stands still while the machine sleeps.
    pub steady_ms: u64,
}

impl From<Time> for Moment {
    /// For tests in which the clock is never set.
    fn from(wall: Time) -> Moment {
        Moment { wall, steady_ms: wall.0 }
    }
}

/// Which device this is, and what it can run. Constant while the agent runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The fleet.
    pub namespace: Namespace,
    /// The device.
    pub device: DeviceId,
    /// Version of the agent, for people.
    pub agent: String,
    /// The device's labels.
    pub labels: Labels,
    /// What it was set up to trust.
    pub trust: TrustAnchor,
    /// The device's card, if it has one: the labels are those of the card.
    pub card: Option<String>,
    /// Drawn anew at each start of the agent.
    pub instance: u32,
    /// The device's engines and memory.
    pub capabilities: Capabilities,
}

/// Why the agent asks to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WakeReason {
    /// Something prevents progress that may go away by itself, for example a clock that is wrong.
    Obstacle,
    /// A download may start (spread, daily window).
    FetchStart,
    /// A failed download is tried again.
    FetchRetry,
    /// The daily window of a running download ends.
    FetchPause,
    /// A build that failed to load is loaded again.
    SwitchRetry,
    /// A build whose bytes could not be read is loaded again.
    ReadRetry,
    /// The shell has not answered a request in time.
    Reply,
    /// Probation ends.
    Probation,
    /// A failed attempt is tried again after the long pause.
    LongPause,
    /// A report is due.
    Report,
    /// Windows must be written to disk.
    SaveWindows,
    /// The record must be written; the last try failed.
    SaveRetry,
    /// Candidates may be loaded again after several crashes in a row.
    ConnectFirst,
    /// The process has run long enough for earlier crashes not to count.
    Steady,
}

/// What one input led to.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "outputs that are not carried out leave the device in another state than the agent believes"]
pub struct Step {
    /// To be carried out in this order.
    pub outputs: Vec<Output>,
    /// When to feed [`Input::Wake`] unless another input comes first. The shell waits for the difference to the step's
    /// `now` on a monotonic clock, so that setting the wall clock does not change the wait.
    pub wake: Option<(Time, WakeReason)>,
}
