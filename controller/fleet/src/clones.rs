//! Two devices with one id, such as from one disk image: they throw each other off the broker, and what they say is mixed.
//!
//! Each start of an agent draws a number and tells it when it connects. A device that restarts never connects under the number
//! before again; two devices connect under theirs by turns. What was said of an earlier connection says nothing when it comes once
//! more, as from a broker that went back in time: each start counts its connects upward.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::time::Time;
use smallvec::SmallVec;

/// Devices of a shard whose starts are remembered; further ones take the place of those that were heard longest ago.
const DEVICES_MAX: usize = 256;
/// Starts that are remembered of a device.
const STARTS_MAX: usize = 4;
/// So many times an earlier start must have come back. Once could be chance.
const RETURNS_MIN: u32 = 2;
/// Without a return for so long, there is one device again.
const OVER_AFTER_MS: u64 = 3_600_000;

/// What is told of devices that are two.
pub(crate) const TOLD: &str = "two devices use this id by turns; give one of them an id and a folder of its own, then restart the other";

/// The starts of devices that have started anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clones(BTreeMap<DeviceId, Starts>);

/// One start of an agent: its number, and its last connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    number: u32,
    connection: u64,
}

impl From<Presence> for Start {
    fn from(presence: Presence) -> Start {
        Start { number: presence.instance, connection: presence.connection }
    }
}

/// The starts of one device, the newest last.
#[derive(Clone, Debug)]
struct Starts {
    recent: SmallVec<[Start; STARTS_MAX]>,
    returns: u32,
    returned: Time,
    heard: Time,
}

impl Clones {
    /// Notes which start has connected now; `before`: the one that was known. Number 0 is none.
    pub(crate) fn note(&mut self, device: &DeviceId, before: Option<Start>, start: Start, now: Time) {
        if start.number == 0 {
            return;
        }
        if let Some(starts) = self.0.get_mut(device) {
            starts.note(start, now);
        } else if let Some(before) = before.filter(|before| ![0, start.number].contains(&before.number)) {
            self.make_room();
            let recent = [before, start].into_iter().collect();
            self.0.insert(device.clone(), Starts { recent, returns: 0, returned: Time::ZERO, heard: now });
        }
    }

    /// Whether starts of this device are remembered.
    pub(crate) fn remembers(&self, device: &DeviceId) -> bool {
        !self.0.is_empty() && self.0.contains_key(device)
    }

    /// Whether there are two devices with this id.
    pub(crate) fn has(&self, device: &DeviceId, now: Time) -> bool {
        let starts = if self.0.is_empty() { None } else { self.0.get(device) };
        starts.is_some_and(|starts| starts.returns >= RETURNS_MIN && !is_over(starts.returned, now))
    }

    pub(crate) fn forget(&mut self, device: &DeviceId) {
        self.0.remove(device);
    }

    fn make_room(&mut self) {
        if self.0.len() < DEVICES_MAX {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, starts)| starts.heard).map(|(device, _)| device.clone());
        if let Some(oldest) = oldest {
            self.0.remove(&oldest);
        }
    }
}

/// Whether the last return is long ago, or was noted while our clock was ahead by as much.
fn is_over(returned: Time, now: Time) -> bool {
    now.since_ms(returned).max(returned.since_ms(now)) >= OVER_AFTER_MS
}

