//! What is subscribed to on one connection, and what of it has been heard to its end. No IO.
//!
//! Plans come first: with the objects they say which fleets there are. Then the fleets, some at a time; nothing else is
//! listened to, so that no client can fill our memory with invented fleets. A marker that we send to ourselves once
//! the broker has confirmed a subscription comes back behind all that was retained, or nearly so: then no retained message may
//! come for [`QUIET`]. A subscription that the broker refuses is never heard to its end, and is asked for again after a while.

use std::collections::BTreeSet;
use std::time::Duration;

use modelfleet_protocol::ids::Namespace;
use modelfleet_protocol::topic::{ROOT, controller_filters};
use tokio::time::Instant;

use super::late::LateFleets;

/// Most fleets that are subscribed to in one message.
const AT_ONCE_MAX: usize = 64;
/// After the marker no retained message may come for this long: of the brokers only Mosquitto sends all that it has retained
/// before any later message.
pub const QUIET: Duration = Duration::from_secs(1);
/// A refused subscription is asked for again after this time.
pub const AGAIN: Duration = Duration::from_secs(30);

/// What is asked for in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// All plans, and our own markers.
    Plans,
    /// The devices of these fleets.
    Fleets(Vec<Namespace>),
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Idle,
    /// Asked for, and not answered.
    Asked(Part),
    /// Confirmed, and the marker with this number is on its way.
    Marked(Part, u64),
    /// The marker is back.
    Quiet {
        part: Part,
        /// No retained message has come since then.
        since: Instant,
        /// A message that is to come back once it has been quiet for long enough is on its way.
        asked: bool,
    },
}

/// What to send next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Subscribe to these.
    Subscribe(Vec<String>),
    /// Listen to these no more.
    Unsubscribe(Vec<String>),
}

/// What has been heard to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Every plan.
    Plans,
    /// All that the devices of these fleets have retained.
    Fleets(Vec<Namespace>),
}

/// What is heard on one connection.
#[derive(Debug)]
pub struct Subscriptions {
    sync_topic: String,
    /// Trust documents are heard, before all plans.
    trust: bool,
    step: Step,
    markers: u64,
    plans: bool,
    fleets: BTreeSet<Namespace>,
    /// Subscribed to, and not heard to their end although it seemed so.
    late: LateFleets,
    /// Refused since `denied_at`.
    denied: BTreeSet<Namespace>,
    /// When the broker last refused anything, plans included.
    denied_at: Option<Instant>,
}

impl Subscriptions {
    /// Nothing is heard yet; markers come on `sync_topic`.
    #[must_use]
    pub fn new(sync_topic: &str) -> Subscriptions {
        Subscriptions {
            sync_topic: sync_topic.to_owned(),
            trust: false,
            step: Step::Idle,
            markers: 0,
            plans: false,
            fleets: BTreeSet::new(),
            late: LateFleets::default(),
            denied: BTreeSet::new(),
            denied_at: None,
        }
    }

    /// The same, with trust documents heard before all plans: they say whose plans count.
    #[must_use]
    pub fn with_trust(self) -> Subscriptions {
        Subscriptions { trust: true, ..self }
    }

    /// The connection is new: nothing is heard on it. Markers go on counting, so that one of the connection before is
    /// not taken for one of this.
    pub fn reconnect(&mut self) {
        let fresh = Subscriptions::new(&self.sync_topic);
        *self = Subscriptions { markers: self.markers, trust: self.trust, ..fresh };
    }

    /// What to send next for the fleets that are `wanted`; `None`: nothing, or an answer has to come first.
    pub fn next(&mut self, wanted: &BTreeSet<Namespace>, now: Instant) -> Option<Next> {
        if self.step != Step::Idle || self.denied_at.is_some_and(|at| !self.plans && now < at + AGAIN) {
            return None;
        }
        if self.denied_at.is_some_and(|at| now >= at + AGAIN) {
            self.denied_at = None;
            self.denied.clear();
        }
        if !self.plans {
            self.step = Step::Asked(Part::Plans);
            return Some(Next::Subscribe(self.filters(&Part::Plans)));
        }
        let subscribed = self.fleets.iter().chain(self.late.names());
        let gone = subscribed.filter(|fleet| !wanted.contains(fleet)).take(AT_ONCE_MAX);
        let gone: Vec<Namespace> = gone.cloned().collect();
        if !gone.is_empty() {
            self.late.leave(&gone);
            self.fleets.retain(|fleet| !gone.contains(fleet));
            return Some(Next::Unsubscribe(self.filters(&Part::Fleets(gone))));
        }
        let is_known = |fleet: &Namespace| {
            self.fleets.contains(fleet) || self.denied.contains(fleet) || self.late.has(fleet)
        };
        let missing = wanted.iter().filter(|fleet| !is_known(fleet));
        let missing: Vec<Namespace> = missing.take(AT_ONCE_MAX).cloned().collect();
        if missing.is_empty() {
            return None;
        }
        let part = Part::Fleets(missing);
        let filters = self.filters(&part);
        self.step = Step::Asked(part);
        Some(Next::Subscribe(filters))
    }

