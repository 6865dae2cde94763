//! Rows that are not stored yet, and what is known of those that are.
//!
//! Each look at the fleet offers all windows that its devices still know. A row goes on only when it is new or says more than
//! the one that was stored; a dead store makes the backlog grow to its bound, and then the oldest rows go.

use std::collections::BTreeMap;

use crate::place::Place;
use crate::row::{Key, Row};

/// Most rows that wait for the store.
pub const ROWS_MAX: usize = 50_000;
/// Most rows of one file.
pub const FILE_ROWS_MAX: usize = 10_000;

/// Windows that a device may tell of: twice as many as a report has, because devices are not in step.
const TOLD_WINDOWS: u64 = 128;

/// Whether devices may still tell of a window.
#[must_use]
pub fn is_told_of(key: &Key, now_ms: u64) -> bool {
    key.start_ms.saturating_add(key.window_ms.saturating_mul(TOLD_WINDOWS)) >= now_ms
}

/// Rows on their way to the store.
#[derive(Debug, Default)]
pub struct Backlog {
    waiting: BTreeMap<Key, Row>,
    stored: BTreeMap<Key, Row>,
    dropped: u64,
}

impl Backlog {
    /// Takes rows that the store has to have.
    pub fn offer(&mut self, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            let known = self.waiting.get(&row.key).or_else(|| self.stored.get(&row.key));
            let is_news =
                known.is_none_or(|known| row.counts_more_than(known) && !row.says_the_same_as(known));
            if is_news {
                self.waiting.insert(row.key.clone(), row);
            }
        }
        while self.waiting.len() > ROWS_MAX {
            let oldest = self.waiting.keys().min_by_key(|key| key.start_ms).cloned();
            let Some(oldest) = oldest else { return };
            self.waiting.remove(&oldest);
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Learns rows that the store has: those that wait and say nothing more go.
    pub fn learn(&mut self, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            let waits = self.waiting.get(&row.key);
            if waits.is_some_and(|own| !own.counts_more_than(&row) || own.says_the_same_as(&row)) {
                self.waiting.remove(&row.key);
            }
            if self.stored.get(&row.key).is_none_or(|known| row.counts_more_than(known)) {
                self.stored.insert(row.key.clone(), row);
            }
        }
    }

    /// The next file to write: rows of one place, at most [`FILE_ROWS_MAX`].
    #[must_use]
    pub fn next(&self) -> Option<(Place, Vec<Row>)> {
        let place = self.waiting.values().next()?.place();
        let of_place = self.waiting.values().filter(|row| row.place() == place);
        let rows = of_place.take(FILE_ROWS_MAX).cloned().collect();
        Some((place, rows))
    }

    /// Forgets rows of windows that devices do not tell of any more.
    pub fn forget(&mut self, now_ms: u64) {
        self.stored.retain(|key, _| is_told_of(key, now_ms));
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

    /// Rows that went because the store had taken none for too long.
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
    fn a_row_is_written_once_and_again_when_it_says_more() {
        let mut backlog = Backlog::default();
        backlog.offer([row(0, 3, 90, 5), row(1, 3, 90, 5)]);
        let (_, rows) = backlog.next().unwrap();
        backlog.learn(rows);
        assert!(backlog.is_empty());
        backlog.offer([row(0, 3, 90, 5), Row { revision: 9, ..row(1, 3, 90, 5) }, row(0, 2, 90, 5)]);
        assert!(backlog.is_empty(), "the same later, or with fewer devices");
        backlog.offer([row(0, 4, 92, 5)]);
        assert_eq!(backlog.next().unwrap().1, [row(0, 4, 92, 5)], "one was offline");
    }

    #[test]
    fn what_another_leader_has_stored_is_not_stored_again() {
        let mut backlog = Backlog::default();
        let later = |minute| Row { revision: 99, ..row(minute, 3, 90, 5) };
        backlog.offer((0..4).map(later));
        backlog.learn([row(0, 3, 90, 5), row(1, 5, 90, 5), row(2, 2, 90, 5)]);
        let left: Vec<u64> = backlog.next().unwrap().1.iter().map(|row| row.key.start_ms / 60_000).collect();
        assert_eq!(left, [2, 3]);
    }

    #[test]
    fn a_dead_store_costs_the_oldest_rows_and_no_more_memory() {
        let mut backlog = Backlog::default();
        backlog.offer((0..ROWS_MAX as u64 + 3).map(|minute| row(minute, 1, 90, 5)));
        assert_eq!((backlog.len(), backlog.dropped()), (ROWS_MAX, 3));
        let (place, rows) = backlog.next().unwrap();
        assert_eq!(rows[0].key.start_ms, 3 * 60_000);
        assert!(rows.len() <= FILE_ROWS_MAX && rows.iter().all(|row| row.place() == place));
    }
}
