//! Seats: how many connections the local API holds at once, what each of them is at, and who leaves when a new one
//! comes and all seats are taken. Whoever is being answered stays; whoever keeps the agent waiting gives way.

mod room;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections at once, where the process may have as many files open.
const SEATS_MAX: usize = 128;
/// At least.
const SEATS_MIN: usize = 8;
/// Nobody is sent away sooner than this: a request that was sent at once is read first.
const GRACE: Duration = Duration::from_millis(100);

/// What a connection is at. The order is that in which they give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    /// Nothing was asked (any more).
    Idle,
    /// A request's head has begun to arrive.
    Head,
    /// The head is there, its body may be on its way.
    Body,
    /// The answer is on its way out.
    Answer,
    /// The whole request is there and is worked on.
    Work,
}

impl At {
    /// How long a connection may be at it. The body is timed by whoever reads it, so that it can say so; the work
    /// by whoever does it.
    fn limit(self) -> Option<Duration> {
        match self {
            At::Idle => Some(Duration::from_secs(10)),
            At::Head => Some(Duration::from_secs(3)),
            At::Answer => Some(Duration::from_secs(5)),
            At::Body | At::Work => None,
        }
    }

    fn gives_way(self) -> bool {
        self != At::Work
    }
}

/// All that is taken is held by requests that are under way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Busy;

#[derive(Debug)]
struct Entry {
    at: At,
    since: Instant,
    /// The later its request came, the higher.
    asked: u64,
    /// Bytes that it holds.
    bytes: usize,
    /// It waits for room for more.
    wants: bool,
    leave: CancellationToken,
}

/// The connections by number, and who of them leaves.
#[derive(Debug)]
struct Table {
    seats: usize,
    /// The number of the next connection.
    next: u64,
    requests: u64,
    seated: BTreeMap<u64, Entry>,
}

impl Table {
    fn of(seats: usize) -> Table {
        Table { seats, next: 0, requests: 0, seated: BTreeMap::new() }
    }

    /// Requests that are worked on at once. With all of them taken there are seats left for those that ask how the
    /// agent is.
    fn working_max(&self) -> usize {
        self.seats / 2
    }

    /// Seats a newcomer; where all seats are taken, in the place of one that gives way. `Err`: when to try again.
    fn seat(&mut self, now: Instant) -> Result<(u64, CancellationToken), Instant> {
        if self.staying().count() >= self.seats {
            self.send_away(now, |_, _| true)?;
        }
        let (number, leave) = (self.next, CancellationToken::new());
        self.next += 1;
        self.seated.insert(
            number,
            Entry { at: At::Idle, since: now, asked: 0, bytes: 0, wants: false, leave: leave.clone() },
        );
        Ok((number, leave))
    }

    fn staying(&self) -> impl Iterator<Item = &Entry> {
        self.seated.values().filter(|entry| !entry.leave.is_cancelled())
    }

    /// Sends away the one that gives way first of those that `may`. `Err`: when somebody may give way.
    fn send_away(&mut self, now: Instant, may: impl Fn(u64, &Entry) -> bool) -> Result<&Entry, Instant> {
        let may = |(number, entry): &(&u64, &Entry)| {
            may(**number, entry) && entry.at.gives_way() && !entry.leave.is_cancelled()
        };
        let those = || self.seated.iter().filter(may).map(|(_, entry)| entry);
        let waited_for = |entry: &&Entry| entry.since + GRACE <= now;
        match those().filter(waited_for).min_by_key(|entry| (entry.at, entry.since)) {
            Some(entry) => {
                entry.leave.cancel();
                Ok(entry)
            }
            None => Err(those().map(|entry| entry.since + GRACE).min().unwrap_or(now + GRACE)),
        }
    }

