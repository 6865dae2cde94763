//! The drift gate as a whole.

use modelfleet_golden::*;
use modelfleet_monitor::distance::DriftGate;

#[test]
fn verdicts_of_the_gate() {
    let v = parsed(include_str!("../../golden/vectors/gate.json"));
    for case in list(&v, "gate") {
        let got = DriftGate::default().judge(&counts(&case["reference"]), &counts(&case["current"]));
        assert_eq!(got.drift, case["drift"].as_bool(), "{case}");
        assert_eq!(u64::from(got.bins), whole(case, "bins"));
        stored(got.psi_ppm, 1e-6, float(case, "psi"));
        stored(got.p_value_ppb, 1e-9, float(case, "p"));
    }
}
