//! A Rollout as planner and simulator take it: read as the controller reads it, with what a rollout without devices needs.

use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::Slo;
use modelfleet_crds::text::BoundValue;
use modelfleet_judge::{HardRule, SilenceRule};
use modelfleet_protocol::metric::Reading;
use modelfleet_simulation::{Controls, Objective, Rule, Setup};
use modelfleet_spec::{Problem, Valid, validate};

/// All, in millionths.
const WHOLE_PPM: u32 = 1_000_000;

/// Reads a Rollout. The version that it names is not looked at: a bound relative to its baseline counts as never broken.
///
/// # Errors
/// Names the first field that cannot work, and what to do.
pub fn setup(rollout: &Rollout) -> Result<Setup, Problem> {
    let Valid { policy, objectives, warmup_windows, settling_windows, silent_after_ms, .. } =
        validate(rollout, None)?;
    let fields = rollout.spec.slos.iter().enumerate().zip(&objectives);
    let objective = |((i, slo), valid): ((usize, &Slo), &modelfleet_spec::Objective)| {
        Ok(Objective {
            name: slo.name.clone(),
            breach: valid.breach.clone(),
            limit: valid.limit.clone(),
            on_breach: valid.on_breach,
            judged_by: valid.judged_by,
            allowance_ppm: valid.allowance_ppm,
            breach_share_ppm: breach_share_ppm(&format!("spec.slos[{i}].threshold"), slo)?,
            min_samples: valid.indicator.min_samples,
            min_exposure: valid.min_exposure,
            min_events: valid.min_events,
            late_windows: valid.late_windows(policy.parts().observe.window_ms),
        })
    };
    let objectives = fields.map(objective).collect::<Result<Vec<_>, Problem>>()?;
    let silence = SilenceRule::default();
    Ok(Setup {
        parts: policy.parts().clone(),
        hard: HardRule::beside(objectives.iter().map(|o| (o.on_breach, o.judged_by)), silence),
        objectives,
        warmup_windows,
        settling_windows,
        silent_after_ms,
        silence,
        controls: Controls::All,
        rule: Rule::Judge,
        ask_always: false,
    })
}

/// The share of bad predictions beyond which the merged value breaks its bound: a P95 latency is over 500 ms when
/// more than 5 % of the requests took longer. For metrics that are no share of predictions: half of them.
fn breach_share_ppm(field: &str, slo: &Slo) -> Result<u32, Problem> {
    let share = match slo.threshold.value().map_err(|e| Problem::spec(field, e))? {
        BoundValue::Millionths(millionths) => {
            u32::try_from(millionths.clamp(0, i64::from(WHOLE_PPM))).unwrap_or(WHOLE_PPM)
        }
        BoundValue::Milliseconds(_) => 0,
    };
    Ok(match slo.metric.entry().map(|entry| entry.reading) {
        Some(Reading::Quantile { ppm }) => WHOLE_PPM - ppm,
        Some(Reading::Ratio { .. }) if slo.metric.bad_below() => WHOLE_PPM - share,
        Some(Reading::Ratio { .. }) => share,
        Some(
            Reading::Rate { .. }
            | Reading::Mean { .. }
            | Reading::RootMean { .. }
            | Reading::Distance(_)
            | Reading::Highest(_),
        )
        | None => WHOLE_PPM / 2,
    })
}

#[cfg(test)]
mod tests;
