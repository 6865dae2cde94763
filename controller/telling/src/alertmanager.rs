//! An occurrence as alerts for Alertmanager's API, version 2: what begins with it, and what ends.

use serde_json::{Value, json};

use crate::cloud_event::rfc3339;
use crate::occurrence::Occurrence;

/// Path of the API below the address of an Alertmanager.
pub const PATH: &str = "/api/v2/alerts";
/// An alert that nothing ends is over after this time, milliseconds: the controller tells each transition once, so that nothing
/// renews it.
const LASTS_MS: u64 = 7 * 86_400_000;
/// One that tells of something that is over lasts so long.
const NEWS_MS: u64 = 3_600_000;
/// Most characters of a label or an annotation.
const TEXT_MAX: usize = 512;

/// Alerts that last until another occurrence ends them.
const STATES: [&str; 9] = [
    "Paused",
    "ApprovalRequested",
    "HarmShown",
    "BreachInProduction",
    "AlarmRaised",
    "RetrainingWanted",
    "RollbackStarted",
    "RollbackOverdue",
    "Refused",
];

/// Which of [`STATES`] end with an occurrence.
fn ended_by(reason: &str) -> &'static [&'static str] {
    match reason {
        "Resumed" | "StageOpened" => &["Paused", "ApprovalRequested"],
        "Paused" => &["ApprovalRequested"],
        "BreachOver" => &["BreachInProduction"],
        "AlarmCleared" => &["AlarmRaised", "RetrainingWanted"],
        "RollbackStarted" => &[
            "Paused",
            "ApprovalRequested",
            "HarmShown",
            "BreachInProduction",
            "AlarmRaised",
            "RetrainingWanted",
        ],
        "RolledBack" => &["RollbackStarted", "RollbackOverdue", "Refused"],
        "Started" => &["Refused"],
        "Succeeded" => &["Paused", "ApprovalRequested"],
        "Retried" => &STATES,
        _ => &[],
    }
}

/// The alerts of an occurrence, as the body of a POST to [`PATH`]; empty when there is nothing to alert of.
#[must_use]
pub fn alerts(occurrence: &Occurrence) -> Vec<Value> {
    let reason = occurrence.reason.as_str();
    let mut alerts: Vec<Value> = ended_by(reason).iter().map(|ended| alert(occurrence, ended, 0)).collect();
    if STATES.contains(&reason) {
        alerts.push(alert(occurrence, reason, LASTS_MS));
    } else if occurrence.severity > crate::Severity::Info || reason == "RolledBack" {
        alerts.push(alert(occurrence, reason, NEWS_MS));
    }
    alerts
}

/// One alert. Its labels are its identity: what ends it has the same ones, so the severity, which could differ, is not asked of
/// the occurrence that ends it.
fn alert(occurrence: &Occurrence, reason: &str, lasts_ms: u64) -> Value {
    let subject = &occurrence.subject;
    let cut = |text: &str| text.chars().take(TEXT_MAX).collect::<String>();
    json!({
        "labels": {
            "alertname": format!("ModelfleetRollout{reason}"),
            "severity": severity(reason),
            "namespace": cut(&subject.namespace),
            "rollout": cut(&subject.rollout),
            "model": cut(&subject.model),
            "version": cut(&subject.version),
        },
        "annotations": {
            "summary": cut(&format!("{} of {}/{}", occurrence.reason, subject.namespace, subject.rollout)),
            "description": cut(&occurrence.message),
            "id": occurrence.id,
        },
        "startsAt": rfc3339(occurrence.at),
        "endsAt": rfc3339(occurrence.at.after_ms(lasts_ms.max(1))),
    })
}

fn severity(reason: &str) -> &'static str {
    match reason {
        "HarmShown" | "RollbackOverdue" | "BreachInProduction" => "critical",
        "ApprovalRequested" | "RolledBack" => "info",
        _ => "warning",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::occurrence::{Severity, Subject};
    use modelfleet_protocol::time::Time;

    fn occurrence(reason: &str, severity: Severity) -> Occurrence {
        Occurrence {
            id: "1".into(),
            kind: "rollout.x".into(),
            subject: Subject {
                namespace: "plant".into(),
                rollout: "r".into(),
                uid: "u".into(),
                model: "pumps".into(),
                version: "1.2.0".into(),
            },
            at: Time(1_800_000_000_000),
            severity,
            reason: reason.into(),
            message: "m".repeat(2_000),
            stage: String::new(),
            phase: None,
            cause: None,
        }
    }

    #[test]
    fn what_ends_an_alert_has_its_labels() {
        let begun = alerts(&occurrence("Paused", Severity::Warning));
        let paused = begun.iter().find(|a| a["labels"]["alertname"] == "ModelfleetRolloutPaused").unwrap();
        let over = alerts(&occurrence("Resumed", Severity::Info));
        let resumed = over.iter().find(|a| a["labels"]["alertname"] == "ModelfleetRolloutPaused").unwrap();
        assert_eq!(paused["labels"], resumed["labels"]);
        assert_eq!(paused["endsAt"], "2027-01-22T08:00:00Z");
        assert_eq!(resumed["endsAt"], "2027-01-15T08:00:00.001Z");
        assert_eq!(over.len(), 2, "nothing begins");
    }

    #[test]
    fn every_state_is_ended_by_something() {
        let ending = [
            "Resumed",
            "StageOpened",
            "Paused",
            "BreachOver",
            "AlarmCleared",
            "RollbackStarted",
            "RolledBack",
            "Started",
            "Succeeded",
        ];
        for state in STATES {
            assert!(ending.iter().any(|reason| ended_by(reason).contains(&state)), "{state}");
            assert!(ended_by("Retried").contains(&state));
        }
    }

    #[test]
    fn good_news_is_no_alert_and_texts_are_bounded() {
        assert!(alerts(&occurrence("DevicesQuarantined", Severity::Warning)).len() == 1);
        assert!(alerts(&occurrence("BreachOver", Severity::Info)).len() == 1);
        assert!(alerts(&occurrence("RetryIgnored", Severity::Info)).is_empty());
        let long = alerts(&occurrence("Paused", Severity::Warning));
        assert_eq!(long[1]["annotations"]["description"].as_str().unwrap().len(), TEXT_MAX);
    }
}
