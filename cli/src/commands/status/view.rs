//! A rollout as a person wants to see it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use modelfleet_crds::Rollout;
use modelfleet_crds::conditions::ALARM;
use modelfleet_crds::rollout::status::{
    DeviceCounts, RolloutPhase, StageProgress, Verdict, VerdictKind, WatchProgress,
};

use crate::rollout_patch::is_current;
use crate::table::{Table, one_line};
use crate::units::{age, counted, moment, percent, span};

/// One line for each change.
pub(super) fn line(rollout: &Rollout) -> String {
    let status = rollout.status.clone().unwrap_or_default();
    let parts = [
        Some(phase(rollout)),
        status.stage_summary,
        status.updated.map(|updated| format!("{updated} updated")),
        status.verdict_summary,
        status.message,
    ];
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    one_line(&parts.join("  "))
}

/// The whole status.
pub(super) fn text(rollout: &Rollout, now: Timestamp) -> String {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    let spec = &rollout.spec;
    let mut lines = vec![format!("rollout/{name}   {} {}   {}", spec.model, spec.version, phase(rollout))];
    let mut line = |label: &str, text: String| lines.push(format!("  {label:<10} {}", one_line(&text)));
    let Some(status) = &rollout.status else {
        line("waiting", "the controller has not seen this rollout yet; is it running?".to_owned());
        return lines.join("\n") + "\n";
    };
    if !is_current(rollout) {
        line("waiting", "the controller has not seen the last change of the spec yet".to_owned());
    }
    if let Some(stage) = &status.stage {
        line("stage", stage_text(stage, spec.stages.len(), now));
    }
    if let Some(message) = &status.message {
        line(if status.finished_at.is_some() { "ended" } else { "now" }, message.clone());
    }
    if let Some(counts) = &status.counts {
        for (label, text) in ["devices", ""].into_iter().zip(counts_text(counts)) {
            line(label, text);
        }
    }
    if let Some(judge) = &status.judge {
        let (spent, budget) = (percent(judge.spent_ppm), percent(judge.error_budget_ppm));
        let looks = counted(judge.looks, "look");
        line("budget", format!("{spent} of {budget} spent in {looks} (chance of a false rollback)"));
    }
    if let Some(rollback) = &status.rollback {
        line("rollback", rollback_text(rollback, now));
    }
    if let Some(figures) = &status.figures {
        let found = figures.detection_ms.map(|ms| format!(", harm was proven after {}", span(ms)));
        let safe = figures.time_to_safe_ms.map(|ms| format!(", the last device was back {} later", span(ms)));
        let exposed = counted(figures.devices_exposed, "device");
        line(
            "figures",
            format!("{exposed} ran the version{}{}", found.unwrap_or_default(), safe.unwrap_or_default()),
        );
    }
    if let Some(watch) = &status.watch {
        line("watch", watch_text(watch, &status.conditions, now));
    }
    let mut text = lines.join("\n") + "\n";
    text.push_str(&verdicts(&status.verdicts));
    let mut failures = Table::new(&["DEVICE", "FAILED WITH", "WHY"]);
    for failure in &status.failures {
        failures.row(vec![failure.device.clone(), failure.code.clone(), failure.message.clone()]);
    }
    if !failures.is_empty() {
        text.push('\n');
        text.push_str(&failures.render());
    }
    text
}

fn watch_text(watch: &WatchProgress, conditions: &[Condition], now: Timestamp) -> String {
    let windows = counted(watch.windows, "window");
    let Some(since) = &watch.alarm_since else {
        return format!("{windows} without an alarm; the next alarm is {} % reached", watch.level_percent);
    };
    let told = conditions.iter().find(|condition| condition.type_ == ALARM && condition.status == "True");
    let told = told.map(|told| format!(": {} ({})", told.message, told.reason)).unwrap_or_default();
    format!("ALARM since {} ago{told}", age(since.0, now))
}

fn phase(rollout: &Rollout) -> String {
    match rollout.status.as_ref().and_then(|status| status.phase) {
        None => "not seen yet".to_owned(),
        Some(RolloutPhase::AwaitingApproval) => "AwaitingApproval (kubectl modelfleet promote)".to_owned(),
        Some(phase) => format!("{phase:?}"),
    }
}

fn stage_text(stage: &StageProgress, stages: usize, now: Timestamp) -> String {
    let mut text = format!("{} ({} of {stages})", stage.name, stage.index + 1);
    if let Some(started) = &stage.started_at {
        text.push_str(&format!(", started {} ago", age(started.0, now)));
    }
    match &stage.bake_ends_at {
        Some(end) if end.0 > now => text.push_str(&format!(", bakes until {}", moment(end.0))),
        Some(_) => text.push_str(", bake time is over"),
        None => {}
    }
    if let Some(deadline) = &stage.deadline_at {
        text.push_str(&format!(", deadline {}", moment(deadline.0)));
    }
    text
}

fn counts_text(counts: &DeviceCounts) -> [String; 2] {
    let DeviceCounts { eligible, reachable, offered, downloaded, activated, confirmed, .. } = counts;
    let first = format!(
        "{eligible} eligible, {reachable} reachable; {offered} offered, {downloaded} downloaded, {activated} \
         activated, {confirmed} confirmed"
    );
    let DeviceCounts { failed, incompatible, silent_after_activation: silent, unreachable, .. } = counts;
    let own = match counts.own_trouble {
        0 => String::new(),
        trouble => format!("{trouble} with trouble of their own, "),
    };
    let second = format!(
        "{failed} failed, {incompatible} cannot run it, {own}{silent} silent since activation, {unreachable} unreachable"
    );
    [first, second]
}

fn rollback_text(rollback: &modelfleet_crds::rollout::status::RollbackProgress, now: Timestamp) -> String {
    let began = format!("{}, started {}", rollback.reason, moment(rollback.started_at.0));
    if let Some(back) = &rollback.last_device_back_at {
        return format!("{began}, last device back at {}", moment(back.0));
    }
    let remaining = counted(rollback.remaining, "device");
    match &rollback.deadline_at {
        Some(deadline) if deadline.0 < now => {
            format!("{began}, {remaining} overdue since {}", moment(deadline.0))
        }
        Some(deadline) => format!("{began}, {remaining} still to roll back by {}", moment(deadline.0)),
        None => format!("{began}, {remaining} still to roll back"),
    }
}

fn verdicts(verdicts: &[Verdict]) -> String {
    let mut table = Table::new(&["SLO", "VERDICT", "VALUE", "BOUND", "DEVICES", "WINDOWS", "WHY"]);
    let mut sorted: Vec<&Verdict> = verdicts.iter().collect();
    sorted.sort_by_key(|verdict| match verdict.verdict {
        VerdictKind::Degraded => 0,
        VerdictKind::Incident => 1,
        VerdictKind::Undecided => 2,
        VerdictKind::Exposed => 3,
        VerdictKind::Healthy => 4,
    });
    for verdict in sorted {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        table.row(vec![
            verdict.slo.clone(),
            format!("{:?}", verdict.verdict),
            text(&verdict.value),
            text(&verdict.threshold),
            verdict.devices.to_string(),
            verdict.windows.to_string(),
            verdict.sentence.clone().unwrap_or_default(),
        ]);
    }
    if table.is_empty() { String::new() } else { format!("\n{}", table.render()) }
}

#[cfg(test)]
mod tests;
