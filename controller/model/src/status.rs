//! State and reasons as the status shows them. No client.

pub mod bounded;
pub mod conditions;
pub mod event_sinks;
pub mod fleet_conditions;
pub mod membership;
pub mod memory;
pub mod problem;
pub mod time;
pub mod trust;
pub mod verdicts;
pub mod watch;

use modelfleet_crds::rollout::RolloutStatus;
use modelfleet_crds::rollout::status as field;
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::plan::Order;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{EventKind, FleetView, LogEntry, PauseCause, Phase, Reason, State, clip};

use crate::assess::Answer;
use crate::restore::RESTORED;
use crate::watch::Watched;
use conditions::NewCondition;
use memory::Memory;
use modelfleet_fleet::left_out::Omitted;
use modelfleet_fleet::other_plan::OtherPlan;
use modelfleet_fleet::view::FailedDevice;
use modelfleet_fleet::wrong_clocks::WrongClocks;
use modelfleet_spec::Valid;
use time::{cut, signed, to_k8s};
use trust::TrustReading;

const MESSAGE_MAX: usize = 512;
const LOG_MESSAGE_MAX: usize = 200;

/// What a status is made of.
pub struct StatusInputs<'a> {
    /// The spec.
    pub valid: &'a Valid,
    /// How far the rollout got, and what the judge keeps.
    pub memory: &'a Memory,
    /// Who was drawn.
    pub membership: &'a Membership,
    /// Why nothing else happens.
    pub reasons: &'a [Reason],
    /// The counts, when the fleet was looked at.
    pub fleet: Option<FleetNumbers<'a>>,
    /// The judge's answer, when it was asked.
    pub answer: Option<&'a Answer>,
    /// What the watch says, when the version is in production and was looked at.
    pub watched: Option<&'a Watched>,
    /// The plan that goes out with this status.
    pub plan: Option<(u64, u64)>,
    /// It came back without its status, and its mark says that it has ended.
    pub restored: bool,
    /// The object's generation.
    pub generation: Option<i64>,
    /// Now.
    pub now: Time,
}

/// What was seen of the fleet.
#[derive(Clone, Copy)]
pub struct FleetNumbers<'a> {
    /// Counts.
    pub view: &'a FleetView,
    /// Devices that the rollout is for.
    pub eligible: u64,
    /// Those of them that are connected.
    pub online: u64,
    /// Some failed devices.
    pub failures: &'a [FailedDevice],
    /// Devices of the fleet whose state cannot be taken.
    pub omitted: &'a Omitted,
    /// Order and lifetime of the newest plan.
    pub plan_order: Option<Order>,
    /// Devices of the fleet whose clocks are wrong.
    pub wrong_clocks: &'a WrongClocks,
    /// Connected devices that hold another plan than the newest.
    pub other_plan: &'a OtherPlan,
    /// The trust document that counts, and how many devices hold it.
    pub trust: &'a TrustReading,
}

/// What the status remembers; a rollout without a readable status has not been looked at.
#[must_use]
pub fn recall(status: Option<&RolloutStatus>) -> (Memory, Option<Membership>) {
    let Some(status) = status else { return (Memory::default(), None) };
    let text = status.judge.as_ref().map_or("", |judge| &judge.state);
    let memory = Memory::read(text, &status.decisions, status.way_back.as_deref()).unwrap_or_default();
    (memory, status.membership.as_ref().and_then(membership::from_field))
}

