//! Windows merged over each arm, for the plain rule and the watch for incidents.

use modelfleet_judge::{Arm, Counts, MergedWindow};

/// Most devices of an arm whose windows are merged.
pub const SAMPLE_MAX: usize = 512;
/// Most windows that are merged, newest first.
pub const MERGED_WINDOWS_MAX: u64 = 64;

/// An objective's value in one window, merged over an arm, beside its bound; both in thousandths of a thousandth of what a
/// person reads (nanoseconds, millionths).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The value.
    pub value: u64,
    /// Its bound.
    pub threshold: u64,
    /// It is bad below the bound and not above it.
    pub bad_below: bool,
    /// Predictions that it rests on.
    pub samples: u64,
}

/// One window of one objective over one arm, for the judge. `devices`: device-windows known and bad.
#[must_use]
pub fn merged_window(slo: usize, arm: Arm, window: u64, measured: Measured, devices: Counts) -> MergedWindow {
    let Measured { value, threshold, bad_below, samples } = measured;
    MergedWindow {
        slo: u32::try_from(slo).unwrap_or(u32::MAX),
        arm,
        window,
        breached: if bad_below { value < threshold } else { value > threshold },
        value_milli: thousandths(value),
        threshold_milli: thousandths(threshold),
        devices,
        samples,
    }
}

/// Thousandths of what a person reads: of a millisecond for latencies (kept in nanoseconds), of one for the rest
/// (kept in millionths).
fn thousandths(value: u64) -> i64 {
    i64::try_from(value / 1_000).unwrap_or(i64::MAX)
}
