//! Running moments and control charts.

use crate::streams::signals;
use modelfleet_golden::*;
use modelfleet_monitor::detect::{Cusum, Detector, Ewma, Welford, ZScore};

fn vectors() -> Value {
    parsed(include_str!("../../golden/vectors/charts.json"))
}

fn run(values: &[f64]) -> Welford {
    let mut welford = Welford::default();
    values.iter().for_each(|v| welford.update(*v));
    welford
}

#[test]
fn moments() {
    for case in list(&vectors(), "moments") {
        let values = floats(&case["values"]);
        let (left, right) = values.split_at(whole(case, "cut") as usize);
        for welford in [run(&values), run(left).merge(&run(right))] {
            assert_eq!(welford.count(), values.len() as u64);
            near(welford.mean(), &case["mean"], EXACT);
            near(welford.variance(), &case["variance"], EXACT);
        }
    }
}

#[test]
fn alarms() {
    for (number, stream) in list(&vectors(), "streams").iter().enumerate() {
        let values = thousandths(&stream["milli"]);
        let check = |key: &str, detector: Box<dyn Detector>| {
            assert_eq!(signals(detector, &values).0, counts(&stream[key]), "stream {number}: {key}");
        };
        check("z_score", Box::<ZScore>::default());
        check("z_score_2_10", Box::new(ZScore::new(2.0, 10)));
        check("ewma", Box::<Ewma>::default());
        check("ewma_0.05_2.5_50", Box::new(Ewma::new(0.05, 2.5, 50)));
        check("cusum", Box::<Cusum>::default());
        check("cusum_0.25_5_50", Box::new(Cusum::new(0.25, 5.0, 50)));
    }
}
