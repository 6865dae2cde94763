//! Detectors, per value.

use crate::data::Data;
use crate::{line, time};
use modelfleet_monitor::detect::*;
use std::hint::black_box;

fn detector<D: Detector + Clone>(name: &str, fresh: &D, values: &[f64]) {
    let mut alarms = 0_u32;
    let ns = time(3, values.len(), || {
        let mut detector = fresh.clone();
        alarms = 0;
        for &value in values {
            alarms += u32::from(detector.update(black_box(value)) == Signal::Drift);
        }
    });
    line(name, ns, f64::from(alarms));
}

pub fn run(data: &Data) {
    let mut variance = 0.0;
    let ns = time(3, data.normals.len(), || {
        let mut welford = Welford::default();
        for &value in &data.normals {
            welford.update(black_box(value));
        }
        variance = welford.variance();
    });
    line("Welford", ns, variance);
    detector("z-score", &ZScore::default(), &data.normals);
    detector("EWMA chart", &Ewma::default(), &data.normals);
    detector("CUSUM chart", &Cusum::default(), &data.normals);
    detector("Page-Hinkley", &PageHinkley::default(), &data.normals);
    detector("ADWIN", &Adwin::default(), &data.normals);
    detector("KSWIN", &Kswin::default(), &data.normals[..4_000]);
    detector("DDM", &Ddm::default(), &data.errors);
    detector("EDDM", &Eddm::default(), &data.errors);
    detector("HDDM-A", &HddmA::default(), &data.errors);
}
