//! The connection to the broker, as far as decisions go by it.

use modelfleet_protocol::time::Time;

/// The connection to the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// It stands.
    pub connected: bool,
    /// Every retained message that was asked for has arrived since it stands. Of one fleet: [`Link::of_fleet`].
    pub settled: bool,
    /// Since when it stands.
    pub since: Time,
}

impl Link {
    /// The connection, as far as one fleet goes: settled when all that its devices have retained has arrived, which it has
    /// since `complete`. Time before that is not counted as silence of any device. `None`: not yet, or nothing of the fleet
    /// is kept.
    #[must_use]
    pub fn of_fleet(self, complete: Option<Time>) -> Link {
        Link {
            connected: self.connected,
            settled: self.connected && complete.is_some(),
            since: self.since.max(complete.unwrap_or(Time::ZERO)),
        }
    }
}
