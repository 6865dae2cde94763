//! One rollout: where it is, what decides next, and by which numbers.

mod next;
mod tile;

use jiff::Timestamp;
use kube::ResourceExt as _;
use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::status::{
    DecisionRecord, DeviceCounts, DeviceFailure, JudgeState, RolloutPhase, WatchProgress,
};
use modelfleet_crds::rollout::{Approval, RolloutSpec};
use modelfleet_evidence::LookPlan;
use modelfleet_spec::validate;

use crate::dashboard::figure::Figure;
use crate::dashboard::objects::Objects;
use crate::rollout_patch::is_current;

pub use tile::{Plot, Tile};

/// One rollout.
#[derive(Clone, Debug)]
pub struct RolloutPage {
    /// Its fleet.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Its phase.
    pub phase: Option<RolloutPhase>,
    /// What it waits for, or why it ended.
    pub message: String,
    /// The controller has not seen the last change of the spec.
    pub is_behind: bool,
    /// What decides next, and when.
    pub next: Vec<String>,
    /// Its stages.
    pub stages: Vec<StageStep>,
    /// How many devices are where.
    pub counts: Option<Counts>,
    /// The chance of a false rollback that is spent.
    pub budget: Option<Budget>,
    /// The watch over the version in production.
    pub watch: Option<Watch>,
    /// One for each objective.
    pub tiles: Vec<Tile>,
    /// What was decided, the newest first.
    pub decisions: Vec<DecisionRecord>,
    /// Some of the devices that failed.
    pub failures: Vec<DeviceFailure>,
    /// Conditions: type, status, reason, message.
    pub conditions: Vec<[String; 4]>,
    /// What people may do: in words, and as a command.
    pub commands: Vec<(&'static str, String)>,
}

/// A stage on the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageStep {
    /// Its name.
    pub name: String,
    /// How many devices, as the spec has it.
    pub devices: String,
    /// How long it bakes, as the spec has it.
    pub bake: String,
    /// A person has to approve it.
    pub needs_approval: bool,
    /// Where it is.
    pub state: StepState,
}

/// Where a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// It is over.
    Done,
    /// The rollout is in it.
    Current,
    /// It is still to come.
    ToCome,
    /// The version was taken back from its devices.
    TakenBack,
}

/// How many devices are where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Eligible devices.
    pub eligible: i64,
    /// Parts of the eligible ones, none of which counts twice: in words, for the style, how many.
    pub parts: Vec<(&'static str, &'static str, i64)>,
    /// All counts of the status: in words, and the number.
    pub rows: Vec<(&'static str, Figure)>,
}

/// The chance of a false rollback that is spent.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Spent.
    pub spent: Figure,
    /// In all.
    pub whole: Figure,
    /// The share of it that is spent, from 0 to 1.
    pub share: f64,
    /// Looks of the stage that were reached.
    pub looks: Figure,
    /// Looks of the stage that are planned; `None`: the spec cannot work.
    pub planned: Option<u16>,
}

/// The watch over a version in production.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Windows of the fleet that were watched.
    pub windows: Figure,
    /// How near an alarm is, in percent of the way to it.
    pub level: Figure,
    /// The same from 0 to 1.
    pub share: f64,
    /// Since when there is an alarm.
    pub alarm_since: Option<Timestamp>,
}

/// When the looks of the stage are, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// How many.
    planned: u16,
    /// Windows until the last.
    windows: u64,
    /// Length of a window, milliseconds.
    window_ms: u64,
}

impl Looks {
    fn of(rollout: &Rollout, index: i64) -> Option<Looks> {
        let valid = validate(rollout, None).ok()?;
        let index = u32::try_from(index).ok()?;
        if index as usize >= rollout.spec.stages.len() {
            return None;
        }
        let window_ms = valid.policy.parts().observe.window_ms;
        let plan = LookPlan::of(valid.policy.stage(index), window_ms);
        Some(Looks { planned: plan.planned(), windows: plan.windows(), window_ms })
    }

    /// When the look with this number, from 1, is reached at the earliest in a stage that began then.
    fn earliest(&self, began: Timestamp, look: u16) -> Timestamp {
        let windows = self.windows.saturating_mul(u64::from(look)).div_ceil(u64::from(self.planned.max(1)));
        let after = i64::try_from(windows.saturating_mul(self.window_ms)).unwrap_or(i64::MAX);
        let at = began.as_millisecond().saturating_add(after);
        Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX)
    }
}

/// A rollout; `None`: there is none of this name.
#[must_use]
pub fn rollout(objects: &Objects, namespace: &str, name: &str, now: Timestamp) -> Option<RolloutPage> {
    let rollout = objects.rollout(namespace, name)?;
    let (spec, status) = (&rollout.spec, rollout.status.clone().unwrap_or_default());
    let index = status.stage.as_ref().map(|stage| stage.index);
    let looks = index.and_then(|index| Looks::of(rollout, index));
    let mut decisions = status.decisions.clone();
    decisions.reverse();
    let condition = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        [c.type_.clone(), c.status.clone(), c.reason.clone(), c.message.clone()]
    };
    Some(RolloutPage {
        namespace: namespace.to_owned(),
        name: rollout.name_any(),
        model: spec.model.clone(),
        version: spec.version.clone(),
        phase: status.phase,
        message: status
            .message
            .clone()
            .unwrap_or_else(|| "The controller has not seen this rollout yet. Is it running?".to_owned()),
        is_behind: rollout.status.is_some() && !is_current(rollout),
        next: next::next(rollout, looks.as_ref(), now),
        stages: steps(spec, index, status.phase),
        counts: status.counts.as_ref().map(counts),
        budget: status.judge.as_ref().map(|judge| budget(judge, looks.as_ref())),
        watch: status.watch.as_ref().map(watch),
        tiles: tile::tiles(rollout, &objects.verdicts, looks.as_ref(), now),
        decisions,
        failures: status.failures.clone(),
        conditions: status.conditions.iter().map(condition).collect(),
        commands: commands(rollout),
    })
}

