//! Memory for requests and answers: how many bytes are held at once, and which request comes first when memory is short.
//!
//! Every connection has some memory of its own, so a small request never waits for others. All connections share the rest.
//! When that is used up, the newest request is next, and connections with idle or slow clients are closed for it: a crowd
//! that waits, or that does not read its answers, is older.

use std::time::Duration;

use tokio::time::Instant;

use super::{Busy, ConnectionPermit, Entry, GRACE, Table};

/// Bytes of requests and of answers that are held at once, over all connections.
const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes that each connection may always hold.
const OWN_BYTES: usize = 64 * 1024;
/// Longest wait for bytes that other connections hold.
const HOLD_LIMIT: Duration = Duration::from_millis(500);

/// How many of these bytes are shared memory.
fn shared(bytes: usize) -> usize {
    bytes.saturating_sub(OWN_BYTES)
}

impl Table {
    /// Size of the shared memory.
    fn shared_max(&self) -> usize {
        HELD_BYTES_MAX.saturating_sub(self.connections.saturating_mul(OWN_BYTES))
    }

    fn others(&self, number: u64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |(other, _)| **other != number).map(|(_, entry)| entry)
    }

    /// Lets a connection hold so many bytes, instead of those that it held. `Err`: when to try again.
    /// If its request is the newest that waits, connections with idle or slow clients are closed.
    fn hold(&mut self, now: Instant, number: u64, bytes: usize) -> Result<(), Instant> {
        let Some(own) = self.entries.get_mut(&number) else { return Ok(()) };
        own.wants = true;
        let (asked, more) = (own.asked, bytes > own.bytes.max(OWN_BYTES));
        let newer = |other: &Entry| other.wants && other.asked > asked && !other.close.is_cancelled();
        let is_next = !self.others(number).any(newer);
        let held: usize = self.others(number).map(|other| shared(other.bytes)).sum();
        let lacking = held.saturating_add(shared(bytes)).saturating_sub(self.shared_max());
        if more && (lacking > 0 || !is_next) {
            return Err(if is_next { self.make_room(now, number, lacking) } else { now + HOLD_LIMIT });
        }
        if let Some(own) = self.entries.get_mut(&number) {
            (own.bytes, own.wants) = (bytes, false);
        }
        Ok(())
    }

    /// Closes connections that hold so many bytes together. Returns when to try again.
    fn make_room(&mut self, now: Instant, number: u64, lacking: usize) -> Instant {
        let leaves = |entry: &&Entry| entry.close.is_cancelled();
        let mut leaving: usize = self.others(number).filter(leaves).map(|other| shared(other.bytes)).sum();
        while leaving < lacking {
            let holds = |other: u64, entry: &Entry| other != number && shared(entry.bytes) > 0;
            match self.close_one(now, holds) {
                Ok(entry) => leaving += shared(entry.bytes),
                Err(again) => return again,
            }
        }
        now + GRACE
    }
}

impl ConnectionPermit {
    /// Holds so many bytes, instead of those that it held. Waits a moment if others hold too many.
    ///
    /// # Errors
    /// If the others do not release enough.
    pub(in crate::api) async fn hold(&self, bytes: usize) -> Result<(), Busy> {
        let until = Instant::now() + HOLD_LIMIT;
        let waiting = Waiting(self);
        loop {
            let freed = self.of.freed.notified();
            let held = self.of.table().hold(Instant::now(), self.number, bytes);
            let Err(again) = held else { break };
            if Instant::now() >= until {
                return Err(Busy);
            }
            tokio::select! {
                () = freed => {}
                () = tokio::time::sleep_until(again.min(until)) => {}
            }
        }
        drop(waiting);
        Ok(())
    }
}