/// The status for `inputs`, in place of `before`.
#[must_use]
pub fn status_from(inputs: &StatusInputs<'_>, before: Option<&RolloutStatus>) -> RolloutStatus {
    let empty = RolloutStatus::default();
    let before = before.unwrap_or(&empty);
    let state = &inputs.memory.state;
    let policy = &inputs.valid.policy;
    let stage = policy.stage(state.stage);
    let begun = state.stage_opened_at.is_some();
    let mut conditions =
        conditions::new_conditions(modelfleet_rollout::conditions(policy, state, inputs.reasons));
    conditions.extend(fleet_conditions::new_conditions(
        inputs.fleet.as_ref(),
        &before.conditions,
        inputs.now,
    ));
    conditions.extend(restored(inputs, before));
    conditions.extend(watch::condition(inputs, &before.conditions));
    let stage_name = |clause: usize| policy.stage(u32::try_from(clause).unwrap_or(0)).name.clone();
    let judged = inputs.answer.map(|answer| &answer.assessment);
    let values = inputs.answer.map_or(&[][..], |answer| &answer.values.objectives);
    let now = inputs.now;
    RolloutStatus {
        observed_generation: inputs.generation,
        phase: Some(phase(state.phase)),
        message: Some(clip(&message(state, inputs.reasons), MESSAGE_MAX)),
        stage: begun.then(|| field::StageProgress {
            name: stage.name.clone(),
            index: i64::from(state.stage.min(policy.last_stage())),
            started_at: state.stage_opened_at.map(to_k8s),
            bake_ends_at: state.clock.reaches(stage.bake_ms).map(to_k8s),
            deadline_at: state.clock.reaches(stage.bake_ms.saturating_add(stage.max_wait_ms)).map(to_k8s),
        }),
        stage_summary: begun.then(|| {
            format!("{}/{} {}", state.stage.min(policy.last_stage()) + 1, policy.stage_count(), stage.name)
        }),
        updated: updated(inputs, before),
        verdict_summary: verdict_summary(inputs, before),
        counts: inputs.fleet.map(counts).or(before.counts),
        trust: inputs.fleet.map_or(before.trust.clone(), |seen| seen.trust.field()),
        membership: (!inputs.membership.salt.is_empty())
            .then(|| membership::to_field(inputs.membership, stage_name)),
        judge: Some(judge(inputs, before)),
        verdicts: match judged {
            Some(judged) => verdicts::verdicts(inputs.valid, judged, values, &before.verdicts, now),
            None => before.verdicts.clone(),
        },
        decisions: state.log.iter().map(decision).collect(),
        failures: failures(inputs, before),
        margins: verdicts::margins(inputs.valid, state.stage, judged, &before.margins),
        way_back: memory::way_back(&state.prior),
        rollback: rollback(inputs, before),
        watch: watch::progress(inputs, before.watch.as_ref()),
        figures: figures(state),
        plan_revision: inputs.plan.map(|(_, revision)| signed(revision)).or(before.plan_revision),
        epoch: inputs.plan.map(|(epoch, _)| signed(epoch)).or(before.epoch),
        // The controller's shell tells, and notes it here.
        telling: before.telling.clone(),
        started_at: state.started_at.map(to_k8s),
        finished_at: state.figures.ended_at.map(to_k8s),
        retry_token: state.retry_token.as_deref().map(|token| cut(token, 64)),
        conditions: conditions::to_fields(conditions, &before.conditions, inputs.generation, now),
    }
}

/// Said of a rollout that came back without its status, for as long as it stays at its end.
fn restored(inputs: &StatusInputs<'_>, before: &RolloutStatus) -> Option<NewCondition> {
    let told = before.conditions.iter().any(|c| c.type_ == RESTORED && c.status == "True");
    let ended = inputs.memory.state.phase.is_terminal();
    (ended && (told || inputs.restored)).then(|| NewCondition {
        kind: RESTORED,
        holds: true,
        reason: "StatusLost".to_owned(),
        message: "This rollout was applied again without its status. It does not run again, because its annotation \
                  modelfleet.io/ended says that it had ended."
            .to_owned(),
    })
}

fn phase(phase: Phase) -> field::RolloutPhase {
    use field::RolloutPhase as P;
    match phase {
        Phase::Queued => P::Queued,
        Phase::Progressing => P::Progressing,
        Phase::AwaitingApproval => P::AwaitingApproval,
        Phase::Paused(
            PauseCause::User | PauseCause::Incident | PauseCause::SloBreach | PauseCause::ContactLost,
        ) => P::Paused,
        Phase::Paused(_) | Phase::Refused => P::Stalled,
        Phase::RollingBack => P::RollingBack,
        Phase::RolledBack => P::RolledBack,
        Phase::Succeeded => P::Succeeded,
    }
}

fn message(state: &State, reasons: &[Reason]) -> String {
    let first = reasons.first().map(|r| r.message.clone());
    let ended = || state.log.back().map(|entry| entry.message.clone());
    first.or_else(ended).unwrap_or_default()
}

fn updated(inputs: &StatusInputs<'_>, before: &RolloutStatus) -> Option<String> {
    let seen = inputs.fleet.map(|s| format!("{}/{}", s.view.activated, s.eligible));
    seen.or_else(|| before.updated.clone())
}

fn verdict_summary(inputs: &StatusInputs<'_>, before: &RolloutStatus) -> Option<String> {
    if inputs.memory.state.harm.is_some() {
        return Some("Degraded".to_owned());
    }
    let Some(answer) = inputs.answer else { return before.verdict_summary.clone() };
    Some(match answer.evidence.verdict {
        _ if answer.evidence.incident.is_some() => "Incident".to_owned(),
        verdict => format!("{verdict:?}"),
    })
}

fn counts(seen: FleetNumbers<'_>) -> field::DeviceCounts {
    let view = seen.view;
    field::DeviceCounts {
        eligible: signed(seen.eligible),
        reachable: signed(seen.online),
        offered: signed(view.members),
        downloaded: signed(view.downloaded),
        activated: signed(view.activated),
        confirmed: signed(view.confirmed),
        failed: signed(view.failed),
        incompatible: signed(view.incompatible),
        own_trouble: signed(view.own_trouble),
        silent_after_activation: signed(view.silent_after_activation),
        unreachable: signed(view.unreachable),
    }
}

