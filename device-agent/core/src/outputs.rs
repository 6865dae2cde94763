//! What comes out of the agent: what the shell is to do.

use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::plan::Fetch;
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::state::DeviceState;

use crate::build::Build;

/// Something to do. Carried out in order; each one is safe to repeat.
///
/// Fetch, admit, switch and shadow are answered by an input. An answer that does not come in time is taken for lost
/// ([`crate::words::Limits`]), and the request is made again.
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
    /// Stop the fetch if it runs, and keep its partial bytes. No answer is expected; one that was on its way
    /// does no harm.
    PauseFetch {
        /// What is fetched.
        digest: Digest,
    },
    /// Stop the fetch if it runs, and delete what is there of its bytes, were it all of them. No answer is
    /// expected.
    CancelFetch {
        /// What is fetched.
        digest: Digest,
    },
    /// Load the build beside what serves, and run its self-test. Loads of several models run side by side.
    Admit {
        /// The build.
        build: Build,
    },
    /// Drop what was loaded for this model and does not serve, and wait no more for its load. No answer is expected.
    Unload {
        /// The model that it was loaded for.
        model: ModelName,
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

impl Output {
    /// Whether it must not be carried out when the record before it could not be written.
    #[must_use]
    pub fn rests_on_record(&self) -> bool {
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
