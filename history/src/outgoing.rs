//! Rows that are sent once, in the order of their time.
//!
//! A store of time series takes one value of a series for a moment. So a window goes out once, when devices that are late have
//! had time to report it, and what comes later is in history alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::backlog::is_told_of;
use crate::row::{Key, Row};

/// Most rows that wait for the receiver.
pub const ROWS_MAX: usize = 20_000;

/// Rows on their way to a store of time series.
#[derive(Debug, Default)]
pub struct Outgoing {
    waiting: BTreeMap<(u64, Key), Row>,
    sent: BTreeSet<Key>,
    dropped: u64,
}

fn place(row: &Row) -> (u64, Key) {
    (row.key.start_ms.saturating_add(row.key.window_ms), row.key.clone())
}

impl Outgoing {
    /// Takes rows of closed windows; one that was sent is not sent again. Beyond the most that may wait the oldest go.
    pub fn offer(&mut self, rows: impl IntoIterator<Item = Row>) {
        for row in rows.into_iter().filter(Row::is_raw) {
            if !self.sent.contains(&row.key) {
                self.waiting.insert(place(&row), row);
            }
        }
        while self.waiting.len() > ROWS_MAX {
            self.waiting.pop_first();
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// The next rows to send, oldest first.
    #[must_use]
    pub fn next(&self, most: usize) -> Vec<Row> {
        self.waiting.values().take(most).cloned().collect()
    }

    /// Rows were sent, or refused for good.
    pub fn done(&mut self, rows: &[Row]) {
        for row in rows {
            self.waiting.remove(&place(row));
            self.sent.insert(row.key.clone());
        }
    }

    /// Forgets windows that devices do not tell of any more.
    pub fn forget(&mut self, now_ms: u64) {
        self.sent.retain(|key| is_told_of(key, now_ms));
    }

    /// Rows that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no row waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Rows that went because the receiver had taken none for too long.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::tests::row;

    #[test]
    fn a_window_is_sent_once_and_in_the_order_of_time() {
        let mut outgoing = Outgoing::default();
        outgoing.offer([row(5, 1, 90, 5), row(3, 1, 90, 5)]);
        outgoing.offer([row(3, 2, 90, 5)]);
        let sent = outgoing.next(1);
        assert_eq!(sent, [row(3, 2, 90, 5)], "the newest of what has not been sent");
        outgoing.done(&sent);
        outgoing.offer([row(3, 9, 90, 5)]);
        assert_eq!(outgoing.next(9), [row(5, 1, 90, 5)]);
        outgoing.forget(60_000 * 200);
        outgoing.offer((0..ROWS_MAX as u64 + 3).map(|minute| row(minute, 1, 90, 5)));
        assert_eq!((outgoing.len(), outgoing.dropped()), (ROWS_MAX, 3));
        assert_eq!(outgoing.next(1)[0].key.start_ms, 3 * 60_000);
    }
}
