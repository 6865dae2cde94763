//! What each detector costs: false alarms on streams without change, delay after one.
//!
//! `cargo run --release -p modelfleet-judge --example detectors -- [streams] [seed]`
//!
//! Beside the detectors stand one that always alarms and one that never does: no figure alone says much.

use modelfleet_judge::detect::*;
use modelfleet_judge::distance::{DriftGate, chi_squared, psi};
use modelfleet_judge::number::{chance::Chance, normal};

/// Values without change per stream.
const QUIET: usize = 10_000;
/// Values before and after a change.
const BEFORE: usize = 1_000;
const AFTER: usize = 4_000;

/// Alarms at every value.
struct Always;
/// Never alarms.
struct Never;

impl Detector for Always {
    fn update(&mut self, _: f64) -> Signal {
        Signal::Drift
    }
}

impl Detector for Never {
    fn update(&mut self, _: f64) -> Signal {
        Signal::Stable
    }
}

type Maker = fn() -> Box<dyn Detector>;

fn detectors() -> Vec<(&'static str, Maker, bool)> {
    vec![
        ("ADWIN 0.002", || Box::new(Adwin::default()), true),
        ("HDDM-A", || Box::new(HddmA::default()), false),
        ("DDM", || Box::new(Ddm::default()), false),
        ("EDDM", || Box::new(Eddm::default()), false),
        ("Page-Hinkley", || Box::new(PageHinkley::default()), true),
        ("KSWIN", || Box::new(Kswin::default()), true),
        ("CUSUM 0.5 / 8", || Box::new(Cusum::default()), true),
        ("EWMA 0.2 / 3.5", || Box::new(Ewma::default()), true),
        ("z-score 3", || Box::new(ZScore::default()), true),
        ("always", || Box::new(Always), true),
        ("never", || Box::new(Never), true),
    ]
}

/// Values of one stream: normal, or errors at a rate.
#[derive(Clone, Copy)]
enum Stream {
    Normal,
    Errors,
}

fn value(stream: Stream, shift: f64, chance: &mut Chance) -> f64 {
    match stream {
        Stream::Normal => normal::quantile(chance.unit()) + shift,
        Stream::Errors => f64::from(u8::from(chance.unit() < 0.1 + shift)),
    }
}

/// False alarms per 10 000 values.
fn false_alarms(make: Maker, stream: Stream, streams: u64, seed: u64) -> f64 {
    let mut alarms = 0_u64;
    for s in 0..streams {
        let mut chance = Chance::fork(seed, s);
        let mut detector = make();
        for _ in 0..QUIET {
            alarms += u64::from(detector.update(value(stream, 0.0, &mut chance)) == Signal::Drift);
        }
    }
    alarms as f64 / streams as f64 * 10_000.0 / QUIET as f64
}

/// Median delay to the first alarm after a change, and the share of streams without one.
fn delay(make: Maker, stream: Stream, shift: f64, streams: u64, seed: u64) -> String {
    let mut delays = Vec::new();
    for s in 0..streams {
        let mut chance = Chance::fork(seed, 1_000 + s);
        let mut detector = make();
        for _ in 0..BEFORE {
            detector.update(value(stream, 0.0, &mut chance));
        }
        delays
            .extend((0..AFTER).find(|_| detector.update(value(stream, shift, &mut chance)) == Signal::Drift));
    }
    delays.sort_unstable();
    let missed = 100 * (streams as usize - delays.len()) / streams as usize;
    match delays.get(delays.len() / 2) {
        Some(median) if missed > 0 => format!("{median} ({missed} % missed)"),
        Some(median) => median.to_string(),
        None => "missed".into(),
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let streams = args.next().and_then(|s| s.parse().ok()).unwrap_or(20);
    let seed = args.next().and_then(|s| s.parse().ok()).unwrap_or(1);
    println!("{streams} streams a cell. Errors: rate 0.1. Normal: mean 0, deviation 1.");
    println!(
        "| detector | false alarms / 10 000: errors | normal | delay 0.1 to 0.15 | to 0.2 | to 0.3 | +0.25 sd | +0.5 sd | +1 sd |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, make, numeric) in detectors() {
        let mut cells = vec![format!("{:.1}", false_alarms(make, Stream::Errors, streams, seed))];
        cells.push(if numeric {
            format!("{:.1}", false_alarms(make, Stream::Normal, streams, seed))
        } else {
            "-".into()
        });
        cells.extend([0.05, 0.1, 0.2].map(|shift| delay(make, Stream::Errors, shift, streams, seed)));
        let normal =
            |shift| if numeric { delay(make, Stream::Normal, shift, streams, seed) } else { "-".into() };
        cells.extend([0.25, 0.5, 1.0].map(normal));
        println!("| {name} | {} |", cells.join(" | "));
    }
    gates(streams * 100, seed);
}

/// Ten bins of equal mass from 100 000 reference rows; windows of some rows, shifted or not.
fn gates(windows: u64, seed: u64) {
    println!();
    println!(
        "{windows} windows a cell: share called drift by PSI >= 0.1 / chi-squared p <= 0.0005 / the gate of both"
    );
    println!("| rows | no shift | +0.25 sd | +0.5 sd |");
    println!("|---|---|---|---|");
    let edges: Vec<f64> = (1..10).map(|i| normal::quantile(f64::from(i) / 10.0)).collect();
    let bin = |x: f64| edges.iter().take_while(|&&edge| x > edge).count();
    let mut chance = Chance::fork(seed, 77);
    let mut reference = vec![0_u64; 10];
    for _ in 0..100_000 {
        reference[bin(value(Stream::Normal, 0.0, &mut chance))] += 1;
    }
    for rows in [50, 100, 200, 500, 1_000, 10_000] {
        let mut line = format!("| {rows} |");
        for shift in [0.0, 0.25, 0.5] {
            let (mut by_psi, mut by_chi, mut by_both) = (0, 0, 0);
            for _ in 0..windows {
                let mut current = vec![0_u64; 10];
                for _ in 0..rows {
                    current[bin(value(Stream::Normal, shift, &mut chance))] += 1;
                }
                by_psi += u64::from(psi(&reference, &current) >= 0.1);
                by_chi += u64::from(chi_squared(&reference, &current).p_value <= 5e-4);
                by_both += u64::from(DriftGate::default().judge(&reference, &current).drift == Some(true));
            }
            let percent = |hits: u64| 100.0 * hits as f64 / windows as f64;
            line +=
                &format!(" {:.1} / {:.1} / {:.1} % |", percent(by_psi), percent(by_chi), percent(by_both));
        }
        println!("{line}");
    }
}
