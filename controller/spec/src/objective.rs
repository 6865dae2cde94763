//! The objectives of a spec: what devices count, and what the judge makes of it.

use modelfleet_crds::rollout::{BreachAction, JudgedBy as JudgedByField, RelativeTo, Slo};
use modelfleet_crds::text::BoundValue;
use modelfleet_crds::{ModelVersionSpec, RolloutSpec};
use modelfleet_judge::{JudgedBy, OnBreach, YearlyLimit};
use modelfleet_protocol::metric::{Metric, Needs, Unit};
use modelfleet_protocol::observe::Indicator;

use crate::Problem;
use crate::breach_words;
use crate::{duration, percent};

/// A year of 365 days, as metrics have it, milliseconds.
const YEAR_MS: u64 = 365 * 24 * 3_600_000;

/// One objective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objective {
    /// What devices count.
    pub indicator: Indicator,
    /// What a breach does.
    pub on_breach: OnBreach,
    /// What proves a breach.
    pub judged_by: JudgedBy,
    /// Share of device-windows that may be beyond the bound, millionths.
    pub allowance_ppm: u32,
    /// Windows of devices with the version that a stage needs before it passes on exposure.
    pub min_exposure: u64,
    /// Windows beyond the bound that it needs before, of all devices.
    pub min_events: u64,
    /// How long after a prediction its label is known, milliseconds.
    pub label_delay_ms: u64,
    /// For people: what is wrong when it is broken.
    pub breach: String,
    /// For people: the bound with its unit.
    pub limit: String,
}

pub(super) fn objectives(
    spec: &RolloutSpec,
    window_ms: u64,
    version: Option<&ModelVersionSpec>,
) -> Result<Vec<Objective>, Problem> {
    let slos = spec.slos.iter().enumerate();
    slos.map(|(i, slo)| objective(&format!("spec.slos[{i}]"), slo, window_ms, version)).collect()
}

fn objective(
    at: &str,
    slo: &Slo,
    window_ms: u64,
    version: Option<&ModelVersionSpec>,
) -> Result<Objective, Problem> {
    if let Some(version) = version {
        can_be_measured(at, slo, version)?;
    }
    let indicator = Indicator {
        name: slo.name.clone(),
        metric: slo.metric,
        feature: slo.feature.clone(),
        threshold: threshold(at, slo, version)?,
        min_samples: u64::try_from(slo.min_samples).unwrap_or(1),
    };
    Ok(Objective {
        breach: breach_words::breach(&indicator),
        limit: breach_words::limit(&indicator),
        on_breach: match slo.on_breach {
            BreachAction::RollBack => OnBreach::RollBack,
            BreachAction::Pause => OnBreach::Pause,
            BreachAction::Observe => OnBreach::Observe,
        },
        judged_by: match slo.judged_by {
            JudgedByField::Statistical => JudgedBy::Statistical,
            JudgedByField::Poisson => JudgedBy::Poisson(by_year(at, &indicator, window_ms)?),
            JudgedByField::Plain => {
                JudgedBy::Plain { for_windows: u32::try_from(slo.for_windows).unwrap_or(u32::MAX) }
            }
        },
        allowance_ppm: percent(&format!("{at}.allowance"), &slo.allowance)?,
        min_exposure: count(slo.min_exposure),
        min_events: count(slo.min_events),
        label_delay_ms: match &slo.label_delay {
            Some(text) => duration(&format!("{at}.labelDelay"), text)?,
            None => 0,
        },
        indicator,
    })
}

/// Windows so long that an event is expected in every second of them at the limit cannot tell it: one bad window would be no
/// more than what the limit allows.
fn by_year(at: &str, indicator: &Indicator, window_ms: u64) -> Result<YearlyLimit, Problem> {
    if indicator.metric.unit() != Unit::PerYear {
        return Err(Problem::spec(
            format!("{at}.judgedBy"),
            "Poisson is for metrics by year, such as FalsePositivesPerYear; use Statistical or Plain",
        ));
    }
    let limit = YearlyLimit { per_year_milli: indicator.threshold / 1_000, window_ms };
    if limit.per_year_milli == 0 {
        return Err(Problem::spec(
            format!("{at}.threshold"),
            "must be at least 0.001 a year with judgedBy: Poisson",
        ));
    }
    let most_ms = YEAR_MS.saturating_mul(1_000) / limit.per_year_milli / 2;
    if window_ms > most_ms {
        return Err(Problem::spec(
            format!("{at}.judgedBy"),
            format!(
                "Poisson needs windows in which an event is rare at the limit; make spec.observe.window {} s or shorter",
                most_ms / 1_000
            ),
        ));
    }
    Ok(limit)
}

/// Nothing asked for is none needed.
fn count(asked: Option<i64>) -> u64 {
    asked.and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
}

impl Objective {
    /// Windows of this length after one until the truth about it is known.
    #[must_use]
    pub fn late_windows(&self, window_ms: u64) -> u64 {
        self.label_delay_ms.div_ceil(window_ms.max(1))
    }
}

