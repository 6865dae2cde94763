//! Which transitions are announced as Kubernetes Events.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;

use crate::decide_rollouts::Decided;

/// Entries older than this were announced by the process that wrote them, milliseconds. A process that starts announces
/// younger ones again, because the one before may have ended between the status and the event.
const FRESH_MS: u64 = 10 * 60_000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// One CamelCase word.
    pub reason: &'static str,
    /// Whether an operator should look.
    pub warning: bool,
    /// With numbers.
    pub message: String,
    /// When.
    pub at: Time,
}

impl Event {
    /// A name for the event that is made of what it says, about the object with this uid: a repetition has the same name.
    #[must_use]
    pub fn identity(&self, uid: &str) -> Digest {
        // The status keeps whole seconds of a moment: the name must not depend on more.
        let identity = format!("{uid}/{}/{}/{}", self.reason, self.at.0 / 1_000, self.message);
        Digest::of(identity.as_bytes())
    }
}

/// The transitions of a rollout that are to be announced, and the moment up to which all are then. `since`: the moment up to
/// which this process has announced them.
#[must_use]
pub fn new_events(decided: &Decided, since: Option<Time>, now: Time) -> Option<(Vec<Event>, Time)> {
    let log = &decided.memory.state.log;
    let last = log.back().map(|entry| entry.at).filter(|last| since != Some(*last))?;
    let young =
        log.iter().filter(|e| since.is_none_or(|since| e.at > since) && now.since_ms(e.at) < FRESH_MS);
    let event = |line: &modelfleet_rollout::LogEntry| Event {
        reason: line.kind.as_str(),
        warning: line.kind.is_warning(),
        message: line.message.clone(),
        at: line.at,
    };
    Some((young.map(event).collect(), last))
}
