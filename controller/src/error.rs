//! What can go wrong in a reconcile. An object that is wrong is no error: it is reported on the object.

use crate::mqtt::MqttError;

/// Why a reconcile has to be repeated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another writer changed the object since it was read.
    #[error("write {what}: another writer changed it meanwhile")]
    Conflict {
        /// What was being written.
        what: String,
    },
    /// The API server refused or was away.
    #[error("{what}")]
    Kubernetes {
        /// What was being done, to what.
        what: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server took too long over all of it.
    #[error("write what was decided: the API server took too long")]
    Slow,
    /// The broker's outbox is full.
    #[error("publish the plan")]
    Queue(#[from] MqttError),
}

impl Error {
    /// Sorts an answer of the API server to `what`.
    #[must_use]
    pub fn kubernetes(what: impl Into<String>, source: kube::Error) -> Error {
        let what = what.into();
        match &source {
            kube::Error::Api(status) if status.code == 409 => Error::Conflict { what },
            _ => Error::Kubernetes { what, source: Box::new(source) },
        }
    }

    /// Whether the API server has read what we wrote and will not have it: the repetition would be refused as well.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let Error::Kubernetes { source, .. } = self else { return false };
        matches!(source.as_ref(), kube::Error::Api(status) if matches!(status.code, 400 | 413 | 422))
    }

    /// Whether the API server has no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let Error::Kubernetes { source, .. } = self else { return false };
        matches!(source.as_ref(), kube::Error::Api(status) if status.code == 404)
    }

    /// The metric label: the variant's name, never its text.
    #[must_use]
    pub fn variant(&self) -> &'static str {
        match self {
            Error::Conflict { .. } => "Conflict",
            Error::Kubernetes { .. } => "Kubernetes",
            Error::Slow => "Slow",
            Error::Queue(_) => "Queue",
        }
    }
}
