//! What goes into the agent and what comes out.
//!
//! The shell waits for one thing, feeds it as an [`Input`], and carries out the [`Output`]s in their order. It
//! decides nothing: whatever it cannot do comes back as an input.

use std::sync::Arc;

use modelfleet_protocol::generated::{Counters, Report};
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName, Namespace};
use modelfleet_protocol::overrides::Override;
use modelfleet_protocol::plan::{Fetch, Plan, Probation};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::state::{Capabilities, DeviceState, Failure};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::WindowSummary;

use crate::build::Build;

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

/// How often, how long and how much. The defaults are what ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fetch tries of one attempt before it is `DownloadExhausted`.
    pub fetch_tries_max: u32,
    /// Wait before the second fetch try; doubles with each further one.
    pub fetch_backoff_ms: u64,
    /// Longest wait between two fetch tries.
    pub fetch_backoff_max_ms: u64,
    /// After this pause an attempt that could not download, or a stable build that could not be installed, is
    /// tried again.
    pub long_pause_ms: u64,
    /// Restarts on probation, or during admission, that make a crash loop.
    pub restarts_max: u32,
    /// Tries to load a build that has run before, until its bytes count as lost.
    pub switch_tries_max: u32,
    /// Wait between two such tries.
    pub switch_retry_ms: u64,
    /// Base windows kept per build for the device's own history.
    pub history_windows: usize,
    /// Windows are written to disk at least this often; never later than the report that carries them.
    pub save_windows_every_ms: u64,
    /// How a stable or pinned build proves itself; a candidate brings its own.
    pub probation: Probation,
    /// How a stable or pinned build is fetched; a candidate brings its own.
    pub fetch: Fetch,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fetch_tries_max: 12,
            fetch_backoff_ms: 10_000,
            fetch_backoff_max_ms: 3_600_000,
            long_pause_ms: 24 * 3_600_000,
            restarts_max: 3,
            switch_tries_max: 3,
            switch_retry_ms: 10_000,
            history_windows: 600,
            save_windows_every_ms: 15 * 60_000,
            probation: Probation { timeout_ms: 15 * 60_000, min_predictions: 0, max_errors: u64::MAX },
            fetch: Fetch { spread_ms: 60_000, bytes_per_second: 0, window_utc_minutes: None },
        }
    }
}

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The process runs. Fed once, before anything else.
    Started,
    /// The shell is about to connect and needs its last will; answered by [`Output::Connect`].
    Connecting,
    /// The broker accepted the connection.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// The broker answered (an acknowledged publish, a ping): the line works in both directions. Feeding it
    /// too often does no harm.
    BrokerHeard,
    /// A plan whose envelope was opened and whose signature is good.
    Plan(Arc<Plan>),
    /// An override whose envelope was opened and whose signature is good.
    Override(Box<Override>),
    /// Bytes of the running fetch that are on disk so far.
    FetchProgress {
        /// What is fetched.
        digest: Digest,
        /// Bytes there.
        bytes: u64,
    },
    /// All bytes are there and durable; digest and signature were good.
    Fetched {
        /// What was fetched.
        digest: Digest,
    },
    /// The fetch ended without the bytes.
    FetchFailed {
        /// What was fetched.
        digest: Digest,
        /// Why not.
        failure: Failure,
        /// Whether another try may help.
        retry: Retry,
    },
    /// The build was loaded beside what serves, and passed its self-test. It stays loaded until
    /// [`Output::Switch`], [`Output::Shadow`] or [`Output::Unload`].
    Admitted {
        /// The build.
        digest: Digest,
        /// The engine that runs it.
        engine: String,
        /// Memory it takes; 0: not measured.
        memory_bytes: u64,
    },
    /// The build could not be loaded, or failed its self-test. Nothing stays loaded.
    Refused {
        /// The build.
        digest: Digest,
        /// Why.
        failure: Failure,
    },
    /// The build answers now; `None`: the fallback does.
    Switched {
        /// The model.
        model: ModelName,
        /// What answers.
        digest: Option<Digest>,
        /// The engine that runs it; empty with `None`.
        engine: String,
    },
    /// The build could not be made to answer; what answered before still does.
    SwitchFailed {
        /// The model.
        model: ModelName,
        /// What should have answered.
        digest: Digest,
        /// Why it does not.
        failure: Failure,
    },
    /// Bytes that a slot should hold are missing or damaged.
    SlotLost {
        /// The build.
        digest: Digest,
    },
    /// The recorder closed a window.
    WindowClosed {
        /// The model.
        model: ModelName,
        /// The build that was observed.
        digest: Digest,
        /// Length of the window, milliseconds.
        window_ms: u64,
        /// What was seen.
        window: Box<WindowSummary>,
    },
    /// Ground truth arrived for predictions of a window that was closed before. The counters are added to it.
    TruthArrived {
        /// The model.
        model: ModelName,
        /// The build that made the predictions.
        digest: Digest,
        /// Length of the windows, milliseconds.
        window_ms: u64,
        /// The base window of the predictions.
        index: u64,
        /// What the truth adds (true and false positives and negatives).
        counters: Counters,
    },
    /// What a build on probation (or in shadow) has done since it was switched to, or since the process
    /// started: running totals. Fed with the window ticks, and at once when errors appear.
    Health {
        /// The model.
        model: ModelName,
        /// The build.
        digest: Digest,
        /// Answers without an error.
        answered: u64,
        /// Errors.
        errors: u64,
    },
    /// The build used more memory than allowed.
    MemoryExceeded {
        /// The model.
        model: ModelName,
        /// The build.
        digest: Digest,
    },
    /// The moment of [`Step::wake`] has come. Feeding it early does no harm.
    Wake,
}

