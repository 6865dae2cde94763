//! Gates that look at one window: shares of windows that they call changed.

use crate::{head, row};
use modelfleet_monitor::distance::{DriftGate, chi_squared, ks_two_sample, psi};
use modelfleet_monitor::quality::CalibratedBins;
use modelfleet_number::wilson;
use modelfleet_number::{chance::Chance, normal};

/// Rows of one window.
const ROWS: [usize; 4] = [50, 100, 500, 5_000];
/// Significance of every test here: that of the drift gate.
const ALPHA: f64 = 0.0005;
/// Rows behind the reference histogram.
const REFERENCE: usize = 100_000;
/// Reference rows for Kolmogorov-Smirnov, drawn anew for each window: so few carry an error of their own.
const KEPT: usize = 1_000;

/// What a gate is shown.
struct Window<'a> {
    reference: &'a Sample,
    kept: &'a [f64],
    current: &'a Sample,
}

struct Sample {
    values: Vec<f64>,
    ten: Vec<u64>,
    twenty: Vec<u64>,
}

fn normals(rows: usize, shift: f64, chance: &mut Chance) -> Vec<f64> {
    (0..rows).map(|_| normal::quantile(chance.unit()) + shift).collect()
}

impl Sample {
    fn draw(rows: usize, shift: f64, chance: &mut Chance) -> Self {
        let values = normals(rows, shift, chance);
        let (mut ten, mut twenty) = (vec![0; 10], vec![0; 20]);
        for value in &values {
            // Bins of equal share under the reference.
            let share = normal::cdf(*value);
            ten[((share * 10.0) as usize).min(9)] += 1;
            twenty[((share * 20.0) as usize).min(19)] += 1;
        }
        Self { values, ten, twenty }
    }
}

type Gate = fn(&Window<'_>) -> bool;

fn gate(reference: &[u64], current: &[u64]) -> bool {
    DriftGate::default().judge(reference, current).drift == Some(true)
}

const GATES: [(&str, Gate); 11] = [
    ("drift gate, 10 bins", |w| gate(&w.reference.ten, &w.current.ten)),
    ("drift gate, 20 bins", |w| gate(&w.reference.twenty, &w.current.twenty)),
    ("PSI of 0.1 alone, 10 bins", |w| psi(&w.reference.ten, &w.current.ten) >= 0.1),
    ("PSI of 0.1 alone, 20 bins", |w| psi(&w.reference.twenty, &w.current.twenty) >= 0.1),
    ("PSI of 0.2 alone, 10 bins", |w| psi(&w.reference.ten, &w.current.ten) >= 0.2),
    ("PSI of 0.2 alone, 20 bins", |w| psi(&w.reference.twenty, &w.current.twenty) >= 0.2),
    ("chi-squared alone, 10 bins", |w| chi_squared(&w.reference.ten, &w.current.ten).p_value <= ALPHA),
    ("chi-squared alone, 20 bins", |w| chi_squared(&w.reference.twenty, &w.current.twenty).p_value <= ALPHA),
    ("Kolmogorov-Smirnov alone, 1 000 reference rows", |w| {
        ks_two_sample(w.kept, &w.current.values).1 <= ALPHA
    }),
    ("always", |_| true),
    ("never", |_| false),
];

/// Drift gates on normal rows.
pub fn drift(windows: u64, seed: u64) {
    let reference = Sample::draw(REFERENCE, 0.0, &mut Chance::fork(seed, 77));
    for (shift, words) in [
        (0.0, "no drift: false alarms"),
        (0.1, "+0.1 sd"),
        (0.25, "+0.25 sd"),
        (0.5, "+0.5 sd"),
        (1.0, "+1 sd"),
    ] {
        println!("\nWindows called drifted, {words}; {windows} windows a cell.\n");
        head(&["gate", "50 rows", "100", "500", "5 000"]);
        let mut fired = [[0_u64; ROWS.len()]; GATES.len()];
        for (column, rows) in ROWS.into_iter().enumerate() {
            let mut chance = Chance::fork(seed, 1_000 + rows as u64);
            for _ in 0..windows {
                let current = Sample::draw(rows, shift, &mut chance);
                let kept = normals(KEPT, 0.0, &mut chance);
                let window = Window { reference: &reference, kept: &kept, current: &current };
                for ((_, gate), fired) in GATES.iter().zip(&mut fired) {
                    fired[column] += u64::from(gate(&window));
                }
            }
        }
        for ((name, _), fired) in GATES.iter().zip(fired) {
            row(name, &fired.map(|fired| share(fired, windows, shift == 0.0)));
        }
    }
}

/// Labels behind the calibration table.
const TRAINING: u64 = 10_000;
/// Drop of accuracy that matters, parts per million.
const LEAST_PPM: u64 = 20_000;

/// Labels against the estimate without labels, while confidence stays as it was.
pub fn labels(windows: u64, seed: u64) {
    for (drop, words) in
        [(0.0, "no change: false alarms"), (0.05, "5 points lower"), (0.1, "10 points lower")]
    {
        println!("\nWindows called wrong by labels, accuracy {words}; {windows} windows a cell.\n");
        head(&["gate", "50 labels", "100", "500", "5 000"]);
        let mut fired = [[0_u64; ROWS.len()]; 2];
        for (column, rows) in ROWS.into_iter().enumerate() {
            let mut chance = Chance::fork(seed, 2_000 + rows as u64);
            for _ in 0..windows {
                let bins = answers(TRAINING, 0.0, &mut chance);
                let now = answers(rows as u64, drop, &mut chance);
                let right = now.iter().map(|bin| bin.1).sum();
                let counts: Vec<u64> = now.iter().map(|bin| bin.0).collect();
                let profile = CalibratedBins { bins };
                if let Some(found) = profile.concept_alarm(&counts, right, rows as u64, LEAST_PPM, ALPHA) {
                    let lower = found.estimated_ppm.saturating_sub(found.labelled_ppm) >= LEAST_PPM;
                    fired[0][column] += u64::from(found.alarm);
                    fired[1][column] += u64::from(lower);
                }
            }
        }
        for (name, fired) in ["CBPE alarm", "2 points below the estimate alone"].iter().zip(fired) {
            row(name, &fired.map(|fired| share(fired, windows, drop == 0.0)));
        }
        row("always", &ROWS.map(|_| share(windows, windows, drop == 0.0)));
        row("never", &ROWS.map(|_| share(0, windows, drop == 0.0)));
    }
}

/// Answers and right answers in five bins of confidence, right as often as the bin's middle says, less `drop`.
fn answers(count: u64, drop: f64, chance: &mut Chance) -> Vec<(u64, u64)> {
    let mut bins = vec![(0, 0); 5];
    for _ in 0..count {
        let bin = [4, 4, 4, 4, 3, 3, 3, 2, 1, 0][chance.below(10) as usize];
        bins[bin].0 += 1;
        bins[bin].1 += u64::from(chance.unit() < 0.55 + 0.1 * bin as f64 - drop);
    }
    bins
}

/// Percent; of false alarms with Wilson's 95 % limits.
fn share(part: u64, all: u64, false_alarms: bool) -> String {
    let percent = 100.0 * part as f64 / all as f64;
    if !false_alarms {
        return format!("{percent:.1}");
    }
    let (low, high) = wilson(part, all, 0.95);
    format!("{percent:.2} ({:.2} to {:.2})", 100.0 * low, 100.0 * high)
}
