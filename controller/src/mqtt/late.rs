//! Fleets of which a retained message came after they had been heard to their end: the broker was not done with them, and may
//! still not be. No IO.

use std::collections::BTreeMap;
use std::time::Duration;

use modelfleet_protocol::ids::Namespace;
use tokio::time::Instant;

/// Longest time without a retained message after which such a fleet counts as heard again.
const WAIT_MAX: Duration = Duration::from_secs(16);

/// Those of one connection.
#[derive(Debug, Default)]
pub struct LateFleets {
    /// When the last message came of those that are not heard again.
    last: BTreeMap<Namespace, Instant>,
    /// How long it has to be quiet; remembered, because a broker that was late once may be late again.
    waits: BTreeMap<Namespace, Duration>,
    /// The message that is to come back once it has been quiet for long enough is on its way.
    asked: bool,
}

impl LateFleets {
    /// A retained message of this fleet has come too late. The first wait is twice `quiet`, and each further one is twice as
    /// long as the one before.
    pub fn begin(&mut self, fleet: Namespace, quiet: Duration, now: Instant) {
        let wait = self.waits.entry(fleet.clone()).or_insert(quiet);
        *wait = (*wait * 2).min(WAIT_MAX);
        self.last.insert(fleet, now);
        self.asked = false;
    }

    /// One more; false when the fleet is not among them.
    pub fn goes_on(&mut self, fleet: &Namespace, now: Instant) -> bool {
        let Some(last) = self.last.get_mut(fleet) else { return false };
        *last = now;
        true
    }

    /// Whether the fleet is not heard again yet.
    #[must_use]
    pub fn has(&self, fleet: &Namespace) -> bool {
        self.last.contains_key(fleet)
    }

    /// The fleets are listened to no more.
    pub fn leave(&mut self, fleets: &[Namespace]) {
        self.last.retain(|fleet, _| !fleets.contains(fleet));
    }

    /// All of them.
    pub fn names(&self) -> impl Iterator<Item = &Namespace> {
        self.last.keys()
    }

    /// When to send a message to ourselves, after which [`LateFleets::heard`] is asked.
    #[must_use]
    pub fn quiet_at(&self) -> Option<Instant> {
        let due = |(fleet, last): (&Namespace, &Instant)| *last + self.wait(fleet);
        self.last.iter().map(due).min().filter(|_| !self.asked)
    }

    /// That message has been sent.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// A message of ours has come back: the fleets that are heard to their end by now.
    pub fn heard(&mut self, now: Instant) -> Vec<Namespace> {
        self.asked = false;
        let quiet = |(fleet, last): &(&Namespace, &Instant)| now >= **last + self.wait(fleet);
        let heard: Vec<Namespace> = self.last.iter().filter(quiet).map(|(fleet, _)| fleet.clone()).collect();
        self.leave(&heard);
        heard
    }

    fn wait(&self, fleet: &Namespace) -> Duration {
        self.waits.get(fleet).copied().unwrap_or(WAIT_MAX)
    }
}
