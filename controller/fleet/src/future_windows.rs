//! Windows of a future: of a device whose clock is ahead, or of a forger. The newest windows of an arm push older ones
//! out, so they count once their time has come and not before; the device sends its last windows again until then.

use modelfleet_evidence::AHEAD_MAX;
use modelfleet_protocol::generated::Report;
use modelfleet_protocol::time::Time;

/// Takes windows out of a checked report that lie more than [`AHEAD_MAX`] beyond the one that holds `now`. Returns how
/// many.
pub fn take_out(report: &mut Report, now: Time) -> usize {
    let last = now.window_index(report.window_ms).saturating_add(AHEAD_MAX);
    let end = |index: u64, span: u32| index.saturating_add(u64::from(span.saturating_sub(1)));
    // They are in order and do not overlap.
    let kept = report.windows.partition_point(|window| end(window.index, window.span) <= last);
    let before = report.windows.len();
    report.windows.truncate(kept);
    before - kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_protocol::generated::Window;

    fn left(now: u64, windows: &[(u64, u32)]) -> (Vec<u64>, usize) {
        let window = |(index, span): &(u64, u32)| Window { index: *index, span: *span, ..Window::default() };
        let windows = windows.iter().map(window).collect();
        let mut report = Report { window_ms: 1_000, windows, ..Report::default() };
        let out = take_out(&mut report, Time(now));
        (report.windows.iter().map(|window| window.index).collect(), out)
    }

    #[test]
    fn only_what_lies_beyond_the_tolerance_is_taken_out() {
        assert_eq!(left(100_999, &[(99, 1), (100, 1), (102, 1)]), (vec![99, 100, 102], 0));
        assert_eq!(left(100_999, &[(99, 1), (102, 1), (103, 1), (u64::MAX >> 9, 1)]), (vec![99, 102], 2));
        assert_eq!(left(100_999, &[(90, 13)]), (vec![90], 0), "its last window is the 102nd");
        assert_eq!(left(100_999, &[(90, 14)]), (vec![], 1));
        assert_eq!(left(100_999, &[(7, u32::MAX)]), (vec![], 1));
        assert_eq!(left(0, &[]), (vec![], 0));
    }
}
