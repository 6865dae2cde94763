//! Distances on histograms and samples.

use crate::data::Data;
use crate::{line, time};
use modelfleet_monitor::distance::*;
use std::hint::black_box;

const CALLS: usize = 1_000;

pub fn run(data: &Data) {
    let (reference, current) = (&data.reference, &data.current);
    let bins = |name: &str, distance: fn(&[u64], &[u64]) -> f64| {
        let ns = time(5, CALLS, || {
            for _ in 0..CALLS {
                black_box(distance(black_box(reference), black_box(current)));
            }
        });
        line(name, ns, distance(reference, current));
    };
    bins("PSI, 20 bins", psi);
    bins("KL, 20 bins", |r, c| kullback_leibler(c, r));
    bins("JS, 20 bins", jensen_shannon);
    bins("Hellinger, 20 bins", hellinger);
    bins("chi-squared and p, 20 bins", |r, c| chi_squared(r, c).p_value);
    for rows in [1_000, 100_000] {
        let (a, b) = (&data.normals[..rows], &data.others[..rows]);
        let samples = |name: &str, distance: fn(&[f64], &[f64]) -> f64| {
            let ns = time(5, 1, || {
                black_box(distance(black_box(a), black_box(b)));
            });
            line(&format!("{name}, {rows} rows each"), ns, distance(a, b));
        };
        samples("KS and p", |a, b| ks_two_sample(a, b).1);
        samples("Wasserstein", wasserstein_samples);
    }
    let value = mmd_squared(&data.left, &data.right, 0.5);
    let ns = time(3, 1, || {
        black_box(mmd_squared(black_box(&data.left), black_box(&data.right), 0.5));
    });
    line("MMD, 1000 rows of 4 each", ns, value);
}
