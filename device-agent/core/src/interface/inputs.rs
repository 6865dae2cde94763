//! What goes into the agent: events, and the results of its outputs.

use std::sync::Arc;

use modelfleet_protocol::details::Details;
use modelfleet_protocol::envelope::Signed;
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::overrides::Override;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::state::Failure;
use modelfleet_protocol::trust::TrustDocument;
use modelfleet_protocol::window::WindowSummary;

/// An event, or the result of an output.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The process has started. Fed once, before anything else.
    Started {
        /// Identity of this boot of the machine, if the system has one. If a process ended during an earlier boot, it
        /// lost power; it did not crash.
        boot: Option<String>,
    },
    /// The process is being stopped. Fed once, after everything else; what is not on disk yet is written.
    Stopping,
    /// [`crate::interface::Record::Control`] could not be written, and no output that depends on it was carried out
    /// ([`crate::interface::Output::depends_on_record`]). Fed right after that step.
    NotSaved,
    /// The record could be written again.
    Saved,
    /// The shell is about to connect and needs its last will; answered by [`crate::interface::Output::Connect`].
    Connecting,
    /// The broker accepted the connection.
    Connected {
        /// Largest payload that it accepts, bytes; `usize::MAX` if it states no limit.
        payload_bytes_max: usize,
    },
    /// The connection was lost.
    Disconnected,
    /// The broker answered (an acknowledged publish, a ping): the connection works in both directions. Feeding it too
    /// often does no harm.
    BrokerHeard,
    /// A plan whose signature was verified, and the key that made it.
    Plan(Signed<Arc<Plan>>),
    /// An override whose signature was verified, and the key that made it. A cleared topic is not an override: a device is
    /// released only by a signed order.
    Override(Signed<Box<Override>>),
    /// A trust document whose signatures were verified. Feeding it again does no harm.
    Trust(Arc<TrustDocument>),
    /// Progress of the running download.
    FetchProgress {
        /// The build.
        digest: Digest,
        /// Bytes on disk so far.
        bytes: u64,
    },
    /// The download is complete and durable; digest and signature were verified.
    Fetched {
        /// The build.
        digest: Digest,
        /// The content of the details file that the build names, if it names one.
        details: Option<FetchedDetails>,
    },
    /// The download failed.
    FetchFailed {
        /// The build.
        digest: Digest,
        /// Why.
        failure: Failure,
        /// Whether another try may succeed.
        retry: Retry,
    },
    /// The disk has room again for a download that failed for lack of room. Feeding it too often does no harm.
    RoomOnDisk,
    /// The build was loaded beside the one that answers, and passed its self-test. It stays loaded until
    /// [`crate::interface::Output::Switch`], [`crate::interface::Output::Shadow`] or [`crate::interface::Output::Unload`].
    Admitted {
        /// The model that it was loaded for. Two models may share their bytes.
        model: ModelName,
        /// The build.
        digest: Digest,
        /// The engine that runs it.
        engine: String,
        /// Memory it uses, bytes; 0: not measured.
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
    /// The bytes of the build are on disk and could not be read, so it was not loaded. This says nothing about the build.
    Unreadable {
        /// The model that it was to be loaded for.
        model: ModelName,
        /// The build.
        digest: Digest,
        /// The disk's error.
        failure: Failure,
    },
    /// The build runs in shadow now.
    Shadowing {
        /// The model.
        model: ModelName,
        /// The build in shadow.
        digest: Digest,
    },
    /// The build answers now; `None`: the fallback does.
    Switched {
        /// The model.
        model: ModelName,
        /// The build that answers.
        digest: Option<Digest>,
        /// The engine that runs it; empty if no build answers.
        engine: String,
    },
    /// The switch to the build failed; the build that answered before still does.
    SwitchFailed {
        /// The model.
        model: ModelName,
        /// The build that should have answered.
        digest: Digest,
        /// Why it does not answer.
        failure: Failure,
    },
    /// The process in which an engine ran the build has ended, while the agent goes on: the build crashed it, hung, or took
    /// too much memory. It does not answer any more, in whichever role it ran. Feeding it again does no harm.
    EngineEnded {
        /// The model.
        model: ModelName,
        /// The build.
        digest: Digest,
        /// How the process ended.
        detail: String,
    },
    /// The bytes of a build in a slot are missing or damaged.
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
        /// What was counted.
        window: Box<WindowSummary>,
    },
    /// Ground truth arrived for predictions of a window that was closed before. Feeding it again does no harm.
    TruthArrived {
        /// The model.
        model: ModelName,
        /// The build that made the predictions.
        digest: Digest,
        /// Length of the windows, milliseconds.
        window_ms: u64,
        /// The base window of the predictions.
        index: u64,
        /// All that ground truth says of the window by now, in the place of what it said before; other counters are not
        /// looked at.
        counters: Counters,
    },
    /// Running totals of a build on probation (or in shadow), since it was switched to or since the process started.
    /// Fed at the end of each window, and at once when errors occur.
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
    /// The memory use of the process was measured. Fed at the end of each window if memory is limited, because only a
    /// reading below the limit clears a build of having crossed it.
    Memory {
        /// Whether the process uses more than allowed.
        exceeded: bool,
    },
    /// The time of [`crate::interface::Step::wake`] has come. Feeding it early does no harm.
    Wake,
}

/// The content of a build's details file, verified.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedDetails {
    /// Digest of the file.
    pub file: Digest,
    /// What is in it.
    pub details: Arc<Details>,
}

/// Whether another try may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It may soon (network, a busy server).
    Later,
    /// Not soon (the server refuses it, the disk is full), or never (wrong bytes, wrong signature): the failure's code
    /// tells which.
    Never,
}
