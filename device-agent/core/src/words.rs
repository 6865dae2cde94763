//! What goes into the agent and what comes out.
//!
//! The shell waits for one thing, feeds it as an [`Input`], and carries out the [`Output`]s in their order. It
//! decides nothing: whatever it cannot do comes back as an input.

use modelfleet_protocol::ids::{DeviceId, Namespace};
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::state::Capabilities;
use modelfleet_protocol::time::Time;

pub use crate::inputs::{Input, Retry};
pub use crate::limits::Limits;
pub use crate::outputs::{Output, Record, Role, Watch};

/// A moment, on both clocks of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock. It may be set, and be wrong by years.
    pub wall: Time,
    /// Milliseconds on a clock that nobody sets, from any origin; it stands still while the machine sleeps.
    pub steady_ms: u64,
}

impl From<Time> for Moment {
    /// Where nobody ever sets the clock.
    fn from(wall: Time) -> Moment {
        Moment { wall, steady_ms: wall.0 }
    }
}

/// Who the device is and what it can run. Constant while the agent runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The fleet.
    pub namespace: Namespace,
    /// The device.
    pub device: DeviceId,
    /// Version of the agent, for people.
    pub agent: String,
    /// Its labels.
    pub labels: Labels,
    /// Its engines and memory.
    pub capabilities: Capabilities,
}

/// Why the agent wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Something is in the way that may pass by itself: a clock may have been set.
    Obstacle,
    /// A fetch may start (spread, daily window).
    FetchStart,
    /// A fetch is tried again.
    FetchRetry,
    /// The daily window of a running fetch ends.
    FetchPause,
    /// A build that would not load is tried again.
    SwitchRetry,
    /// A build whose bytes could not be read is loaded again.
    ReadRetry,
    /// The shell owes an answer, and has had its time.
    Answer,
    /// Probation ends.
    Probation,
    /// An attempt is tried again after the long pause.
    LongPause,
    /// A report is due.
    Report,
    /// Windows are to be written to disk.
    SaveWindows,
    /// The record is to be written, which failed before.
    SaveRetry,
    /// After a row of crashes, candidates are loaded again.
    ConnectFirst,
    /// The process was up long enough for crashes before not to count.
    Steady,
}

/// What one input led to.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "outputs that nobody carries out leave the device elsewhere than the agent believes"]
pub struct Step {
    /// To be carried out in order.
    pub outputs: Vec<Output>,
    /// When to feed [`Input::Wake`] unless something else comes first. The shell waits for the difference to
    /// the step's `now` on a monotonic clock, so that a clock that is set does not stretch the wait.
    pub wake: Option<(Time, Why)>,
}
