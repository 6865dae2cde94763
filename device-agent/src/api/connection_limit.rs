//! How many connections the local API holds at once, what state each is in, and which one is closed when a new one comes
//! and the limit is reached. A connection whose request is being processed stays; one whose client is idle or slow is closed.

mod held_bytes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Largest number of connections, if the process may have enough files open.
const CONNECTIONS_MAX: usize = 128;
/// Smallest number of connections.
const CONNECTIONS_MIN: usize = 8;
/// No connection is closed sooner than this, so that a request that is sent at once is read.
const GRACE: Duration = Duration::from_millis(100);

/// The state of a connection. Connections are closed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    /// No request is under way.
    Idle,
    /// The head of a request is arriving.
    Head,
    /// The head has arrived; the body may be arriving.
    Body,
    /// The answer is being sent.
    Answer,
    /// The whole request has arrived and is being processed.
    Work,
}

impl At {
    /// How long a connection may be in this state. The body and the processing have time limits of their own, which answer
    /// with an error.
    fn limit(self) -> Option<Duration> {
        match self {
            At::Idle => Some(Duration::from_secs(10)),
            At::Head => Some(Duration::from_secs(3)),
            At::Answer => Some(Duration::from_secs(5)),
            At::Body | At::Work => None,
        }
    }

    fn may_be_closed(self) -> bool {
        self != At::Work
    }
}

/// The limit is reached by requests that are being processed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Busy;

#[derive(Debug)]
struct Entry {
    at: At,
    since: Instant,
    /// Number of its request; later requests have higher numbers.
    asked: u64,
    /// Bytes that it holds.
    bytes: usize,
    /// It waits for memory for more bytes.
    wants: bool,
    close: CancellationToken,
}

/// The connections by number.
#[derive(Debug)]
struct Table {
    connections: usize,
    /// The number of the next connection.
    next: u64,
    requests: u64,
    entries: BTreeMap<u64, Entry>,
}

impl Table {
    fn of(connections: usize) -> Table {
        Table { connections, next: 0, requests: 0, entries: BTreeMap::new() }
    }

    /// Largest number of requests that are processed at once. The other connections stay free for health checks.
    fn working_max(&self) -> usize {
        self.connections / 2
    }

    /// ConnectionLimit a newcomer; where all connections are taken, in the place of one that gives way. `Err`: when to try again.
    fn admit(&mut self, now: Instant) -> Result<(u64, CancellationToken), Instant> {
        if self.open().count() >= self.connections {
            self.close_one(now, |_, _| true)?;
        }
        let (number, close) = (self.next, CancellationToken::new());
        self.next += 1;
        self.entries.insert(
            number,
            Entry { at: At::Idle, since: now, asked: 0, bytes: 0, wants: false, close: close.clone() },
        );
        Ok((number, close))
    }

    fn open(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| !entry.close.is_cancelled())
    }

    /// Closes the first of those that `may` be closed. `Err`: when one may be closed.
    fn close_one(&mut self, now: Instant, may: impl Fn(u64, &Entry) -> bool) -> Result<&Entry, Instant> {
        let may = |(number, entry): &(&u64, &Entry)| {
            may(**number, entry) && entry.at.may_be_closed() && !entry.close.is_cancelled()
        };
        let those = || self.entries.iter().filter(may).map(|(_, entry)| entry);
        let waited_for = |entry: &&Entry| entry.since + GRACE <= now;
        match those().filter(waited_for).min_by_key(|entry| (entry.at, entry.since)) {
            Some(entry) => {
                entry.close.cancel();
                Ok(entry)
            }
            None => Err(those().map(|entry| entry.since + GRACE).min().unwrap_or(now + GRACE)),
        }
    }

    fn enter(&mut self, now: Instant, number: u64, at: At) -> Result<(), Busy> {
        let working = self.entries.values().filter(|entry| entry.at == At::Work).count();
        if at == At::Work && working >= self.working_max() {
            return Err(Busy);
        }
        let Some(entry) = self.entries.get_mut(&number).filter(|entry| entry.at != at) else { return Ok(()) };
        (entry.at, entry.since) = (at, now);
        match at {
            At::Idle => entry.bytes = 0,
            At::Body => {
                self.requests += 1;
                entry.asked = self.requests;
            }
            At::Head | At::Answer | At::Work => {}
        }
        Ok(())
    }
}

/// The limit of the local API's connections.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    table: Mutex<Table>,
    /// A connection was closed, or holds fewer bytes.
    freed: Notify,
}

