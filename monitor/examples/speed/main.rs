//! How long distances, detectors and measures take on the data of a file, one line each.
//!
//! `cargo run --release -p modelfleet-monitor --example speed -- DATA`; `golden/speed.sh` writes the file, does the same
//! with scipy, scikit-learn and River, and prints both beside each other.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

mod data;
mod distances;
mod quality;
mod streams;

use std::time::Instant;

fn main() {
    let data = data::Data::read(&std::env::args().nth(1).expect("the path of a data file is the argument"));
    distances::run(&data);
    streams::run(&data);
    quality::run(&data);
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

/// One measured line: name, nanoseconds, and the answer, so that both sides can be compared.
fn line(name: &str, ns: f64, answer: f64) {
    println!("{name}\t{ns}\t{answer:e}");
}
