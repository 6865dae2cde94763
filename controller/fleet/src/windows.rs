//! The 0/1 of a device's windows, small enough to keep for every device of a fleet.
//!
//! The last 64 base windows are two bits each (known, bad); what a device has merged to longer spans follows as
//! numbers. So the windows since any moment can be counted without the reports.

use modelfleet_judge::Counts;
use modelfleet_protocol::generated::{Tally, Window};

/// How a report counts: only reports that count alike are added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counting {
    /// Identity of what is counted, [`modelfleet_protocol::observe::Observe::id`].
    pub observe_id: u64,
    /// Length of a window, milliseconds. The identity has it too, but a device may say an identity that is not its own.
    pub window_ms: u64,
}

/// Base windows that are kept one by one.
pub const BITS: u64 = 64;

/// Most windows of a device's past that count: with windows of an hour seven years, with windows of a minute six weeks.
const PAST_MAX: u32 = 1 << 16;

/// Numbers of one indicator: known and bad as bits of the last windows, low half first, then the device's past under the
/// model before, known and bad.
const INDICATOR: usize = 6;

/// Tallies of one device's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowTallies {
    /// One past the last window reported; bit 0 is the window before it.
    end: u64,
    /// One allocation, because every device has it: how many indicators there are, then [`INDICATOR`] numbers of each; then
    /// merged spans: windows before `end` that one starts at, its length, then known and bad by indicator.
    counts: Box<[u32]>,
}

/// A device's past, as far as it counts: its share of bad windows stays.
fn kept_past(known: u32, bad: u32) -> (u32, u32) {
    let kept = known.min(PAST_MAX);
    let bad = u64::from(bad) * u64::from(kept) / u64::from(known.max(1));
    (kept, u32::try_from(bad).unwrap_or(kept))
}

impl WindowTallies {
    /// Reads windows and history of a report that `protocol::report::read` has checked.
    #[must_use]
    pub fn new(windows: &[Window], history: Option<&Tally>) -> WindowTallies {
        let tallies = windows.iter().filter_map(|w| w.tally.as_ref()).chain(history);
        let indicators = tallies.map(|t| t.known.len()).max().unwrap_or(0);
        let end = windows.last().map_or(0, |w| w.index.saturating_add(u64::from(w.span)));
        let is_bit = |window: &Window| window.span == 1 && end - window.index <= BITS;
        let spans = windows.iter().filter(|window| window.tally.is_some() && !is_bit(window)).count();
        let bits = 1 + INDICATOR * indicators;
        let mut counts = Vec::with_capacity(bits + spans * (2 + 2 * indicators));
        counts.resize(bits, 0);
        counts[0] = u32::try_from(indicators).unwrap_or(0);
        let past = history.into_iter().flat_map(|t| t.known.iter().zip(&t.bad));
        for (of, (&known, &bad)) in counts[1..].chunks_exact_mut(INDICATOR).zip(past) {
            (of[4], of[5]) = kept_past(known, bad);
        }
        for window in windows {
            let Some(tally) = &window.tally else { continue };
            let back = end - window.index;
            if is_bit(window) {
                let (half, bit) = (usize::from(back > 32), 1_u32 << ((back - 1) % 32));
                let each = tally.known.iter().zip(&tally.bad);
                for (of, (&known, &bad)) in counts[1..bits].chunks_exact_mut(INDICATOR).zip(each) {
                    of[half] |= if known > 0 { bit } else { 0 };
                    of[2 + half] |= if bad > 0 { bit } else { 0 };
                }
            } else if let Ok(back) = u32::try_from(back) {
                counts.extend([back, window.span]);
                for i in 0..indicators {
                    counts.push(tally.known.get(i).copied().unwrap_or(0));
                    counts.push(tally.bad.get(i).copied().unwrap_or(0));
                }
            }
        }
        WindowTallies { end, counts: counts.into_boxed_slice() }
    }

    /// How many indicators are counted.
    #[must_use]
    pub fn indicators(&self) -> usize {
        self.counts.first().map_or(0, |count| *count as usize)
    }

    /// The numbers of an indicator.
    fn indicator(&self, indicator: usize) -> Option<&[u32]> {
        let at = 1 + INDICATOR * indicator;
        (indicator < self.indicators()).then(|| self.counts.get(at..at + INDICATOR))?
    }

    /// One past the last window reported.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The newest windows of an indicator that are kept one by one, as bits: known, bad; bit 0 is the newest.
    #[must_use]
    pub fn newest(&self, indicator: usize) -> (u64, u64) {
        let Some(own) = self.indicator(indicator) else { return (0, 0) };
        let bits = |half: usize| u64::from(own[half]) | u64::from(own[half + 1]) << 32;
        (bits(0), bits(2))
    }

