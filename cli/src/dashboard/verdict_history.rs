//! The verdicts that the dashboard has seen since it began: a status has the last one of each objective alone. A look that was
//! missed is a gap, and never a zero.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt as _;
use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::status::Verdict;

/// Verdicts that are kept of one objective; older ones are forgotten.
const KEPT_MAX: usize = 64;
/// Rollouts of which verdicts are kept.
const ROLLOUTS_MAX: usize = 2_000;

/// One verdict, as far as a chart needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When it was given.
    pub at: Timestamp,
    /// Rate of harm with the version divided by the rate without it: lower end of the interval, estimate, upper end.
    pub ratio: [f64; 3],
}

/// Verdicts by uid of the rollout, stage and objective.
#[derive(Clone, Debug, Default)]
pub struct VerdictHistory {
    seen: BTreeMap<String, BTreeMap<(String, String), Vec<Seen>>>,
}

/// The numbers of a verdict, if it has them.
#[must_use]
pub fn ratio(verdict: &Verdict) -> Option<[f64; 3]> {
    let number =
        |text: &Option<String>| text.as_ref()?.parse::<f64>().ok().filter(|number| number.is_finite());
    Some([number(&verdict.low)?, number(&verdict.estimate)?, number(&verdict.high)?])
}

fn stage(rollout: &Rollout) -> String {
    rollout.status.as_ref().and_then(|status| Some(status.stage.as_ref()?.name.clone())).unwrap_or_default()
}

impl VerdictHistory {
    /// Notes the verdicts of a rollout.
    pub fn note(&mut self, rollout: &Rollout) {
        let (Some(uid), Some(status)) = (rollout.uid(), &rollout.status) else { return };
        if status.verdicts.is_empty() || self.seen.len() >= ROLLOUTS_MAX && !self.seen.contains_key(&uid) {
            return;
        }
        let of_rollout = self.seen.entry(uid).or_default();
        for verdict in &status.verdicts {
            let (Some(at), Some(ratio)) = (&verdict.at, ratio(verdict)) else { continue };
            let seen = of_rollout.entry((stage(rollout), verdict.slo.clone())).or_default();
            if seen.last().is_none_or(|last| last.at < at.0) {
                seen.push(Seen { at: at.0, ratio });
                let excess = seen.len().saturating_sub(KEPT_MAX);
                seen.drain(..excess);
            }
        }
    }

    /// A rollout is gone.
    pub fn forget(&mut self, rollout: &Rollout) {
        if let Some(uid) = rollout.uid() {
            self.seen.remove(&uid);
        }
    }

    /// The verdicts on an objective in the stage that the rollout is in, the oldest first.
    #[must_use]
    pub fn of(&self, rollout: &Rollout, slo: &str) -> &[Seen] {
        let of_rollout = rollout.uid().and_then(|uid| self.seen.get(&uid));
        of_rollout.and_then(|seen| seen.get(&(stage(rollout), slo.to_owned()))).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_crds::{RolloutSpec, RolloutStatus};

    fn rollout(at: i64, estimate: Option<&str>) -> Rollout {
        let mut rollout = Rollout::new("r", RolloutSpec::new("m", "1.0.0"));
        rollout.metadata.uid = Some("u".into());
        let verdict = serde_json::json!({
            "slo": "errors", "verdict": "Undecided", "judgedBy": "Statistical", "estimate": estimate,
            "low": "0.5", "high": "3", "at": Timestamp::from_second(at).unwrap().to_string(),
        });
        let verdicts = vec![serde_json::from_value(verdict).unwrap()];
        rollout.status = Some(RolloutStatus { verdicts, ..RolloutStatus::default() });
        rollout
    }

    #[test]
    fn each_verdict_is_noted_once_and_one_without_numbers_is_a_gap() {
        let mut history = VerdictHistory::default();
        for (at, estimate) in [(1, Some("1.5")), (1, Some("1.5")), (2, None), (3, Some("2")), (2, Some("9"))]
        {
            history.note(&rollout(at, estimate));
        }
        let of = rollout(3, Some("2"));
        let estimates: Vec<f64> = history.of(&of, "errors").iter().map(|seen| seen.ratio[1]).collect();
        assert_eq!(estimates, [1.5, 2.0]);
        assert_eq!(history.of(&of, "other"), []);
        (4..200).for_each(|at| history.note(&rollout(at, Some("1"))));
        assert_eq!(history.of(&of, "errors").len(), KEPT_MAX);
        history.forget(&of);
        assert_eq!(history.of(&of, "errors"), []);
    }
}