/// Whether another try may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It may (network, a busy server).
    Later,
    /// It will not (wrong digest, wrong signature, no room on disk).
    Never,
}

/// Something to do. Carried out in order; each one is safe to repeat.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Write a record and make it durable before the next output is carried out.
    Save(Record),
    /// Connect with this last will (published retained on the presence topic).
    Connect {
        /// The will: offline, with the number of this connection.
        will: Presence,
    },
    /// Publish presence, retained.
    PublishPresence(Presence),
    /// Publish the state, retained.
    PublishState(Box<DeviceState>),
    /// Publish a report, retained.
    PublishReport {
        /// The model.
        model: ModelName,
        /// The report.
        report: Box<Report>,
    },
    /// Fetch the bytes and verify digest and signature; resumes what is there. At most one runs at a time.
    Fetch {
        /// The build.
        build: Build,
        /// Byte rate; spread and daily window are the agent's matter.
        fetch: Fetch,
    },
    /// Stop the fetch if it runs, and drop its partial bytes. No answer is expected.
    CancelFetch {
        /// What is fetched.
        digest: Digest,
    },
    /// Load the build beside what serves, and run its self-test.
    Admit {
        /// The build.
        build: Build,
    },
    /// Drop a loaded instance that does not serve. No answer is expected.
    Unload {
        /// The build.
        digest: Digest,
    },
    /// Make this build answer, atomically; load it first when it is not loaded (after a restart, or going
    /// back). `None`: nothing runs, the fallback answers. What answered before is unloaded, its bytes stay.
    Switch {
        /// The model.
        model: ModelName,
        /// What shall answer.
        build: Option<Build>,
    },
    /// Run this admitted build on the same inputs, beside what answers; `None`: end that and unload it.
    Shadow {
        /// The model.
        model: ModelName,
        /// What shall run beside.
        build: Option<Build>,
    },
    /// Delete the bytes of this build.
    Delete {
        /// The build.
        digest: Digest,
    },
    /// Record windows of this length for this build from now on.
    Observe(Watch),
    /// A line for people, in the log.
    Note(String),
}

/// What a recorder shall observe: the argument of [`crate::recorder::Recorder::watch`].
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// The model.
    pub model: ModelName,
    /// The build; its profile says which bins and ranges. `None`: nothing runs.
    pub build: Option<Build>,
    /// Length of a window, milliseconds; 0: record nothing.
    pub window_ms: u64,
    /// Whether the build answers or runs beside: each has its own recorder.
    pub role: Role,
}

/// How a build runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It answers.
    Live,
    /// It runs beside what answers.
    Shadow,
}

/// Which record to write. The bytes are asked for when they are written, so that nobody copies in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// [`crate::agent::Agent::saved`]: what the agent must not forget.
    Control,
    /// [`crate::agent::Agent::saved_windows`] of this model: what it has observed.
    Windows(ModelName),
}

/// Why the agent wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A fetch may start (spread, daily window).
    FetchStart,
    /// A fetch is tried again.
    FetchRetry,
    /// A build that would not load is tried again.
    SwitchRetry,
    /// Probation ends.
    Probation,
    /// An attempt is tried again after the long pause.
    LongPause,
    /// A report is due.
    Report,
    /// Windows are to be written to disk.
    SaveWindows,
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
