//! Evidence since the rollout began: whole windows, at most 64 entries. Older neighbours merge in place, so that
//! totals stay exact however long the device is offline.

use modelfleet_protocol::generated::{Counters, Tally};
use modelfleet_protocol::report::{WINDOWS_MAX, add_tally};
use modelfleet_protocol::window::WindowSummary;

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

    /// Changes the counters of the window with this index. Returns the whole window where it stands alone.
    pub fn amend(
        &mut self,
        index: u64,
        change: impl FnOnce(&mut Counters),
        judge: impl Fn(&WindowSummary) -> Tally,
    ) -> Option<&WindowSummary> {
        let at = self.covering(index).ok()?;
        let entry = &mut self.0[at];
        change(&mut entry.summary.counters);
        if entry.last != entry.summary.index {
            return None;
        }
        entry.tally = judge(&entry.summary);
        Some(&self.0[at].summary)
    }

    /// At most `most` entries for a report, the newer half of them as they are here; the newest `histograms` keep
    /// theirs.
    #[must_use]
    pub fn shown(&self, most: usize, histograms: usize) -> Backlog {
        let bare_until = self.0.len().saturating_sub(histograms);
        let entry = |(at, entry): (usize, &Entry)| match at < bare_until {
            true => Entry { summary: bare(&entry.summary), last: entry.last, tally: entry.tally.clone() },
            false => entry.clone(),
        };
        let mut shown = Backlog(self.0.iter().enumerate().map(entry).collect());
        if most < WINDOWS_MAX {
            shown.merge_until(most.max(1), most / 2);
        }
        shown
    }

    fn merge_old(&mut self) {
        self.merge_until(WINDOWS_MAX, SINGLE_MAX);
    }

    /// Two old neighbours become one entry, until `most` are left; the newest `single` stay. Those become one that share
    /// the shortest block of 2^k windows that begins at a multiple of its length. So devices merge at the same moments,
    /// whenever their records began, and can be counted from the same window on.
    fn merge_until(&mut self, most: usize, single: usize) {
        while self.0.len() > most {
            let old = self.0.len() - single;
            let block = |at: &usize| {
                let (first, last) = (self.0[*at].summary.index, self.0[at + 1].last);
                u64::BITS - (first ^ last).leading_zeros()
            };
            let Some(at) = (0..old - 1).min_by_key(block) else { return };
            let right = self.0.remove(at + 1);
            let left = &mut self.0[at];
            left.summary.merge(&right.summary);
            left.last = left.last.max(right.last);
            add_tally(&mut left.tally, &right.tally);
        }
    }
}

/// A summary without its histograms.
fn bare(summary: &WindowSummary) -> WindowSummary {
    let WindowSummary { index, span, counters, cpu_ppm, memory_bytes, memory_ppm, .. } = *summary;
    WindowSummary { index, span, counters, cpu_ppm, memory_bytes, memory_ppm, ..WindowSummary::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(windows: std::ops::Range<u64>) -> Backlog {
        let mut backlog = Backlog::default();
        for index in windows {
            let window = WindowSummary { index, ..WindowSummary::default() };
            backlog.add(&window, true, |_| Tally { known: vec![1], bad: vec![0] });
        }
        backlog
    }

    #[test]
    fn merging_keeps_totals_and_a_bound() {
        let backlog = grown(0..5_000);
        let spans: u64 = backlog.0.iter().map(|e| u64::from(e.summary.span)).sum();
        let known: u64 = backlog.0.iter().map(|e| u64::from(e.tally.known[0])).sum();
        assert_eq!((spans, known), (5_000, 5_000));
        assert!(backlog.0.len() <= WINDOWS_MAX);
        assert!(backlog.0.iter().rev().take(SINGLE_MAX).all(|e| e.summary.span == 1));
    }

    /// Whenever a record began, its merged entries lie in the same blocks.
    #[test]
    fn merged_entries_lie_in_blocks_that_do_not_depend_on_the_beginning() {
        for begin in [0, 1, 7, 100, 333] {
            for entry in grown(begin..1_000).0 {
                let (first, last) = (entry.summary.index, entry.last);
                let block = 1_u64 << (u64::BITS - (first ^ last).leading_zeros());
                let inside = first - first % block;
                assert!(last < inside + block);
                let cut = first == begin || first % (block / 2).max(1) == 0;
                assert!(cut, "from {begin}: {first} to {last} in a block of {block}");
            }
        }
    }
}
