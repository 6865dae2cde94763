//! Devices whose clocks are wrong, by the states that they send. A wrong clock harms no rollout: the device starts nothing by
//! plans that have ended by it, and a person should set it.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::time::Time;

/// A clock that differs by less counts as right: messages take their time.
pub const TOLERANCE_MS: u64 = 10 * 60_000;
/// Most devices that are named in a sentence.
const NAMED_MAX: usize = 3;

/// By how much a clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offset {
    /// It is so many milliseconds ahead.
    Ahead(u64),
    /// It is so many milliseconds behind.
    Behind(u64),
}

impl Offset {
    /// Of a clock that says `told` in a message that arrives at `now`; `None`: it is right.
    #[must_use]
    pub fn of(told: Time, now: Time) -> Option<Offset> {
        let (ahead, behind) = (told.since_ms(now), now.since_ms(told));
        if ahead > TOLERANCE_MS {
            return Some(Offset::Ahead(ahead));
        }
        (behind > TOLERANCE_MS).then_some(Offset::Behind(behind))
    }
}

/// The devices of one shard whose clocks are wrong. As bounded as the fleet: every one of them has its place in it.
#[derive(Clone, Debug, Default)]
pub struct Clocks(BTreeMap<DeviceId, Offset>);

/// How many clocks are wrong, and some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrongClocks {
    /// How many.
    pub count: u64,
    /// The first by id.
    pub named: Vec<(DeviceId, Offset)>,
}

impl Clocks {
    /// Notes the clock of a device.
    pub fn note(&mut self, device: &DeviceId, offset: Option<Offset>) {
        match offset {
            Some(offset) => drop(self.0.insert(device.clone(), offset)),
            None => self.forget(device),
        }
    }

    /// The device is gone.
    pub fn forget(&mut self, device: &DeviceId) {
        self.0.remove(device);
    }

    /// By how much its clock was wrong; `None`: it was right.
    #[must_use]
    pub fn offset(&self, device: &DeviceId) -> Option<Offset> {
        self.0.get(device).copied()
    }

    /// Whether its clock was wrong.
    #[must_use]
    pub fn has(&self, device: &DeviceId) -> bool {
        // Asked with every state: as a rule no clock is wrong.
        !self.0.is_empty() && self.0.contains_key(device)
    }
}

impl WrongClocks {
    /// Those of all shards.
    pub(crate) fn of<'a>(shards: impl Iterator<Item = &'a Clocks>) -> WrongClocks {
        let (mut count, mut named) = (0, Vec::new());
        for Clocks(shard) in shards.filter(|shard| !shard.0.is_empty()) {
            count += shard.len() as u64;
            named.extend(shard.iter().take(NAMED_MAX));
        }
        named.sort();
        let named = named.into_iter().take(NAMED_MAX).map(|(id, offset)| (id.clone(), *offset)).collect();
        WrongClocks { count, named }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_800_000_000_000);

    #[test]
    fn a_clock_within_ten_minutes_is_right() {
        let of = |told: u64| Offset::of(Time(told), NOW);
        assert_eq!(of(NOW.0 + TOLERANCE_MS), None);
        assert_eq!(of(NOW.0 - TOLERANCE_MS), None);
        assert_eq!(of(NOW.0 + TOLERANCE_MS + 1), Some(Offset::Ahead(TOLERANCE_MS + 1)));
        assert_eq!(of(0), Some(Offset::Behind(NOW.0)));
    }

    #[test]
    fn wrong_clocks_are_counted_and_the_first_named_until_they_are_right() {
        let mut clocks = Clocks::default();
        let device = |n: u32| -> DeviceId { format!("pump-{n}").parse().unwrap() };
        (0..5).for_each(|n| clocks.note(&device(n), Some(Offset::Ahead(u64::from(n)))));
        let wrong = WrongClocks::of([&clocks, &Clocks::default()].into_iter());
        assert_eq!((wrong.count, wrong.named.len()), (5, NAMED_MAX));
        assert_eq!(wrong.named[0], (device(0), Offset::Ahead(0)));
        clocks.note(&device(0), None);
        clocks.forget(&device(1));
        assert!(!clocks.has(&device(0)) && clocks.has(&device(2)));
        assert_eq!(WrongClocks::of([&clocks].into_iter()).count, 3);
    }
}
