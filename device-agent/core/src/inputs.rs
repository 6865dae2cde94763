//! What goes into the agent: what happened, and what came of its outputs.

use std::sync::Arc;

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::overrides::Override;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::state::Failure;
use modelfleet_protocol::window::WindowSummary;

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The process runs. Fed once, before anything else.
    Started {
        /// Identity of this boot of the machine, where the system has one. A process that ended with an
        /// earlier boot lost its power; it did not crash.
        boot: Option<String>,
    },
    /// The process ends in order. Fed once, after everything else; what is not on disk goes there.
    Stopping,
    /// [`crate::words::Record::Control`] could not be written, and nothing that rests on it was carried out
    /// ([`crate::words::Output::rests_on_record`]). Fed right after that step.
    NotSaved,
    /// The record could be written again.
    Saved,
    /// The shell is about to connect and needs its last will; answered by [`crate::words::Output::Connect`].
    Connecting,
    /// The broker accepted the connection.
    Connected {
        /// Most bytes of a message's payload that it takes; `usize::MAX` where it has told no limit.
        payload_bytes_max: usize,
    },
    /// The connection is gone.
    Disconnected,
    /// The broker answered (an acknowledged publish, a ping): the line works in both directions. Feeding it
    /// too often does no harm.
    BrokerHeard,
    /// A plan whose envelope was opened and whose signature is good.
    Plan(Arc<Plan>),
    /// An override whose envelope was opened and whose signature is good. A topic that was cleared is none: only
    /// a signed order lets a device go again, so that nobody without a key can.
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
    /// The disk has room again for a download that found none. Feeding it too often does no harm.
    RoomOnDisk,
    /// The build was loaded beside what serves, and passed its self-test. It stays loaded until
    /// [`crate::words::Output::Switch`], [`crate::words::Output::Shadow`] or [`crate::words::Output::Unload`].
    Admitted {
        /// The model that it was loaded for. Two models may share their bytes.
        model: ModelName,
        /// The build.
        digest: Digest,
        /// The engine that runs it.
        engine: String,
        /// Memory it takes; 0: not measured.
        memory_bytes: u64,
    },
    /// The build could not be loaded, or failed its self-test. Nothing stays loaded.
    Refused {
        /// The model that it was to be loaded for.
        model: ModelName,
        /// The build.
        digest: Digest,
        /// Why.
        failure: Failure,
    },
    /// The bytes of the build are on disk and could not be read; it was not loaded. No word about the build.
    Unreadable {
        /// The model that it was to be loaded for.
        model: ModelName,
        /// The build.
        digest: Digest,
        /// What the disk said.
        failure: Failure,
    },
    /// The build runs beside what answers now.
    Shadowing {
        /// The model.
        model: ModelName,
        /// What runs beside.
        digest: Digest,
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
    /// What the process uses was read. Fed with the window ticks where memory is limited: only readings below
    /// the limit clear a build of having crossed it.
    Memory {
        /// More than allowed.
        exceeded: bool,
    },
    /// The moment of [`crate::words::Step::wake`] has come. Feeding it early does no harm.
    Wake,
}

/// Whether another try may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It may, soon (network, a busy server).
    Later,
    /// Not soon (a refusal of the server, no room on disk), or not at all (wrong bytes, wrong signature): the
    /// failure's code tells which.
    Never,
}