    fn enter(&mut self, now: Instant, number: u64, at: At) -> Result<(), Busy> {
        let working = self.seated.values().filter(|entry| entry.at == At::Work).count();
        if at == At::Work && working >= self.working_max() {
            return Err(Busy);
        }
        let Some(entry) = self.seated.get_mut(&number).filter(|entry| entry.at != at) else { return Ok(()) };
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

/// The seats of the local API.
#[derive(Debug)]
pub(super) struct Seats {
    table: Mutex<Table>,
    /// Somebody has left, or holds less.
    freed: Notify,
}

impl Seats {
    /// As many as a process can have that may have so many files open; a quarter of those are for the API.
    pub(super) fn within(files: Option<u64>) -> Seats {
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        let table = Table::of((files / 4).clamp(SEATS_MIN, SEATS_MAX));
        Seats { table: Mutex::new(table), freed: Notify::new() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat, as soon as somebody gives way.
    pub(super) async fn take(self: &Arc<Seats>) -> Arc<Seat> {
        loop {
            let freed = self.freed.notified();
            let seated = self.table().seat(Instant::now());
            match seated {
                Ok((number, leave)) => return Arc::new(Seat { of: self.clone(), number, leave }),
                Err(again) => tokio::select! {
                    () = freed => {}
                    () = tokio::time::sleep_until(again) => {}
                },
            }
        }
    }
}

/// The seat of one connection; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    of: Arc<Seats>,
    number: u64,
    leave: CancellationToken,
}

impl Seat {
    /// The connection is at this now, unless it was already.
    pub(super) fn enter(&self, at: At) {
        // Only work is refused, and that is asked for with `work`.
        let _ = self.of.table().enter(Instant::now(), self.number, at);
        if at == At::Idle {
            self.of.freed.notify_waiters();
        }
    }

    /// As `enter`, if the connection was at `from`.
    pub(super) fn pass(&self, from: At, at: At) {
        if self.at() == Some(from) {
            self.enter(at);
        }
    }

    /// The request is there and is worked on from now on.
    ///
    /// # Errors
    /// When too many others are.
    pub(super) fn work(&self) -> Result<(), Busy> {
        self.of.table().enter(Instant::now(), self.number, At::Work)
    }

    /// When what the connection is at has taken too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let table = self.of.table();
        let entry = table.seated.get(&self.number)?;
        entry.at.limit().map(|limit| entry.since + limit)
    }

    /// Waits until the connection has to give way.
    pub(super) async fn sent_away(&self) {
        self.leave.cancelled().await;
    }

    fn at(&self) -> Option<At> {
        self.of.table().seated.get(&self.number).map(|entry| entry.at)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.of.table().seated.remove(&self.number);
        self.of.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEATS: usize = SEATS_MAX;
    const WORKING_MAX: usize = SEATS / 2;
    const SECOND: Duration = Duration::from_secs(1);

    /// A full table whose connections came one after the other, a second apart, and the moment after the last.
    fn full() -> (Table, Instant) {
        let (mut table, start) = (Table::of(SEATS), Instant::now());
        for n in 0..SEATS {
            table.seat(start + SECOND * u32::try_from(n).unwrap()).unwrap();
        }
        (table, start + SECOND * u32::try_from(SEATS).unwrap())
    }

    fn sent_away(table: &Table) -> Vec<u64> {
        table.seated.iter().filter(|(_, e)| e.leave.is_cancelled()).map(|(n, _)| *n).collect()
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
        // Everybody else is worked for, as far as that is allowed; those beyond stay idle and go first.
        let idle: Vec<u64> = table.seated.iter().filter(|(_, e)| e.at == At::Idle).map(|(n, _)| *n).collect();
        assert_eq!(idle.len(), SEATS - WORKING_MAX - 3);
        for _ in 0..idle.len() + 3 {
            table.seat(now).unwrap();
        }
        let mut expected = idle.clone();
        expected.extend([1, 2, 3]);
        expected.sort_unstable();
        assert_eq!(sent_away(&table), expected, "idle ones first, then head, body, answer");
        assert_eq!(table.seat(now), Err(now + GRACE), "the newcomers have just come, the rest is worked for");
    }

    #[test]
    fn a_process_with_few_files_has_few_seats() {
        let seats = |files| Seats::within(files).table().seats;
        assert_eq!([None, Some(u64::MAX), Some(1024), Some(64), Some(0)].map(seats), [128, 128, 128, 16, 8]);
    }

    #[test]
    fn nobody_is_sent_away_before_it_could_ask() {
        let (mut table, now) = full();
        for entry in table.seated.values_mut() {
            entry.since = now;
        }
        assert_eq!(table.seat(now).map(|_| ()), Err(now + GRACE));
        assert!(table.seat(now + GRACE).is_ok());
        assert_eq!(sent_away(&table).len(), 1);
    }
}
