//! Many runs in numbers. Integers only: shares in millionths, times in milliseconds.

use modelfleet_number::wilson;
use serde::Serialize;

use crate::outcome::{End, Outcome};

/// A share of the runs, with limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Runs.
    pub runs: u64,
    /// Runs in which it was so.
    pub hits: u64,
    /// The share, millionths.
    pub share_ppm: u32,
    /// Lower 95 % limit (Wilson), millionths.
    pub low_ppm: u32,
    /// Upper 95 % limit (Wilson), millionths.
    pub high_ppm: u32,
}

impl Share {
    /// `hits` of `runs`.
    #[must_use]
    pub fn of(hits: u64, runs: u64) -> Share {
        let (low, high) = wilson(hits, runs, 0.95);
        let ppm = |share: f64| libm::round(share * 1e6) as u32;
        let share = if runs == 0 { 0.0 } else { hits as f64 / runs as f64 };
        Share { runs, hits, share_ppm: ppm(share), low_ppm: ppm(low), high_ppm: ppm(high) }
    }
}

/// What a rollback of these runs means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Tested {
    /// The model changes nothing: a rollback is false.
    FalseRollback,
    /// The model does harm: a rollback is a detection.
    Detection,
}

/// Many runs in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// What a rollback means.
    pub tested: Tested,
    /// Harm was shown: the false-rollback rate, or the detection rate.
    pub harm_shown: Share,
    /// Reached the whole fleet without a person.
    pub succeeded: Share,
    /// Were paused by themselves at some time.
    pub paused: Share,
    /// Were paused for an incident at some time.
    pub incident: Share,
    /// Had a stage that was undecided at its deadline.
    pub undecided: Share,
    /// Ended waiting for a person.
    pub held: Share,
    /// Passed a stage on exposure, with too few events to rule anything out.
    pub on_exposure: Share,
    /// By stage: runs in which harm was shown there.
    pub harm_by_stage: Vec<u64>,
    /// Time from start to harm shown: median and 95 % of the runs with harm shown.
    pub detected_ms: Option<(u64, u64)>,
    /// Time from harm shown until no device in reach ran the candidate: median and 95 %.
    pub safe_after_ms: Option<(u64, u64)>,
    /// Devices that have run the candidate: median and 95 %.
    pub exposed: (u64, u64),
    /// Time from start to end: median and 95 %.
    pub duration_ms: (u64, u64),
    /// Error budget spent, parts per billion: median and 95 %.
    pub spent_ppb: (u64, u64),
}

impl Summary {
    /// Of these runs, in any order; `stages` of the rollout.
    #[must_use]
    pub fn of(tested: Tested, stages: usize, outcomes: &[Outcome]) -> Summary {
        let runs = outcomes.len() as u64;
        let share = |holds: fn(&Outcome) -> bool| {
            Share::of(outcomes.iter().filter(|o| holds(o)).count() as u64, runs)
        };
        let mut harm_by_stage = vec![0; stages];
        for outcome in outcomes.iter().filter(|o| o.detected_ms.is_some()) {
            if let Some(count) = harm_by_stage.get_mut(outcome.stage as usize) {
                *count += 1;
            }
        }
        let numbers = |of: fn(&Outcome) -> Option<u64>| spread(outcomes.iter().filter_map(of).collect());
        Summary {
            tested,
            harm_shown: share(|o| o.detected_ms.is_some()),
            succeeded: share(|o| o.end == End::Succeeded),
            paused: share(|o| o.paused),
            incident: share(|o| o.incident),
            undecided: share(|o| o.undecided),
            held: share(|o| matches!(o.end, End::Held | End::Unfinished)),
            on_exposure: share(|o| o.on_exposure > 0),
            harm_by_stage,
            detected_ms: numbers(|o| o.detected_ms),
            safe_after_ms: numbers(|o| o.safe_after_ms),
            exposed: numbers(|o| Some(o.exposed)).unwrap_or_default(),
            duration_ms: numbers(|o| Some(o.duration_ms)).unwrap_or_default(),
            spent_ppb: numbers(|o| Some(o.spent_ppb)).unwrap_or_default(),
        }
    }
}

/// Median and 95 % quantile; nothing of nothing.
fn spread(mut numbers: Vec<u64>) -> Option<(u64, u64)> {
    numbers.sort_unstable();
    let last = numbers.len().checked_sub(1)?;
    Some((numbers[last / 2], numbers[last * 19 / 20]))
}