fn steps(spec: &RolloutSpec, current: Option<i64>, phase: Option<RolloutPhase>) -> Vec<StageStep> {
    let state = |at: i64| match (current, phase) {
        (None, _) => StepState::ToCome,
        (Some(_), Some(RolloutPhase::Succeeded)) => StepState::Done,
        (Some(current), Some(RolloutPhase::RolledBack | RolloutPhase::RollingBack)) if at <= current => {
            StepState::TakenBack
        }
        (Some(current), _) if at < current => StepState::Done,
        (Some(current), _) if at == current => StepState::Current,
        _ => StepState::ToCome,
    };
    let step = |(at, stage): (i64, &modelfleet_crds::rollout::Stage)| StageStep {
        name: stage.name.clone(),
        devices: stage.devices.as_str().to_owned(),
        bake: stage.bake.as_str().to_owned(),
        needs_approval: stage.approval == Approval::Required,
        state: state(at),
    };
    (0..).zip(&spec.stages).map(step).collect()
}

fn counts(counts: &DeviceCounts) -> Counts {
    let DeviceCounts {
        eligible,
        reachable,
        offered,
        downloaded,
        activated,
        confirmed,
        failed,
        incompatible,
        own_trouble,
        silent_after_activation,
        unreachable,
    } = *counts;
    // A device that failed does not run the version; so the parts do not overlap.
    let confirmed_part = confirmed.min(eligible);
    let probation = (activated - confirmed_part).clamp(0, eligible - confirmed_part);
    let failed_part = failed.clamp(0, eligible - confirmed_part - probation);
    let under_way = eligible - confirmed_part - probation - failed_part;
    let row = |what, field: &str, count| (what, Figure::count(&format!("/status/counts/{field}"), count));
    Counts {
        eligible,
        parts: vec![
            ("confirmed", "good", confirmed_part),
            ("on probation", "wait", probation),
            ("failed", "bad", failed_part),
            ("not running it yet", "none", under_way),
        ],
        rows: vec![
            row("eligible: selected so far, and can run it", "eligible", eligible),
            row("reachable now", "reachable", reachable),
            row("not reachable", "unreachable", unreachable),
            row("have received the plan", "offered", offered),
            row("have downloaded it", "downloaded", downloaded),
            row("run it", "activated", activated),
            row("run it and have passed probation", "confirmed", confirmed),
            row("failed with it", "failed", failed),
            row("silent since they activated it", "silentAfterActivation", silent_after_activation),
            row("cannot run it (no failure)", "incompatible", incompatible),
            row("have trouble of their own (no failure)", "ownTrouble", own_trouble),
        ],
    }
}

fn budget(judge: &JudgeState, looks: Option<&Looks>) -> Budget {
    let share = judge.spent_ppm as f64 / judge.error_budget_ppm.max(1) as f64;
    Budget {
        spent: Figure::ppm("/status/judge/spentPpm", judge.spent_ppm),
        whole: Figure::ppm("/status/judge/errorBudgetPpm", judge.error_budget_ppm),
        share: share.clamp(0.0, 1.0),
        looks: Figure::count("/status/judge/looks", judge.looks),
        planned: looks.map(|looks| looks.planned),
    }
}

fn watch(watch: &WatchProgress) -> Watch {
    Watch {
        windows: Figure::count("/status/watch/windows", watch.windows),
        level: Figure::count("/status/watch/levelPercent", watch.level_percent),
        share: watch.level_percent.clamp(0, 100) as f64 / 100.0,
        alarm_since: watch.alarm_since.as_ref().map(|since| since.0),
    }
}

fn commands(rollout: &Rollout) -> Vec<(&'static str, String)> {
    let (name, namespace) = (rollout.name_any(), rollout.namespace().unwrap_or_default());
    let command = |verb: &str| format!("kubectl modelfleet {verb} {name} -n {namespace}");
    let mut commands = vec![
        ("See this in the terminal", command("status")),
        ("Have each number explained", command("explain")),
    ];
    let phase = rollout.status.as_ref().and_then(|status| status.phase);
    match phase {
        Some(RolloutPhase::Paused) => commands.push(("Let it go on", command("resume"))),
        Some(RolloutPhase::AwaitingApproval) => commands.push(("Approve the next stage", command("promote"))),
        Some(RolloutPhase::RolledBack | RolloutPhase::Stalled) => {
            commands.push(("Try it again", command("retry")));
        }
        _ => {}
    }
    let ended = matches!(phase, Some(RolloutPhase::Succeeded | RolloutPhase::RolledBack));
    if !ended && phase != Some(RolloutPhase::Paused) {
        commands.push(("Hold it where it is", command("pause")));
    }
    if !matches!(phase, Some(RolloutPhase::RolledBack)) {
        commands.push(("Take the version back from every device", command("abort")));
    }
    commands
}

#[cfg(test)]
mod tests;