impl ConnectionLimit {
    /// The limit of a process that may have so many files open: a quarter of those are for the API.
    pub(super) fn within(files: Option<u64>) -> ConnectionLimit {
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        let table = Table::of((files / 4).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX));
        ConnectionLimit { table: Mutex::new(table), freed: Notify::new() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit, as soon as there is one.
    pub(super) async fn take(self: &Arc<ConnectionLimit>) -> Arc<ConnectionPermit> {
        loop {
            let freed = self.freed.notified();
            let entries = self.table().admit(Instant::now());
            match entries {
                Ok((number, close)) => return Arc::new(ConnectionPermit { of: self.clone(), number, close }),
                Err(again) => tokio::select! {
                    () = freed => {}
                    () = tokio::time::sleep_until(again) => {}
                },
            }
        }
    }
}

/// The permit of one connection. It is returned on drop.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    of: Arc<ConnectionLimit>,
    number: u64,
    close: CancellationToken,
}

impl ConnectionPermit {
    /// The connection is in this state now.
    pub(super) fn enter(&self, at: At) {
        // Only processing can be refused, and that is requested with `work`.
        let _ = self.of.table().enter(Instant::now(), self.number, at);
        if at == At::Idle {
            self.of.freed.notify_waiters();
        }
    }

    /// Like `enter`, if the connection was in the state `from`.
    pub(super) fn pass(&self, from: At, at: At) {
        if self.at() == Some(from) {
            self.enter(at);
        }
    }

    /// The whole request has arrived and is processed from now on.
    ///
    /// # Errors
    /// If too many others are being processed.
    pub(super) fn work(&self) -> Result<(), Busy> {
        self.of.table().enter(Instant::now(), self.number, At::Work)
    }

    /// When the connection has been in its state for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let table = self.of.table();
        let entry = table.entries.get(&self.number)?;
        entry.at.limit().map(|limit| entry.since + limit)
    }

    /// Waits until the connection must be closed.
    pub(super) async fn told_to_close(&self) {
        self.close.cancelled().await;
    }

    fn at(&self) -> Option<At> {
        self.of.table().entries.get(&self.number).map(|entry| entry.at)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.of.table().entries.remove(&self.number);
        self.of.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEATS: usize = CONNECTIONS_MAX;
    const WORKING_MAX: usize = SEATS / 2;
    const SECOND: Duration = Duration::from_secs(1);

    /// A full table whose connections came one after the other, a second apart, and the moment after the last.
    fn full() -> (Table, Instant) {
        let (mut table, start) = (Table::of(SEATS), Instant::now());
        for n in 0..SEATS {
            table.admit(start + SECOND * u32::try_from(n).unwrap()).unwrap();
        }
        (table, start + SECOND * u32::try_from(SEATS).unwrap())
    }

    fn told_to_close(table: &Table) -> Vec<u64> {
        table.entries.iter().filter(|(_, e)| e.close.is_cancelled()).map(|(n, _)| *n).collect()
    }

    #[test]
    fn who_waits_for_nothing_gives_way_first_and_who_is_worked_for_never() {
        let (mut table, now) = full();
        for (number, at) in [(0, At::Work), (1, At::Answer), (2, At::Body), (3, At::Head)] {
            table.enter(now - SECOND, number, at).unwrap();
        }
        for n in 4..SEATS as u64 {
            table.enter(now - SECOND, n, At::Work).ok();
        }
        // All others are worked for, up to the limit; those beyond stay idle and go first.
        let idle: Vec<u64> =
            table.entries.iter().filter(|(_, e)| e.at == At::Idle).map(|(n, _)| *n).collect();
        assert_eq!(idle.len(), SEATS - WORKING_MAX - 3);
        for _ in 0..idle.len() + 3 {
            table.admit(now).unwrap();
        }
        let mut expected = idle.clone();
        expected.extend([1, 2, 3]);
        expected.sort_unstable();
        assert_eq!(told_to_close(&table), expected, "idle ones first, then head, body, answer");
        assert_eq!(
            table.admit(now),
            Err(now + GRACE),
            "the newcomers have just come, the rest is worked for"
        );
    }

    #[test]
    fn a_process_with_few_files_has_few_seats() {
        let connections = |files| ConnectionLimit::within(files).table().connections;
        assert_eq!(
            [None, Some(u64::MAX), Some(1024), Some(64), Some(0)].map(connections),
            [128, 128, 128, 16, 8]
        );
    }

    #[test]
    fn nobody_is_sent_away_before_it_could_ask() {
        let (mut table, now) = full();
        for entry in table.entries.values_mut() {
            entry.since = now;
        }
        assert_eq!(table.admit(now).map(|_| ()), Err(now + GRACE));
        assert!(table.admit(now + GRACE).is_ok());
        assert_eq!(told_to_close(&table).len(), 1);
    }
}
