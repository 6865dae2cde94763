//! A report that is read can be merged and judged without a panic.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_protocol::metric::Metric;
use modelfleet_protocol::report;
use modelfleet_protocol::window::WindowSummary;

fuzz_target!(|bytes: &[u8]| {
    let (ns, id, model) = ("a".parse(), "pump-001".parse(), "m".parse());
    let (ns, id, model) = (ns.expect("a name"), id.expect("a name"), model.expect("a name"));
    if let Ok(read) = report::read(&ns, &id, &model, bytes) {
        let mut all = WindowSummary::default();
        for window in &read.windows {
            all.merge(&WindowSummary::from(window));
        }
        for metric in [Metric::ErrorRate, Metric::LatencyP95, Metric::Accuracy, Metric::Availability] {
            let _ = all.value(metric, None, None);
        }
    }
});