/// A connection that may be waiting for memory. When it is dropped, the next one may get some.
struct Waiting<'a>(&'a ConnectionPermit);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.0.of.table().entries.get_mut(&self.0.number) {
            entry.wants = false;
        }
        self.0.of.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{At, CONNECTIONS_MAX};
    use super::*;

    fn shared_max() -> usize {
        Table::of(CONNECTIONS_MAX).shared_max()
    }

    /// Connections whose requests came one after the other, and the moment from which they may be sent away.
    fn asking<const N: usize>() -> (Table, [u64; N], Instant) {
        let (mut table, start) = (Table::of(CONNECTIONS_MAX), Instant::now());
        let numbers = [(); N].map(|()| table.admit(start).unwrap().0);
        for number in numbers {
            table.enter(start, number, At::Body).unwrap();
        }
        (table, numbers, start + GRACE)
    }

    fn told_to_close(table: &Table) -> Vec<u64> {
        table.entries.iter().filter(|(_, e)| e.close.is_cancelled()).map(|(n, _)| *n).collect()
    }

    fn held(table: &Table) -> usize {
        table.entries.values().map(|entry| entry.bytes).sum()
    }

    #[test]
    fn held_bytes_are_bounded_and_whoever_keeps_the_agent_waiting_lets_go() {
        let (mut table, [slow, working, new], later) = asking();
        table.enter(later, working, At::Work).unwrap();
        let half = shared_max() / 2 + OWN_BYTES;
        table.hold(later, slow, half).unwrap();
        table.hold(later, working, half).unwrap();
        table.hold(later, working, half).unwrap();
        assert!(table.hold(later, new, half).is_err());
        assert_eq!(told_to_close(&table), [slow], "and nobody who is worked for");
        assert!(table.hold(later, new, half).is_err(), "until it has left");
        assert_eq!(told_to_close(&table), [slow], "no more than is needed");
        table.entries.remove(&slow);
        table.hold(later, new, half).unwrap();
        assert!(table.hold(later, new, half + 1).is_err());
        table.enter(later, working, At::Idle).unwrap();
        table.hold(later, new, 2 * half - OWN_BYTES).unwrap();
        assert!(held(&table) <= HELD_BYTES_MAX);
    }

    #[test]
    fn whoever_asks_for_little_waits_for_nobody() {
        let (mut table, [greedy, waiting, small], start) = asking();
        table.enter(start, greedy, At::Work).unwrap();
        table.hold(start, greedy, shared_max() + OWN_BYTES).unwrap();
        assert!(table.hold(start, waiting, OWN_BYTES + 1).is_err());
        assert_eq!(table.hold(start, small, OWN_BYTES), Ok(()));
        assert!(told_to_close(&table).is_empty());
        assert!(CONNECTIONS_MAX * OWN_BYTES + shared_max() <= HELD_BYTES_MAX);
    }

    #[test]
    fn the_newest_request_is_the_next_and_makes_as_much_room_as_it_needs() {
        let (mut table, [one, two, three, crowd, new], later) = asking();
        let third = shared_max() / 3 + OWN_BYTES;
        for (number, n) in [(one, 1), (two, 2), (three, 3)] {
            table.hold(later, number, third).unwrap();
            table.enter(later - GRACE * (4 - n), number, At::Answer).unwrap();
        }
        assert!(table.hold(later, new, 2 * third).is_err());
        assert_eq!(told_to_close(&table), [one, two, three], "two thirds and its own room twice");
        assert!(table.hold(later, crowd, third).is_err());
        for number in [one, two, three] {
            table.entries.remove(&number);
        }
        assert!(table.hold(later, crowd, third).is_err(), "there is room, and a newer request waits for it");
        table.hold(later, new, 2 * third).unwrap();
        assert!(table.hold(later, crowd, third - 2 * OWN_BYTES).is_ok(), "what is left goes to the next");
    }

    #[test]
    fn an_answer_that_takes_less_than_its_request_waits_for_nobody() {
        let (mut table, [one, new], later) = asking();
        table.hold(later, one, shared_max() + OWN_BYTES).unwrap();
        assert!(table.hold(later, new, OWN_BYTES + 1).is_err());
        assert_eq!(table.hold(later, one, 2 * OWN_BYTES), Ok(()), "though a newer request waits");
    }
}