fn tells_confidence(version: &ModelVersionSpec) -> bool {
    let decision = version.pipeline.as_ref().and_then(|p| p.decision.as_ref());
    decision.is_some_and(|d| d.confidence.is_some())
}

/// Refuses what no device can measure for this version, before the first device waits for it.
fn can_be_measured(at: &str, slo: &Slo, version: &ModelVersionSpec) -> Result<(), Problem> {
    let name = format!("{} {}", version.model, version.version);
    let metric = slo.metric.name();
    let refuse = |what: String| Err(Problem::spec(format!("{at}.metric"), what));
    let baseline = version.baseline.as_ref();
    let features = baseline.map_or(&[][..], |b| &b.features);
    match slo.metric.needs() {
        _ if slo.metric.entry().is_none() => {
            refuse("names a metric that this controller does not know; update the controller".to_owned())
        }
        _ if slo.metric == Metric::ShadowAgreement => refuse(format!(
            "{metric} is measured in stages with mode Shadow only, so a rollout with this objective would wait in its live stages; \
                 remove the objective, and look at the metric in Prometheus or with kubectl modelfleet report"
        )),
        Needs::Profile => {
            let binned: Vec<&str> =
                features.iter().filter(|f| !f.edges.is_empty()).map(|f| f.name.as_str()).collect();
            if binned.is_empty() {
                return refuse(format!(
                    "{metric} needs a reference profile, and the baseline of {name} has none; register the version \
                     with training rows, or remove the objective"
                ));
            }
            match &slo.feature {
                Some(feature) if !binned.contains(&feature.as_str()) => Err(Problem::spec(
                    format!("{at}.feature"),
                    format!(
                        "{feature:?} is not in the reference profile of {name}; name one of: {}",
                        binned.join(", ")
                    ),
                )),
                _ => Ok(()),
            }
        }
        Needs::Ranges if features.iter().all(|f| f.expected_min.is_none() && f.expected_max.is_none()) => {
            refuse(format!(
                "{metric} needs expected ranges, and the baseline of {name} has none; add expectedMin or expectedMax to \
                 the version's baseline.features, or remove the objective"
            ))
        }
        Needs::Confidence if baseline.is_none_or(|b| b.confidence.is_none()) => refuse(format!(
            "{metric} needs baseline.confidence, which {name} does not have; add it to the version, or remove the \
                 objective"
        )),
        Needs::Confidence if !tells_confidence(version) => refuse(format!(
            "{metric} needs pipeline.decision.confidence, which {name} does not have; add it to the version, or \
                 remove the objective"
        )),
        Needs::Truth if slo.metric.is_error_of_numbers() => Ok(()),
        Needs::Truth if version.pipeline.as_ref().is_none_or(|p| p.decision.is_none()) => refuse(format!(
            "{metric} needs pipeline.decision, which says when an answer is positive, and {name} does not have it; add it \
                 to the version, or remove the objective"
        )),
        Needs::Nothing | Needs::Ranges | Needs::Confidence | Needs::Truth => Ok(()),
    }
}

fn threshold(at: &str, slo: &Slo, version: Option<&ModelVersionSpec>) -> Result<u64, Problem> {
    let path = format!("{at}.threshold");
    let bound = slo.threshold.value().map_err(|e| Problem::spec(&path, e))?;
    match (slo.relative_to, bound) {
        (RelativeTo::None, BoundValue::Milliseconds(ms)) if slo.metric.is_duration() => {
            Ok(unsigned(ms).saturating_mul(1_000_000))
        }
        (RelativeTo::None, BoundValue::Millionths(millionths)) if !slo.metric.is_duration() => {
            Ok(unsigned(millionths))
        }
        (RelativeTo::Baseline, BoundValue::Millionths(share)) => {
            let Some(version) = version else { return Ok(0) };
            let value = baseline(&format!("{at}.relativeTo"), slo, version)?;
            // A baseline latency is in milliseconds: a millionth of one is a nanosecond.
            let product = u128::from(unsigned(value)) * u128::from(unsigned(share)) / 1_000_000;
            Ok(u64::try_from(product).unwrap_or(u64::MAX))
        }
        (_, BoundValue::Milliseconds(_)) => {
            Err(Problem::spec(path, "must be a percentage or a decimal number, such as 1% or 0.2"))
        }
        (_, BoundValue::Millionths(_)) => Err(Problem::spec(path, "must be a duration, such as 500ms")),
    }
}

fn baseline(field: &str, slo: &Slo, version: &ModelVersionSpec) -> Result<i64, Problem> {
    let metrics = version.baseline.as_ref().map_or(&[][..], |b| &b.metrics);
    let Some(metric) = metrics.iter().find(|m| m.name == slo.metric) else {
        let what = format!(
            "the baseline of {} {} has no {:?}; add it to the version, or set threshold to the limit itself and relativeTo: None",
            version.model, version.version, slo.metric
        );
        return Err(Problem::spec(field, what));
    };
    metric.value.millionths().map_err(|e| Problem::spec(field, e))
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
