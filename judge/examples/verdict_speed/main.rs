//! How long whole verdicts take: `cargo run --release -p modelfleet-judge --example verdict_speed`.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

mod verdicts;

use std::time::Instant;

fn main() {
    verdicts::run();
}

/// Median of `repeats` timings, per call in nanoseconds.
fn time(repeats: usize, calls: usize, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_nanos() as f64 / calls as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[repeats / 2]
}
