//! What comes out of the agent: what the shell must do.

use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::plan::Fetch;
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::state::DeviceState;

use crate::plan::build::Build;

/// Something to do. Carried out in order; each one is safe to repeat.
///
/// Fetch, admit, switch and shadow are requests: the shell replies with an input. If no reply comes in time
/// ([`crate::interface::Limits`]), the agent makes the request again.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Write a record and make it durable before the next output is carried out.
    Save(Record),
    /// Connect with this last will (published retained on the presence topic).
    Connect {
        /// The last will: offline, with the number of this connection.
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
    /// Ask the broker for its plans and overrides once more: of those that it has sent, some may be accepted now. Without a
    /// connection there is nothing to do, because the next one brings them all.
    AskForPlans,
    /// Download the bytes and verify digest and signature; continues a partial download. The details file that the build
    /// names belongs to it. At most one download runs at a time.
    Fetch {
        /// The build.
        build: Build,
        /// The rate limit. Spread and daily window are handled by the agent.
        fetch: Fetch,
    },
    /// Stop the download if it runs, and keep its partial bytes. No reply is expected; one that was under way does no harm.
    PauseFetch {
        /// The build.
        digest: Digest,
    },
    /// Stop the download if it runs, and delete its bytes, partial or complete. No reply is expected.
    CancelFetch {
        /// The build.
        digest: Digest,
    },
    /// Load the build beside the one that answers, and run its self-test. Several models may be loaded at the same time.
    Admit {
        /// The build.
        build: Build,
    },
    /// Unload a build that was loaded for this model and does not answer, or cancel its load. No reply is expected.
    Unload {
        /// The model that it was loaded for.
        model: ModelName,
        /// The build.
        digest: Digest,
    },
    /// Make this build answer, atomically. Load it first if it is not loaded (after a restart, or when going back).
    /// `None`: no build runs, the fallback answers. The build that answered before is unloaded; its bytes stay.
    Switch {
        /// The model.
        model: ModelName,
        /// The build that must answer.
        build: Option<Build>,
    },
    /// Run this loaded build in shadow, on the same inputs as the one that answers. `None`: stop and unload it.
    Shadow {
        /// The model.
        model: ModelName,
        /// The build to run in shadow.
        build: Option<Build>,
    },
    /// Delete the bytes of this build.
    Delete {
        /// The build.
        digest: Digest,
    },
    /// Record windows for this build from now on.
    Observe(RecordingTarget),
    /// Write a line to the log.
    Note(String),
}

impl Output {
    /// Whether this output must not be carried out if the record before it could not be written.
    #[must_use]
    pub fn depends_on_record(&self) -> bool {
        matches!(
            self,
            Output::Fetch { .. }
                | Output::Admit { .. }
                | Output::Switch { .. }
                | Output::Shadow { build: Some(_), .. }
                | Output::Delete { .. }
                | Output::PublishState(_)
                | Output::PublishReport { .. }
        )
    }
}

/// What a recorder records: the argument of [`crate::recorder::Recorder::record_for`].
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingTarget {
    /// The model.
    pub model: ModelName,
    /// The build; its profile defines bins and ranges. `None`: no build runs.
    pub build: Option<Build>,
    /// Length of a window, milliseconds; 0: record nothing.
    pub window_ms: u64,
    /// Whether the build answers or runs in shadow: each role has its own recorder.
    pub role: Role,
}

/// How a build runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It answers.
    Live,
    /// It runs in shadow, beside the build that answers.
    Shadow,
}

/// Which record to write. The bytes are produced when they are written, to avoid useless copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// [`crate::agent::Agent::saved`]: what the agent must not forget.
    Control,
    /// [`crate::agent::Agent::saved_windows`] of this model: the windows that it has counted.
    Windows(ModelName),
}