fn judge(inputs: &StatusInputs<'_>, before: &RolloutStatus) -> field::JudgeState {
    let state = &inputs.memory.state;
    let stage_ppb = inputs.answer.map_or(0, |answer| answer.evidence.spent_ppb);
    let spent_ppm = signed(state.spent_ppb.saturating_add(stage_ppb).div_ceil(1_000)).min(1_000_000);
    let looks = inputs.answer.map_or(0, |answer| i64::from(answer.looks.reached));
    let kept = before.judge.as_ref().filter(|_| inputs.answer.is_none());
    field::JudgeState {
        error_budget_ppm: i64::from(inputs.valid.policy.parts().error_budget_ppm),
        spent_ppm: kept.map_or(spent_ppm, |kept| kept.spent_ppm),
        looks: kept.map_or(looks, |kept| kept.looks),
        state: inputs.memory.to_text(),
    }
}

fn decision(entry: &LogEntry) -> field::DecisionRecord {
    use field::DecisionKind as D;
    field::DecisionRecord {
        at: to_k8s(entry.at),
        stage: entry.stage.clone(),
        decision: match entry.kind {
            EventKind::Started => D::Start,
            EventKind::StageOpened => D::Advance,
            EventKind::Paused => D::Pause,
            EventKind::Resumed => D::Resume,
            EventKind::DevicesQuarantined => D::Quarantine,
            EventKind::RollbackStarted => D::RollBack,
            EventKind::RolledBack | EventKind::Succeeded => D::Finish,
            EventKind::RollbackOverdue | EventKind::Refused => D::Stall,
            EventKind::Retried => D::Retry,
            _ => D::Hold,
        },
        reason: entry.kind.as_str().to_owned(),
        message: clip(&entry.message, LOG_MESSAGE_MAX),
    }
}

fn failures(inputs: &StatusInputs<'_>, before: &RolloutStatus) -> Vec<field::DeviceFailure> {
    let Some(seen) = inputs.fleet.filter(|seen| !seen.failures.is_empty()) else {
        return before.failures.clone();
    };
    let failure = |failed: &FailedDevice| field::DeviceFailure {
        device: failed.device.to_string(),
        code: format!("{:?}", failed.code),
        message: String::new(),
        at: Some(to_k8s(failed.at)),
    };
    seen.failures.iter().map(failure).collect()
}

fn rollback(inputs: &StatusInputs<'_>, before: &RolloutStatus) -> Option<field::RollbackProgress> {
    let state = &inputs.memory.state;
    let rollback = state.rollback.as_ref()?;
    let kept = before.rollback.as_ref().map_or(0, |r| r.remaining);
    let had = state.figures.exposed_devices;
    let left = |view: &FleetView| view.still_exposed.saturating_add(view.out_of_reach(had));
    let remaining = match state.figures.safe_at {
        Some(_) => 0,
        None => inputs.fleet.map_or(kept, |seen| signed(left(seen.view))),
    };
    Some(field::RollbackProgress {
        started_at: to_k8s(rollback.started_at),
        deadline_at: Some(to_k8s(rollback.deadline)),
        remaining,
        last_device_back_at: state.figures.safe_at.map(to_k8s),
        reason: rollback.cause.as_str().to_owned(),
    })
}

fn figures(state: &State) -> Option<field::Figures> {
    let figures = &state.figures;
    (figures.exposed_devices > 0 || figures.ended_at.is_some()).then(|| field::Figures {
        devices_exposed: signed(figures.exposed_devices),
        detected_at: figures.detected_at.map(to_k8s),
        detection_ms: figures
            .detected_at
            .zip(figures.first_exposed_at)
            .map(|(found, first)| signed(found.since_ms(first))),
        safe_at: figures.safe_at.map(to_k8s),
        time_to_safe_ms: figures
            .safe_at
            .zip(figures.detected_at)
            .map(|(safe, found)| signed(safe.since_ms(found))),
    })
}

/// Whether two statuses differ in anything that decides or that a person waits for; what else differs are counts
/// and sentences, which need not be written at every report.
#[must_use]
pub fn differs_in_substance(a: &RolloutStatus, b: &RolloutStatus) -> bool {
    let conditions = |s: &RolloutStatus| -> Vec<(String, String, String)> {
        s.conditions.iter().map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone())).collect()
    };
    let state = |s: &RolloutStatus| Memory { judge: String::new(), ..recall(Some(s)).0 };
    // No plan goes out before the status that it belongs to is stored.
    (a.epoch, a.plan_revision) != (b.epoch, b.plan_revision)
        || a.observed_generation != b.observed_generation
        || a.phase != b.phase
        || a.membership != b.membership
        || conditions(a) != conditions(b)
        || watch::has_read_more(a, b)
        || state(a) != state(b)
}

#[cfg(test)]
mod tests;
