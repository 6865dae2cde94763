//! Where occurrences are told, and by which name the status knows it.

use modelfleet_protocol::ids::Digest;

/// Hexadecimal digits of a sink's name in a status.
const ID_DIGITS: usize = 16;

/// The form that a receiver takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SinkKind {
    /// CloudEvents 1.0.
    CloudEvents,
    /// A webhook that takes Slack's messages.
    Slack,
    /// The API of Alertmanager, version 2.
    Alertmanager,
}

impl SinkKind {
    /// Its word in a spec.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SinkKind::CloudEvents => "CloudEvents",
            SinkKind::Slack => "Slack",
            SinkKind::Alertmanager => "Alertmanager",
        }
    }
}

/// The name of a sink in a status: short, the same in every process, and it does not show the URL, which may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SinkId(String);

impl SinkId {
    /// The name of the sink of this kind at `place`: its URL, or the Secret that holds it.
    #[must_use]
    pub fn of(kind: SinkKind, place: &str) -> SinkId {
        let mut digits = Digest::of(format!("{}/{place}", kind.as_str()).as_bytes()).hex();
        digits.truncate(ID_DIGITS);
        SinkId(digits)
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
