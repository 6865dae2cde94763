//! `explain`: the state of a rollout, with the verdicts and decisions that led to it.

use clap::Args;
use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::status::{
    DecisionRecord, MarginBasis, RolloutPhase, RolloutStatus, Verdict, VerdictJudgedBy,
};
use modelfleet_protocol::selector::Selector;

use crate::cluster::{Cluster, ClusterError, ClusterFlags};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::promotion_scope;
use crate::rollout_patch;
use crate::table::{Table, one_line};
use crate::units::{counted, moment, percent};

/// The command line of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// Name of the rollout.
    pub rollout: String,
}

/// Why nothing was explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The API server does not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// Explains a rollout.
///
/// # Errors
/// When it is not there, or the API server does not answer.
pub async fn run(flags: &ClusterFlags, arguments: &ExplainArguments) -> Result<Outcome, ExplainError> {
    let cluster = Cluster::connect(flags).await?;
    printing::answer(&text(&rollout_patch::get(&cluster, &arguments.rollout).await?))?;
    Ok(Outcome::Done)
}

/// The explanation.
#[must_use]
pub fn text(rollout: &Rollout) -> String {
    let name = rollout.metadata.name.as_deref().unwrap_or_default();
    let Some(status) = &rollout.status else {
        return format!(
            "rollout/{name}: the controller has not seen this rollout yet, so nothing has been decided\n"
        );
    };
    let phase = status.phase.map_or("not seen yet".to_owned(), |phase| format!("{phase:?}"));
    let stage = status.stage.as_ref().map(|stage| format!(", stage {}", stage.name)).unwrap_or_default();
    let mut text = format!("rollout/{name}: {phase}{stage}\n");
    let mut printed: Vec<&str> = Vec::new();
    if let Some(message) = &status.message {
        text.push_str(&format!("  {}\n", one_line(message)));
        printed.push(message);
    }
    // After the end, the message names the devices; before it, it does not.
    let ended = matches!(status.phase, Some(RolloutPhase::Succeeded | RolloutPhase::RolledBack));
    let reach = promotion_scope::sentence(rollout)
        .filter(|_| !ended)
        .map(|what| format!("when the rollout succeeds, {what}"));
    for part in [reach, way_back(status)] {
        text.extend(part.map(|part| format!("  {}\n", one_line(&part))));
    }
    for condition in status.conditions.iter().filter(|condition| condition.status == "True") {
        // Several conditions may hold for one reason; it is printed once.
        let message = if printed.contains(&condition.message.as_str()) { "" } else { &condition.message };
        printed.push(message);
        let words = one_line(&format!("{} ({}): {message}", condition.type_, condition.reason));
        text.push_str(&format!("  {}\n", words.trim_end_matches([' ', ':'])));
    }
    if let Some(margin) = margin(status) {
        text.push_str(&format!("  {}\n", one_line(&margin)));
    }
    text.push_str("\nVerdicts\n");
    if status.verdicts.is_empty() {
        text.push_str("  none yet: the judge has not looked at this stage\n");
    }
    status.verdicts.iter().for_each(|each| text.push_str(&verdict(each)));
    if let Some(judge) = &status.judge {
        let (spent, budget) = (percent(judge.spent_ppm), percent(judge.error_budget_ppm));
        let looks = counted(judge.looks, "look");
        text.push_str(&format!(
            "\nError budget: {spent} of {budget} spent in {looks} (chance of a false rollback)\n"
        ));
    }
    text.push_str("\nDecisions\n");
    text.push_str(&decisions(&status.decisions));
    text
}

/// What devices go back to, where that is not one version for all.
fn way_back(status: &RolloutStatus) -> Option<String> {
    let list: Vec<WayBack> = serde_json::from_str(status.way_back.as_deref()?).ok()?;
    let all: Vec<String> =
        list.iter().map(|back| format!("{} for {}", back.version, back.selector)).collect();
    (all.len() > 1)
        .then(|| format!("on a rollback devices return to (the first match counts): {}", all.join(", ")))
}

#[derive(serde::Deserialize)]
struct WayBack {
    selector: Selector,
    version: String,
}

/// The harm that the present stage rules out.
fn margin(status: &RolloutStatus) -> Option<String> {
    let stage = status.stage.as_ref()?;
    let margin = status.margins.iter().find(|margin| margin.stage == stage.name)?;
    let hundredths = margin.margin_ppm / 10_000;
    let times = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    let times = times.trim_end_matches('0').trim_end_matches('.');
    let basis = match margin.basis {
        MarginBasis::Planner => "the smallest that a stage of this size can rule out",
        MarginBasis::User => "set in the spec",
    };
    Some(format!(
        "Stage {} must rule out a rise to {times} times the rate without the version ({basis}).",
        stage.name
    ))
}