    /// A subscription or a marker could not be sent: the subscription will be asked for again.
    pub fn not_sent(&mut self) {
        self.step = Step::Idle;
    }

    /// The broker has answered, `true` for each filter that it confirmed. Returns the marker to send, if any, and the
    /// filters that it refused.
    pub fn answered(&mut self, confirmed: &[bool], now: Instant) -> (Option<u64>, Vec<String>) {
        let Step::Asked(part) = std::mem::replace(&mut self.step, Step::Idle) else {
            return (None, Vec::new());
        };
        let filters = self.filters(&part);
        // An answer that is too short confirms nothing of the rest.
        let is_refused = |i: usize| !confirmed.get(i).copied().unwrap_or(false);
        let refused: Vec<String> =
            filters.iter().enumerate().filter(|(i, _)| is_refused(*i)).map(|(_, f)| f.clone()).collect();
        if !refused.is_empty() {
            self.denied_at = Some(now);
        }
        let good = match part {
            Part::Plans if refused.is_empty() => Part::Plans,
            Part::Plans => return (None, refused),
            Part::Fleets(fleets) => {
                let (bad, good): (Vec<Namespace>, Vec<Namespace>) = fleets
                    .into_iter()
                    .partition(|fleet| controller_filters(fleet).iter().any(|f| refused.contains(f)));
                self.denied.extend(bad);
                if good.is_empty() {
                    return (None, refused);
                }
                Part::Fleets(good)
            }
        };
        self.markers += 1;
        self.step = Step::Marked(good, self.markers);
        (Some(self.markers), refused)
    }

    /// A marker has come back; returns whether it is the one that was sent last. One of an earlier connection says nothing.
    pub fn marked(&mut self, marker: &[u8], now: Instant) -> bool {
        let number = std::str::from_utf8(marker).ok().and_then(|text| text.parse::<u64>().ok());
        match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Marked(part, sent) if Some(sent) == number => {
                self.step = Step::Quiet { part, since: now, asked: false };
                true
            }
            other => {
                self.step = other;
                false
            }
        }
    }

    /// A message has come that was retained before we subscribed: more may follow.
    pub fn retained(&mut self, now: Instant) {
        if let Step::Quiet { since, asked, .. } = &mut self.step {
            (*since, *asked) = (now, false);
        }
    }

    /// A message of this fleet has come that was retained before we subscribed. True when the fleet counted as heard to its end:
    /// it does no longer, until no such message has come for a while. How long that is doubles each time.
    pub fn late(&mut self, fleet: &Namespace, now: Instant) -> bool {
        if self.late.goes_on(fleet, now) || !self.fleets.remove(fleet) {
            return false;
        }
        self.late.begin(fleet.clone(), QUIET, now);
        true
    }

    /// When to send a message to ourselves, after which [`Subscriptions::quiet`] is asked; none: no such message is wanted,
    /// or one is on its way.
    #[must_use]
    pub fn quiet_at(&self) -> Option<Instant> {
        let step = match &self.step {
            Step::Quiet { since, asked: false, .. } => Some(*since + QUIET),
            _ => None,
        };
        step.into_iter().chain(self.late.quiet_at()).min()
    }

    /// That message has been sent.
    pub fn ask_quiet(&mut self) {
        if let Step::Quiet { asked, .. } = &mut self.step {
            *asked = true;
        }
        self.late.ask();
    }

    /// What has been heard to its end by now: the marker is back, and it was quiet for [`QUIET`].
    pub fn quiet(&mut self, now: Instant) -> Option<Heard> {
        match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Quiet { part, since, .. } if now >= since + QUIET => match part {
                Part::Plans => {
                    self.plans = true;
                    Some(Heard::Plans)
                }
                Part::Fleets(fleets) => {
                    self.fleets.extend(fleets.iter().cloned());
                    Some(Heard::Fleets(fleets))
                }
            },
            mut other => {
                // The message that came back was sent for a late fleet, or too early: another one is wanted.
                if let Step::Quiet { asked, .. } = &mut other {
                    *asked = false;
                }
                self.step = other;
                let again = self.late.heard(now);
                self.fleets.extend(again.iter().cloned());
                (!again.is_empty()).then_some(Heard::Fleets(again))
            }
        }
    }

    /// Whether all that is wanted has been heard to its end.
    #[must_use]
    pub fn is_complete(&self, wanted: &BTreeSet<Namespace>) -> bool {
        self.plans && wanted.is_subset(&self.fleets)
    }

    fn filters(&self, part: &Part) -> Vec<String> {
        match part {
            Part::Plans => {
                let trust = self.trust.then(|| format!("{ROOT}/+/trust"));
                [self.sync_topic.clone()]
                    .into_iter()
                    .chain(trust)
                    .chain([format!("{ROOT}/+/plan/+")])
                    .collect()
            }
            Part::Fleets(fleets) => fleets.iter().flat_map(controller_filters).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
