//! The objectives of a rollout that names none: those that need neither ground truth nor a baseline.

use super::slo::{
    BreachAction, JudgedBy, RelativeTo, Slo, default_allowance, default_for_windows, default_min_samples,
};
use crate::metric::Metric;
use crate::text::Bound;

/// Errors, timeouts, latency and availability.
#[must_use]
pub fn default_slos() -> Vec<Slo> {
    vec![
        slo("error-rate", Metric::ErrorRate, "1%"),
        slo("timeout-rate", Metric::TimeoutRate, "1%"),
        slo("latency-p95", Metric::LatencyP95, "500ms"),
        slo("availability", Metric::Availability, "99.9%"),
    ]
}

fn slo(name: &str, metric: Metric, threshold: &str) -> Slo {
    Slo {
        name: name.to_owned(),
        metric,
        feature: None,
        threshold: Bound::from(threshold),
        relative_to: RelativeTo::default(),
        allowance: default_allowance(),
        on_breach: BreachAction::default(),
        judged_by: JudgedBy::default(),
        for_windows: default_for_windows(),
        label_delay: None,
        min_samples: default_min_samples(),
        min_exposure: None,
        min_events: None,
    }
}
