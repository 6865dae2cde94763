//! Detectors on streams of numbers and of errors.

use crate::{head, row};
use modelfleet_monitor::detect::*;
use modelfleet_number::{chance::Chance, normal};

/// Values without a change that a stream has at most.
const QUIET: usize = 20_000;

/// Fires at every value.
struct Always;
/// Never fires.
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

/// Every detector with its defaults.
const ON_NUMBERS: [(&str, Maker); 8] = [
    ("ADWIN, delta 0.002", || Box::new(Adwin::default())),
    ("CUSUM, 0.5 and 8", || Box::new(Cusum::default())),
    ("EWMA, 0.2 and 3.5", || Box::new(Ewma::default())),
    ("z-score, 3", || Box::new(ZScore::default())),
    ("Page-Hinkley, 0.005 and 50", || Box::new(PageHinkley::default())),
    ("KSWIN, 0.005", || Box::new(Kswin::default())),
    ("always", || Box::new(Always)),
    ("never", || Box::new(Never)),
];

/// These read errors, 0 and 1, only.
const ON_ERRORS: [(&str, Maker); 3] = [
    ("HDDM-A, 0.001", || Box::new(HddmA::default())),
    ("DDM, 3", || Box::new(Ddm::default())),
    ("EDDM, 0.9", || Box::new(Eddm::default())),
];

/// Draws one value of a stream that has moved by so much.
type Source = fn(shift: f64, chance: &mut Chance) -> f64;

/// How a kind of stream is watched after a change.
struct Watch {
    source: Source,
    /// Values before the change.
    before: usize,
    /// Values after it.
    after: usize,
    streams: u64,
    seed: u64,
}

/// Normal values of deviation 1.
pub fn numbers(streams: u64, seed: u64) {
    let source = |shift: f64, chance: &mut Chance| normal::quantile(chance.unit()) + shift;
    let watch = Watch { source, before: 1_000, after: 2_000, streams, seed };
    println!(
        "\nNumbers, mean 0, deviation 1; {streams} streams a cell. Change after 1 000, watched for 2 000.\n"
    );
    table(&watch, &ON_NUMBERS, &[("no change", 0.0), ("+0.5 sd", 0.5), ("+1 sd", 1.0), ("+2 sd", 2.0)]);
}

/// Errors at a rate of 1 %.
pub fn errors(streams: u64, seed: u64) {
    let source = |shift: f64, chance: &mut Chance| f64::from(u8::from(chance.unit() < 0.01 + shift));
    let watch = Watch { source, before: 5_000, after: 10_000, streams, seed };
    println!("\nErrors, 0 or 1, at 1 %; {streams} streams a cell. Change after 5 000, watched for 10 000.\n");
    let detectors: Vec<(&str, Maker)> =
        ON_NUMBERS[..1].iter().chain(&ON_ERRORS).chain(&ON_NUMBERS[1..]).copied().collect();
    table(&watch, &detectors, &[("no change", 0.0), ("1 to 2 %", 0.01), ("1 to 5 %", 0.04)]);
}

fn table(watch: &Watch, detectors: &[(&str, Maker)], shifts: &[(&str, f64)]) {
    let names = shifts.iter().map(|(name, _)| *name);
    head(
        &["detector", "values to a false alarm", "none in 20 000"]
            .into_iter()
            .chain(names)
            .collect::<Vec<_>>(),
    );
    for (name, make) in detectors {
        let mut cells = run_length(watch, *make).to_vec();
        cells.extend(shifts.iter().map(|(_, shift)| delay(watch, *make, *shift)));
        row(name, &cells);
    }
}

/// Mean number of values to the first alarm where nothing changes, and the share of streams without one.
///
/// Streams are cut, so the mean is all values watched over all alarms seen (the estimate for a constant hazard);
/// without any alarm its lower 95 % limit: values watched over three.
fn run_length(watch: &Watch, make: Maker) -> [String; 2] {
    let (mut watched, mut alarms) = (0_usize, 0_u64);
    for stream in 0..watch.streams {
        let mut chance = Chance::fork(watch.seed, stream);
        let mut detector = make();
        let mut value = || detector.update((watch.source)(0.0, &mut chance)) == Signal::Drift;
        let first = (1..=QUIET).find(|_| value());
        watched += first.unwrap_or(QUIET);
        alarms += u64::from(first.is_some());
    }
    let mean = match alarms {
        0 => format!("> {}", watched / 3),
        _ => format!("{:.0}", watched as f64 / alarms as f64),
    };
    [mean, percent(watch.streams - alarms, watch.streams)]
}

/// Median delay to the first alarm after a change, and the share of streams that had one.
fn delay(watch: &Watch, make: Maker, shift: f64) -> String {
    let mut delays = Vec::new();
    for stream in 0..watch.streams {
        let mut chance = Chance::fork(watch.seed, 1_000_000 + stream);
        let mut detector = make();
        for _ in 0..watch.before {
            detector.update((watch.source)(0.0, &mut chance));
        }
        let mut value = || detector.update((watch.source)(shift, &mut chance)) == Signal::Drift;
        delays.extend((1..=watch.after).find(|_| value()));
    }
    delays.sort_unstable();
    let found = percent(delays.len() as u64, watch.streams);
    match delays.get(delays.len() / 2) {
        Some(median) => format!("{median}; {found}"),
        None => "-; 0 %".into(),
    }
}

fn percent(part: u64, all: u64) -> String {
    let share = 100.0 * part as f64 / all as f64;
    if share.fract() == 0.0 { format!("{share:.0} %") } else { format!("{share:.1} %") }
}
