//! Detectors alarm and warn at the same values as River's, on the same streams.

use modelfleet_golden::*;
use modelfleet_monitor::detect::{Adwin, Ddm, Detector, Eddm, HddmA, Kswin, PageHinkley, Signal};

fn vectors() -> Value {
    parsed(include_str!("../../golden/vectors/streams.json"))
}

/// Indices of alarms and of warnings.
pub(crate) fn signals(mut detector: Box<dyn Detector>, values: &[f64]) -> (Vec<u64>, Vec<u64>) {
    let (mut alarms, mut warnings) = (Vec::new(), Vec::new());
    for (i, value) in (0..).zip(values) {
        match detector.update(*value) {
            Signal::Drift => alarms.push(i),
            Signal::Warning => warnings.push(i),
            Signal::Stable => {}
        }
    }
    (alarms, warnings)
}

fn check_numeric(number: usize, stream: &Value, values: &[f64]) {
    let check = |key: &str, detector: Box<dyn Detector>, values: &[f64]| {
        let got = signals(detector, values).0;
        assert_eq!(got, counts(&stream["alarms"][key]), "stream {number}: {key}");
    };
    check("adwin", Box::<Adwin>::default(), values);
    check("adwin_clock_1", Box::new(Adwin::new(0.01, 1)), values);
    check("page_hinkley", Box::<PageHinkley>::default(), values);
    check("page_hinkley_20", Box::new(PageHinkley::new(30, 0.1, 20.0, 1.0 - 0.0001)), values);
    check("kswin", Box::<Kswin>::default(), &values[..1200]);
}

#[test]
fn on_streams_of_numbers() {
    for (number, stream) in list(&vectors(), "numbers").iter().enumerate() {
        check_numeric(number, stream, &thousandths(&stream["milli"]));
    }
}

#[test]
fn on_streams_of_errors() {
    for (number, stream) in list(&vectors(), "errors").iter().enumerate() {
        let bits = stream["bits"].as_str().unwrap();
        let values: Vec<f64> = bits.bytes().map(|b| f64::from(b - b'0')).collect();
        check_numeric(number, stream, &values);
        let check = |key: &str, detector: Box<dyn Detector>| {
            let (alarms, warnings) = signals(detector, &values);
            assert_eq!(alarms, counts(&stream["alarms"][key]), "stream {number}: {key}");
            assert_eq!(warnings, counts(&stream["warnings"][key]), "stream {number}: {key}, warnings");
        };
        check("ddm", Box::<Ddm>::default());
        check("eddm", Box::<Eddm>::default());
        check("hddm_a", Box::<HddmA>::default());
    }
}