fn verdict(verdict: &Verdict) -> String {
    let mut facts = Vec::new();
    if let Some(measured) = &verdict.measured {
        facts.push(measured.clone());
    }
    if let Some(value) = &verdict.value {
        let bound = verdict.threshold.as_ref().map(|bound| format!(", bound {bound}")).unwrap_or_default();
        facts.push(format!("{value} of the windows outside the limit{bound}"));
    }
    if let Some(estimate) = &verdict.estimate {
        let interval = match (&verdict.low, &verdict.high) {
            (Some(low), Some(high)) => format!(" ({low} to {high})"),
            (Some(low), None) => format!(" (at least {low})"),
            (None, Some(high)) => format!(" (at most {high})"),
            (None, None) => String::new(),
        };
        facts.push(match estimate.trim_end_matches('0').trim_end_matches('.') {
            "" => format!("no bad windows with the version{interval}"),
            _ => format!("{estimate} times the rate without the version{interval}"),
        });
    }
    facts.push(format!("{}, {}", counted(verdict.devices, "device"), counted(verdict.windows, "window")));
    facts.push(match verdict.judged_by {
        VerdictJudgedBy::Statistical => {
            format!("spent {} of the error budget", percent(verdict.spent_ppm))
        }
        VerdictJudgedBy::Plain => "judged by Plain, which limits no error rate".to_owned(),
        VerdictJudgedBy::Poisson => {
            "judged by Poisson, an exact test against the limit by device and year".to_owned()
        }
        VerdictJudgedBy::HardStop => "judged by failed devices alone".to_owned(),
    });
    let at = verdict.at.as_ref().map(|at| format!(" at {}", moment(at.0))).unwrap_or_default();
    let mut text = format!("  {}: {:?}{at}\n", one_line(&verdict.slo), verdict.verdict);
    if let Some(sentence) = &verdict.sentence {
        text.push_str(&format!("    {}\n", one_line(sentence)));
    }
    text + &format!("    {}\n", one_line(&facts.join("; ")))
}

fn decisions(decisions: &[DecisionRecord]) -> String {
    let mut table = Table::new(&["AT", "STAGE", "DECISION", "REASON", "WHY"]);
    for record in decisions {
        table.row(vec![
            moment(record.at.0),
            record.stage.clone(),
            format!("{:?}", record.decision),
            record.reason.clone(),
            record.message.clone(),
        ]);
    }
    let text = if table.is_empty() { "none yet\n".to_owned() } else { table.render() };
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollback_is_explained_with_its_conclusion_first() {
        let rollout: Rollout = serde_saphyr::from_str(
            r#"
apiVersion: modelfleet.io/v1alpha1
kind: Rollout
metadata: {name: pump, generation: 1}
spec: {model: pump-anomaly, version: 1.2.0, selector: {matchLabels: {site: north}}}
status:
  observedGeneration: 1
  wayBack: '[{"selector":{"matchLabels":{"site":"north"}},"version":"1.1.0"},{"selector":{},"version":"1.0.0"}]'
  phase: RolledBack
  message: &why "Took 1.2.0 back from 24 devices: too many false alarms on 7 of 24 with it (limit 25 %), 1 of 36 without. All
    7 are age=old, load=heavy. 1.2.0 is Rejected; register a new version."
  stage: {name: canary, index: 0}
  conditions:
  - {type: RolledBack, status: "True", reason: Degraded, message: *why, lastTransitionTime: "2026-08-01T12:00:00Z"}
  - {type: Ready, status: "False", reason: RolledBack, message: *why, lastTransitionTime: "2026-08-01T12:00:00Z"}
  - {type: Paused, status: "True", reason: Other, message: "Another reason.", lastTransitionTime: "2026-08-01T12:00:00Z"}
  margins: [{stage: canary, marginPpm: 5000000, basis: Planner}]
  judge: {errorBudgetPpm: 10000, spentPpm: 310, looks: 1}
  verdicts:
  - {slo: false-alarms, verdict: Degraded, judgedBy: Statistical, value: 24%, estimate: "9.1", low: "4.2",
     devices: 5, windows: 30, spentPpm: 310, sentence: "too many false alarms", at: "2026-08-01T12:00:00Z",
     measured: "false alarms 12 % (9 to 15), controls 2 %, at most 5 %; 5 devices, 9 controls"}
  decisions:
  - {at: "2026-08-01T11:00:00Z", decision: Start, reason: Ready}
  - {at: "2026-08-01T12:00:00Z", stage: canary, decision: RollBack, reason: SloBreach, message: "24% above 5%"}
"#,
        )
        .unwrap();
        assert_eq!(
            text(&rollout),
            "\
rollout/pump: RolledBack, stage canary
  Took 1.2.0 back from 24 devices: too many false alarms on 7 of 24 with it (limit 25 %), 1 of 36 without. All 7 are \
             age=old, load=heavy. 1.2.0 is Rejected; register a new version.
  on a rollback devices return to (the first match counts): 1.1.0 for site=north, 1.0.0 for all devices
  RolledBack (Degraded)
  Paused (Other): Another reason.
  Stage canary must rule out a rise to 5 times the rate without the version (the smallest that a stage of this size can \
             rule out).

Verdicts
  false-alarms: Degraded at 2026-08-01T12:00:00Z
    too many false alarms
    false alarms 12 % (9 to 15), controls 2 %, at most 5 %; 5 devices, 9 controls; 24% of the windows outside the limit; 9.1 times the rate without the version (at least 4.2); 5 devices, 30 windows; \
             spent 0.031% of the error budget

Error budget: 0.031% of 1% spent in 1 look (chance of a false rollback)

Decisions
  AT                     STAGE    DECISION   REASON      WHY
  2026-08-01T11:00:00Z            Start      Ready
  2026-08-01T12:00:00Z   canary   RollBack   SloBreach   24% above 5%
"
        );
        // Before the end, the devices that it will become stable for are named.
        let mut goes_on = rollout;
        goes_on.status.as_mut().unwrap().phase = Some(RolloutPhase::Progressing);
        let reach = "  when the rollout succeeds, 1.2.0 becomes the stable version only for devices with site=north; other devices keep theirs";
        assert!(text(&goes_on).contains(reach));
    }
}
