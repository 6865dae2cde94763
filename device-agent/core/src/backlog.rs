//! Evidence since the rollout began: whole windows, at most 64 entries. Older neighbours merge in place, so that
//! totals stay exact however long the device is offline.

use modelfleet_protocol::generated::{Counters, Tally};
use modelfleet_protocol::report::{WINDOWS_MAX, add_tally};
use modelfleet_protocol::window::{WindowSummary, add_counters};

/// The newest entries, which stay single windows.
pub const SINGLE_MAX: usize = 32;

/// One window, or several adjacent ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What was seen.
    pub summary: WindowSummary,
    /// The last base window covered.
    pub last: u64,
    /// Its windows, counted.
    pub tally: Tally,
}

/// Entries by index, without overlap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backlog(pub Vec<Entry>);

impl Backlog {
    fn covering(&self, index: u64) -> Result<usize, usize> {
        let at = self.0.partition_point(|entry| entry.last < index);
        match self.0.get(at) {
            Some(entry) if entry.summary.index <= index => Ok(at),
            _ => Err(at),
        }
    }

    /// Adds a base window. What falls into an entry is added to it (a clock that was set back, an agent that
    /// was restarted within the window); `new` says that the window's index was not counted before. Returns the
    /// whole window where it still stands alone.
    pub fn add(
        &mut self,
        window: &WindowSummary,
        new: bool,
        judge: impl Fn(&WindowSummary) -> Tally,
    ) -> Option<&WindowSummary> {
        let index = window.index;
        match self.covering(index) {
            Ok(at) => {
                let entry = &mut self.0[at];
                let (first, span) = (entry.summary.index, entry.summary.span);
                entry.summary.merge(window);
                entry.summary.index = first;
                entry.summary.span = span;
                if entry.last == first {
                    entry.tally = judge(&entry.summary);
                    return Some(&self.0[at].summary);
                }
                if new && u64::from(span) <= entry.last - first {
                    entry.summary.span = span.saturating_add(1);
                    add_tally(&mut entry.tally, &judge(window));
                }
                None
            }
            Err(at) => {
                let mut summary = window.clone();
                summary.span = 1;
                let tally = judge(&summary);
                self.0.insert(at, Entry { last: index, summary, tally });
                self.merge_old();
                None
            }
        }
    }

    /// Adds late counters to the window with this index. Returns the whole window where it stands alone.
    pub fn amend(
        &mut self,
        index: u64,
        counters: &Counters,
        judge: impl Fn(&WindowSummary) -> Tally,
    ) -> Option<&WindowSummary> {
        let at = self.covering(index).ok()?;
        let entry = &mut self.0[at];
        add_counters(&mut entry.summary.counters, counters);
        if entry.last != entry.summary.index {
            return None;
        }
        entry.tally = judge(&entry.summary);
        Some(&self.0[at].summary)
    }

    /// The two old neighbours with the fewest windows become one entry, until 64 are left.
    fn merge_old(&mut self) {
        while self.0.len() > WINDOWS_MAX {
            let old = self.0.len() - SINGLE_MAX;
            let spans =
                |at: &usize| u64::from(self.0[*at].summary.span) + u64::from(self.0[at + 1].summary.span);
            let Some(at) = (0..old - 1).min_by_key(spans) else { return };
            let right = self.0.remove(at + 1);
            let left = &mut self.0[at];
            left.summary.merge(&right.summary);
            left.last = left.last.max(right.last);
            add_tally(&mut left.tally, &right.tally);
        }
    }
}