impl Starts {
    fn note(&mut self, start: Start, now: Time) {
        self.heard = now;
        let at = self.recent.iter().position(|known| known.number == start.number);
        let last = at.map(|at| self.recent[at].connection);
        if last.is_some_and(|last| start.connection <= last) {
            return;
        }
        if let Some(at) = at.filter(|at| at + 1 == self.recent.len()) {
            self.recent[at] = start;
            return;
        }
        match at {
            Some(at) => {
                let over = is_over(self.returned, now);
                self.returns = if over { 1 } else { self.returns.saturating_add(1) };
                self.returned = now;
                self.recent.remove(at);
            }
            None if self.recent.len() >= STARTS_MAX => {
                self.recent.remove(0);
            }
            None => {}
        }
        self.recent.push(start);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use modelfleet_protocol::topic::Channel;
    use serde_json::json;

    use super::*;
    use crate::managed::Source;
    use crate::{FleetIndex, Room};

    const MINUTE: u64 = 60_000;
    const HOUR: Time = Time(100 * OVER_AFTER_MS);

    struct Plant {
        index: FleetIndex,
        now: Time,
        messages: u64,
    }

    impl Plant {
        fn new() -> Plant {
            let mut index = FleetIndex::new("plant".parse().unwrap(), Arc::new(Room::new(1_000)), 1_000);
            index.note(&"m".parse().unwrap(), Source::Plan);
            Plant { index, now: HOUR, messages: 0 }
        }

        /// An agent connects: the last will of the one that it throws off, its presence, its state.
        fn connects(&mut self, device: &str, start: u32, connection: u64, thrown: Option<u32>) {
            self.now = self.now.after_ms(MINUTE);
            self.messages += 1;
            let since = self.now;
            let presence = |online, instance| Presence { online, since, connection, instance };
            let id: DeviceId = device.parse().unwrap();
            let gone = thrown.map(|instance| presence(false, instance));
            for presence in gone.into_iter().chain([presence(true, start)]) {
                let payload = serde_json::to_vec(&presence).unwrap();
                self.index.fold(&Channel::Presence(id.clone()), &payload, false, self.now);
            }
            self.state(device);
        }

        fn state(&mut self, device: &str) {
            self.messages += 1;
            let state = json!({"device": device, "sequence": self.messages, "at": self.now.0, "agent": "t"});
            let channel = Channel::State(device.parse().unwrap());
            self.index.fold(&channel, state.to_string().as_bytes(), false, self.now);
        }

        fn counted(&self) -> usize {
            self.index.fleet().labelled().count()
        }
    }

    #[test]
    fn two_devices_with_one_id_are_named_and_in_no_rollout_until_they_are_one() {
        let mut plant = Plant::new();
        plant.connects("other", 9, 1, None);
        // Both count their connections from the copied disk on.
        for (turn, start) in [7, 8, 7, 8].into_iter().enumerate() {
            plant.connects("pump", start, 5 + turn as u64 / 2, (turn > 0).then_some(15 - start));
            assert_eq!(plant.counted(), if turn < 3 { 2 } else { 1 }, "turn {turn}");
        }
        let omitted = plant.index.fleet().omitted();
        assert_eq!((omitted.count, omitted.named[0].0.as_str()), (1, "pump"));
        assert!(omitted.named[0].1.contains("two devices use this id"), "{omitted:?}");
        plant.state("pump");
        assert_eq!(plant.counted(), 1, "a state of either says nothing");
        // One of them is gone.
        plant.now = plant.now.after_ms(OVER_AFTER_MS);
        plant.state("pump");
        assert_eq!((plant.counted(), plant.index.fleet().omitted().count), (2, 0));
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_set_right_leaves_no_device_out() {
        let mut plant = Plant::new();
        for (turn, start) in [7, 8, 7, 8].into_iter().enumerate() {
            plant.connects("pump", start, 5 + turn as u64 / 2, None);
        }
        assert_eq!(plant.index.fleet().omitted().count, 1);
        plant.now = Time(HOUR.0 / 2);
        plant.state("pump");
        assert_eq!((plant.counted(), plant.index.fleet().omitted().count), (1, 0));
    }

    #[test]
    fn two_devices_are_found_where_no_last_will_comes() {
        let mut plant = Plant::new();
        for (turn, start) in [7, 8, 7, 8, 7].into_iter().enumerate() {
            plant.connects("pump", start, 5 + turn as u64 / 2, None);
        }
        assert_eq!((plant.counted(), plant.index.fleet().omitted().count), (0, 1));
    }

    /// A broker that comes back with what it had some time ago says once more what was said before a restart.
    #[test]
    fn a_broker_that_goes_back_in_time_makes_no_second_device() {
        let mut plant = Plant::new();
        plant.connects("pump", 7, 5, None);
        plant.connects("pump", 8, 6, None);
        for turn in 1..5 {
            plant.connects("pump", 7, 5, None);
            plant.connects("pump", 8, 6 + turn, None);
            assert_eq!((plant.counted(), plant.index.fleet().omitted().count), (1, 0), "turn {turn}");
        }
    }

    #[test]
    fn a_device_that_restarts_and_reconnects_as_often_as_it_likes_is_one() {
        let mut plant = Plant::new();
        for start in 1..200 {
            for turn in 0..3 {
                plant.connects("pump", start, u64::from(start * 3 + turn), Some(start));
                assert_eq!(plant.counted(), 1, "start {start}");
            }
        }
        // An older agent tells no start.
        for turn in 0..5 {
            plant.connects("old", 0, turn, None);
        }
        assert_eq!(plant.counted(), 2);
    }

    #[test]
    fn three_devices_in_turn_are_found_too_and_what_is_remembered_is_bounded() {
        let mut clones = Clones::default();
        let id = |i: usize| -> DeviceId { format!("d-{i}").parse().unwrap() };
        let start = |number, connection| Start { number, connection };
        for (connection, number) in [2, 3, 1, 2, 3].into_iter().enumerate() {
            clones.note(&id(0), Some(start(1, 0)), start(number, connection as u64 + 1), HOUR);
        }
        assert!(clones.has(&id(0), HOUR));
        for i in 1..2 * DEVICES_MAX {
            clones.note(&id(i), Some(start(1, 0)), start(2, 1), HOUR.after_ms(i as u64));
        }
        assert_eq!(clones.0.len(), DEVICES_MAX);
    }
}