    /// Windows of an indicator from window `first` on. Of a span that began before `first` its later part counts, in
    /// proportion and rounded: left out whole, it would take more windows from a device with longer spans, and the
    /// arms would differ in what they know.
    #[must_use]
    pub fn since(&self, indicator: usize, first: u64) -> Counts {
        if indicator >= self.indicators() {
            return Counts::default();
        }
        let wanted = self.end.saturating_sub(first);
        let mask = if wanted >= BITS { u64::MAX } else { (1 << wanted) - 1 };
        let (known, bad) = self.newest(indicator);
        let recent =
            Counts::new(u64::from((known & mask).count_ones()), u64::from((bad & mask).count_ones()));
        let indicators = self.indicators();
        let spans = &self.counts[1 + INDICATOR * indicators..];
        spans.chunks_exact(2 + 2 * indicators).fold(recent, |sum, span| {
            let (back, length) = (u64::from(span[0]), u64::from(span[1]).max(1));
            let inside = length.saturating_sub(back.saturating_sub(wanted)).min(length);
            let part = |count: u32| (u64::from(count) * inside + length / 2) / length;
            let at = 2 + 2 * indicator;
            sum.plus(Counts::new(part(span[at]), part(span[at + 1])))
        })
    }

    /// Windows from `first` on and before `end` of which anything is known; spans count in proportion.
    #[must_use]
    pub fn known(&self, first: u64, end: u64) -> u64 {
        let of =
            |indicator| self.since(indicator, first).known.saturating_sub(self.since(indicator, end).known);
        (0..self.indicators()).map(of).max().unwrap_or(0)
    }

    /// The device's own past of an indicator, under the model before.
    #[must_use]
    pub fn past(&self, indicator: usize) -> Counts {
        let own = self.indicator(indicator);
        own.map_or_else(Counts::default, |of| Counts::new(u64::from(of[4]), u64::from(of[5])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(index: u64, span: u32, known: u32, bad: u32) -> Window {
        let tally = Tally { known: vec![known], bad: vec![bad] };
        Window { index, span, tally: Some(tally), ..Window::default() }
    }

    #[test]
    fn windows_since_a_moment_are_counted_exactly() {
        let tallies = WindowTallies::new(
            &[
                window(100, 8, 8, 3),
                window(108, 1, 1, 1),
                window(109, 1, 1, 0),
                window(111, 1, 0, 0),
                window(112, 1, 1, 1),
            ],
            Some(&Tally { known: vec![200], bad: vec![7] }),
        );
        let since = |first| {
            let c = tallies.since(0, first);
            (c.known, c.bad)
        };
        assert_eq!(tallies.end(), 113);
        assert_eq!(since(0), (11, 5));
        assert_eq!(since(100), (11, 5));
        assert_eq!(
            since(101),
            (10, 5),
            "of a span that began earlier its later part counts: 7 of 8, 2.6 of 3"
        );
        assert_eq!(since(107), (4, 2), "1 of 8, 0.4 of 3");
        assert_eq!(since(108), (3, 2));
        assert_eq!(since(109), (2, 1));
        assert_eq!(since(113), (0, 0));
        assert_eq!(since(999), (0, 0));
        assert_eq!((tallies.past(0).known, tallies.past(0).bad), (200, 7));
        assert_eq!(
            tallies.newest(0),
            (0b11001, 0b10001),
            "112 is the newest, 109 the third from it, 108 the fifth"
        );
        assert_eq!(tallies.newest(1), (0, 0));
        let known = [(0, 999), (100, 104), (108, 110), (109, 112), (112, 113), (113, 999)];
        assert_eq!(known.map(|(first, end)| tallies.known(first, end)), [11, 4, 2, 1, 1, 0]);
    }

    #[test]
    fn a_past_that_nobody_can_have_lived_through_counts_by_its_share() {
        let past = |known, bad| {
            let tallies = WindowTallies::new(&[], Some(&Tally { known: vec![known], bad: vec![bad] }));
            (tallies.past(0).known, tallies.past(0).bad)
        };
        assert_eq!(past(PAST_MAX, 3), (u64::from(PAST_MAX), 3));
        assert_eq!(past(u32::MAX, u32::MAX), (u64::from(PAST_MAX), u64::from(PAST_MAX)));
        assert_eq!(past(u32::MAX, u32::MAX / 2), (u64::from(PAST_MAX), u64::from(PAST_MAX / 2 - 1)));
        assert_eq!(past(u32::MAX, 0), (u64::from(PAST_MAX), 0));
    }

    #[test]
    fn base_windows_beyond_the_bits_are_kept_as_spans() {
        let windows: Vec<Window> = (0..70).filter(|i| i % 2 == 0).map(|i| window(i, 1, 1, 1)).collect();
        let tallies = WindowTallies::new(&windows, None);
        assert_eq!(tallies.since(0, 0).known, 35);
        assert_eq!(tallies.since(1, 0), Counts::default(), "no such indicator");
    }
}
