//! Measures of answers, and intervals.

use crate::data::Data;
use crate::{line, time};
use modelfleet_monitor::quality::*;
use modelfleet_number::{clopper_pearson, two_proportions, wilson};
use std::hint::black_box;

const CALLS: usize = 1_000;

/// Answers above zero count as positive.
fn confusion(data: &Data) -> Confusion {
    let mut table = Confusion::default();
    for (truth, predicted) in data.truth.iter().zip(&data.predicted) {
        match (*truth > 0, *predicted > 0) {
            (true, true) => table.true_positive += 1,
            (false, true) => table.false_positive += 1,
            (false, false) => table.true_negative += 1,
            (true, false) => table.false_negative += 1,
        }
    }
    table
}

fn often(name: &str, work: impl Fn() -> f64) {
    let ns = time(5, CALLS, || {
        for _ in 0..CALLS {
            black_box(work());
        }
    });
    line(name, ns, work());
}

pub fn run(data: &Data) {
    let mut found = [None; 5];
    let ns = time(5, 1, || {
        let t = confusion(black_box(data));
        found = [t.accuracy_ppm(), t.precision_ppm(), t.recall_ppm(), t.specificity_ppm(), t.f1_ppm()];
    });
    line("accuracy, precision, recall, specificity, F1, 100000 rows", ns, found[4].unwrap() as f64 * 1e-6);
    let mut root = 0.0;
    let ns = time(5, 1, || {
        let mut errors = RegressionErrors::default();
        for (truth, predicted) in data.truth.iter().zip(&data.predicted) {
            errors.add(*truth, *predicted);
        }
        black_box((errors.mae(), errors.mape()));
        root = errors.rmse().unwrap();
    });
    line("MAE, RMSE, MAPE, 100000 rows", ns, root);
    let profile = CalibratedBins { bins: data.calibration.clone() };
    often("CBPE, 10 bins", || profile.accuracy_ppm(black_box(&data.answers)).unwrap() as f64 * 1e-6);
    let alarm = || profile.concept_alarm(black_box(&data.answers), 880, 1_000, 20_000, 0.0005).unwrap();
    often("CBPE alarm, 1000 labels", || f64::from(u8::from(alarm().alarm)));
    often("Wilson interval", || wilson(black_box(18), 2_000, 0.95).1);
    often("Clopper-Pearson interval", || clopper_pearson(black_box(18), 2_000, 0.95).1);
    often("two-proportion z-test", || {
        two_proportions(black_box(30), 1_000, 70, 1_000, 0.05).unwrap().p_value
    });
}
