//! From which window on each device's windows count, and which planned look is reached.

use std::collections::BTreeMap;

use modelfleet_judge as judge;
use modelfleet_judge::{Arm, SloCounts};
use modelfleet_protocol::time::Time;

use super::{Question, number};
use modelfleet_fleet::future_windows::is_ahead;
use modelfleet_fleet::view::Subject;

/// Planned looks of a stage.
const LOOKS_MAX: u64 = 6;

/// From which window on each subject's windows count.
pub(super) struct Starts {
    /// First whole window after the stage opened, warm-up included.
    pub(super) stage_first: u64,
    /// One for each subject.
    first: Vec<u64>,
    window_ms: u64,
}

impl Starts {
    /// A canary's windows count from its activation and warm-up on. Each control takes the start of a canary of its
    /// stratum, so that both arms have the same exposure and the same hours of the day.
    pub(super) fn of(question: &Question<'_>, seed: u64) -> Starts {
        let window_ms = question.valid.policy.parts().observe.window_ms.max(1);
        let opened = question.state.stage_opened_at.unwrap_or(Time::ZERO);
        let after = |at: Time| at.0.div_ceil(window_ms).saturating_add(question.valid.warmup_windows);
        let stage_first = after(opened);
        let mut canaries: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
        let running = |s: &&Subject<'_>| s.arm == Arm::Canary && s.standing.runs && !s.standing.set_aside;
        // One whose clock is ahead starts by its own clock; no control takes a start that has not come.
        let came = |s: &&Subject<'_>| !is_ahead(s.activated, question.now, window_ms);
        for s in question.subjects.iter().filter(running).filter(came) {
            canaries.entry(s.stratum).or_default().push(after(s.activated.max(opened)));
        }
        canaries.values_mut().for_each(|starts| starts.sort_unstable());
        let start = |s: &Subject<'_>| match s.arm {
            Arm::Canary => after(s.activated.max(opened)),
            Arm::Control => {
                let starts = canaries.get(&s.stratum).map_or(&[][..], Vec::as_slice);
                judge::matched_start_sorted(seed, number(s.id), starts).unwrap_or(stage_first)
            }
        };
        Starts { stage_first, first: question.subjects.iter().map(start).collect(), window_ms }
    }

    /// Counts of all subjects, `rules` for each.
    pub(super) fn counts(&self, question: &Question<'_>, rules: usize) -> Vec<SloCounts> {
        let mut counts = Vec::with_capacity(question.subjects.len() * rules);
        for (subject, &first) in question.subjects.iter().zip(&self.first) {
            counts.extend((0..rules).map(|slo| SloCounts {
                history: subject.past(slo, question.counting),
                post: subject.since(slo, first, question.counting),
            }));
        }
        counts
    }

    /// Looks are planned evenly over the windows of the bake time (and at least those that a device needs), and
    /// reached when half of the running canaries have reported so many windows; of canaries that are `quiet`
    /// ([`judge::gone_quiet`]) the windows that have passed count.
    pub(super) fn looks(&self, question: &Question<'_>, quiet: bool) -> judge::Looks {
        let stage = question.valid.policy.stage(question.state.stage);
        let windows = stage.bake_ms.div_ceil(self.window_ms).max(u64::from(stage.limits.min_windows)).max(1);
        let planned = windows.min(LOOKS_MAX);
        let running = question.subjects.iter().zip(&self.first);
        let running = running.filter(|(s, _)| s.standing.runs && !s.standing.set_aside);
        let end = |s: &Subject<'_>| s.counted(question.counting).map_or(0, |report| report.windows.end());
        let passed = if quiet { question.now.0 / self.window_ms } else { 0 };
        let reported = |(s, first): (&Subject<'_>, &u64)| end(s).max(passed).saturating_sub(*first);
        let mut seen: Vec<u64> = running.map(reported).collect();
        seen.sort_unstable();
        let half = seen.get(seen.len() / 2).copied().unwrap_or(0);
        let reached = half.saturating_mul(planned) / windows;
        let short = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
        judge::Looks { reached: short(reached), planned: short(planned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::Recording;
    use modelfleet_crds::{Rollout, RolloutSpec};
    use modelfleet_fleet::view::Standing;
    use modelfleet_fleet::windows::Counting;
    use modelfleet_judge::StageState;
    use modelfleet_protocol::ids::DeviceId;
    use modelfleet_rollout::State;

    const OPENED: Time = Time(1_000_000_000_000);

    fn subject(id: &DeviceId, arm: Arm, activated: Time) -> Subject<'_> {
        let standing = Standing {
            member: arm == Arm::Canary,
            set_aside: false,
            matching: true,
            online: true,
            runs: arm == Arm::Canary,
            stays: false,
            phase: None,
            code: None,
            incompatible: false,
            heard: true,
            heard_at: OPENED,
            confirmed: true,
            unasked: false,
        };
        Subject { id, arm, stratum: 0, labels: 0, standing, activated, report: None }
    }

    #[test]
    fn a_canary_whose_clock_is_ahead_moves_the_start_of_no_other_device() {
        let mut rollout = Rollout::new("r", RolloutSpec::new("m", "1.0.0"));
        rollout.metadata.uid = Some("u".into());
        let valid = modelfleet_spec::validate(&rollout, None).unwrap();
        let window_ms = valid.policy.parts().observe.window_ms;
        let state = State { stage_opened_at: Some(OPENED), ..State::default() };
        let ids: Vec<DeviceId> = (0..40).map(|i| format!("d{i:02}").parse().unwrap()).collect();
        let starts = |forged: Option<Time>| {
            let canary = |id, activated| subject(id, Arm::Canary, activated);
            let honest = ids[1..20].iter().map(|id| canary(id, OPENED.after_ms(window_ms)));
            let controls = ids[20..].iter().map(|id| subject(id, Arm::Control, Time::ZERO));
            let first = forged.map(|at| canary(&ids[0], at));
            let subjects: Vec<Subject<'_>> = first.into_iter().chain(honest).chain(controls).collect();
            let question = Question {
                valid: &valid,
                state: &state,
                before: &StageState::default(),
                counting: Counting { observe_id: 1, window_ms },
                profile: None,
                subjects: &subjects,
                samples: None,
                fleet: None,
                recording: Recording::Off,
                now: OPENED.after_ms(3 * window_ms),
            };
            let Starts { first, .. } = Starts::of(&question, 7);
            first[usize::from(forged.is_some())..].to_vec()
        };
        let alone = starts(None);
        for ahead in [6, 1_000, u64::MAX / window_ms - OPENED.0] {
            assert_eq!(
                starts(Some(OPENED.after_ms(ahead.saturating_mul(window_ms)))),
                alone,
                "{ahead} windows"
            );
        }
    }
}
