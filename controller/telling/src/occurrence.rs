//! Something that happened to a rollout, before it has the form of any receiver.

use modelfleet_protocol::time::Time;

/// Which rollout an occurrence is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Namespace of the rollout.
    pub namespace: String,
    /// Its name.
    pub rollout: String,
    /// Its uid: an object of the same name that was created anew has another.
    pub uid: String,
    /// The model.
    pub model: String,
    /// The version that the rollout brings.
    pub version: String,
}

/// How soon a person should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing has to be done.
    Info,
    /// Look in working hours.
    Warning,
    /// Look now.
    Critical,
}

impl Severity {
    /// The word for labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The same whenever and by whichever process it is told, and of no other occurrence: receivers drop a repetition by it.
    pub id: String,
    /// What happened, as the words of the event type between `io.modelfleet.` and the version: `rollout.succeeded`.
    pub kind: String,
    /// Of which rollout.
    pub subject: Subject,
    /// When.
    pub at: Time,
    /// How soon a person should look.
    pub severity: Severity,
    /// One CamelCase word: the reason of the Kubernetes Event.
    pub reason: String,
    /// What happened, with numbers.
    pub message: String,
    /// Name of the stage; empty before the first.
    pub stage: String,
    /// Phase of the rollout afterwards, where the occurrence decides it.
    pub phase: Option<&'static str>,
    /// Why a rollback began, or what kind of alarm it is, as one CamelCase word.
    pub cause: Option<String>,
}
