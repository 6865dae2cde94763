//! A fleet that looks smaller than it was: the broker has lost retained messages, holds some of them back, or sends only a
//! part of them to a wildcard subscription. None of that can be told from devices that are gone for good, so it is waited for,
//! for a limited time.
//!
//! What was known before is a count in a rollout's status, which survives the controller and the broker. While a controller runs
//! it forgets no device by itself, so the question comes up after a start only; the limit runs from then on.

use modelfleet_protocol::time::Time;

/// How long missing devices are waited for, after all that the broker retained seemed to be there, milliseconds. Devices send
/// their state again when they connect to a broker that has lost it.
pub const WAIT_MS: u64 = 3_600_000;
/// A fleet is far smaller when more than this share of it is missing: one tenth.
const MISSING_SHARE: u64 = 10;
/// Fewer missing devices than this are no sign of a broker that lost something.
const MISSING_MIN: u64 = 2;

/// A fleet of which many devices are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Devices that were known before.
    pub known: u64,
    /// Devices that are known now.
    pub seen: u64,
    /// With so many the fleet counts as whole.
    pub enough: u64,
    /// From then on the fleet counts as it is.
    pub until: Time,
}

/// What is known of the size of a fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Devices that were known when the fleet was last seen as a whole; `None`: it never was.
    pub known: Option<u64>,
    /// Devices that were removed since the controller connected, by clearing their state: these are not waited for.
    pub removed: u64,
    /// A person has said that a fleet of so many devices is whole.
    pub accepted: Option<u64>,
    /// Devices that are known now.
    pub seen: u64,
    /// Since when all that devices retained seems to be there; `None`: not yet.
    pub complete_since: Option<Time>,
}

impl Census {
    /// Whether devices are missing that are to be waited for.
    #[must_use]
    pub fn missing(&self, now: Time) -> Option<Missing> {
        let (known, since) = (self.known?.saturating_sub(self.removed), self.complete_since?);
        let missing = known.saturating_sub(self.seen);
        let is_far_smaller = missing >= MISSING_MIN && missing > known / MISSING_SHARE;
        let is_accepted = self.accepted.is_some_and(|accepted| self.seen >= accepted);
        // A clock that was set back by more than the wait does not make it longer.
        let is_over = now.since_ms(since) >= WAIT_MS || since.since_ms(now) >= WAIT_MS;
        let enough = known.saturating_sub((known / MISSING_SHARE).max(MISSING_MIN - 1));
        let until = since.after_ms(WAIT_MS);
        (is_far_smaller && !is_accepted && !is_over).then_some(Missing {
            known,
            seen: self.seen,
            enough,
            until,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000_000);

    fn of(known: u64, seen: u64) -> Census {
        Census { known: Some(known), removed: 0, accepted: None, seen, complete_since: Some(NOW) }
    }

    #[test]
    fn a_fleet_of_a_few_devices_is_never_waited_for() {
        assert!((0..MISSING_MIN).all(|known| !waits(of(known, 0))));
    }

    fn waits(census: Census) -> bool {
        census.missing(NOW).is_some()
    }

    #[test]
    fn a_tenth_may_be_missing_and_one_device_always() {
        for (known, seen, expected) in [
            (0, 0, false),
            (1, 0, false),
            (2, 0, true),
            (5, 4, false),
            (5, 3, true),
            (20, 18, false),
            (20, 17, true),
            (5_000, 4_500, false),
            (5_000, 4_499, true),
            (5_000, 2_000, true),
            (5_000, 0, true),
            (5_000, 9_000, false),
        ] {
            assert_eq!(waits(of(known, seen)), expected, "{seen} of {known}");
            if let Some(missing) = of(known, seen).missing(NOW) {
                assert!(
                    !waits(of(known, missing.enough)) && waits(of(known, missing.enough - 1)),
                    "{missing:?}"
                );
            }
        }
    }

    #[test]
    fn a_fleet_that_was_never_whole_or_is_not_heard_yet_misses_none() {
        assert!(!waits(Census { known: None, ..of(0, 0) }));
        assert!(!waits(Census { complete_since: None, ..of(5_000, 0) }));
    }

    #[test]
    fn a_person_accepts_the_fleet_as_it_is_and_not_a_smaller_one() {
        let accepted = |seen| Census { accepted: Some(2_000), ..of(5_000, seen) };
        assert!(!waits(accepted(2_000)) && waits(accepted(1_999)));
    }

    #[test]
    fn devices_that_are_removed_meanwhile_are_not_waited_for() {
        assert!(waits(of(10, 5)) && !waits(Census { removed: 5, ..of(10, 5) }));
        assert!(!waits(Census { removed: u64::MAX, ..of(10, 5) }));
    }

    #[test]
    fn the_wait_ends_and_a_clock_that_is_set_back_makes_it_no_longer() {
        let census = of(5_000, 2_000);
        assert_eq!(census.missing(NOW).unwrap().until, NOW.after_ms(WAIT_MS));
        assert!(census.missing(NOW.after_ms(WAIT_MS - 1)).is_some());
        assert!(census.missing(NOW.after_ms(WAIT_MS)).is_none());
        assert!(census.missing(Time(NOW.0 - WAIT_MS)).is_none());
    }
}
