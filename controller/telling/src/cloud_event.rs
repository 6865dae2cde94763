//! An occurrence as a CloudEvent 1.0 in structured JSON.

use jiff::Timestamp;
use modelfleet_protocol::time::Time;
use serde_json::{Value, json};

use crate::occurrence::Occurrence;

/// The content type of a structured CloudEvent.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A moment as RFC 3339 text.
#[must_use]
pub fn rfc3339(at: Time) -> String {
    let milliseconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX).to_string()
}

/// The event, as `docs/events.md` and `docs/events.schema.json` describe it.
#[must_use]
pub fn cloud_event(occurrence: &Occurrence) -> Value {
    let Occurrence { id, kind, subject, at, severity, reason, message, stage, phase, cause } = occurrence;
    let mut data = json!({
        "namespace": subject.namespace,
        "rollout": subject.rollout,
        "uid": subject.uid,
        "model": subject.model,
        "version": subject.version,
        "reason": reason,
        "message": message,
        "severity": severity.as_str(),
    });
    let stage = Some(stage.as_str()).filter(|stage| !stage.is_empty());
    for (name, value) in [("stage", stage), ("phase", *phase), ("cause", cause.as_deref())] {
        if let Some(value) = value {
            data[name] = value.into();
        }
    }
    json!({
        "specversion": "1.0",
        "id": id,
        "source": format!(
            "/apis/modelfleet.io/v1alpha1/namespaces/{}/rollouts/{}",
            subject.namespace, subject.rollout
        ),
        "type": format!("io.modelfleet.{kind}.v1"),
        "subject": format!("{}/{}", subject.model, subject.version),
        "time": rfc3339(*at),
        "datacontenttype": "application/json",
        // An extension that Alertmanager's and others' rules look for.
        "severity": severity.as_str(),
        "data": data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::occurrence::{Severity, Subject};

    #[test]
    fn an_event_has_what_the_standard_asks_for() {
        let occurrence = Occurrence {
            id: "0123".into(),
            kind: "rollout.rolled-back".into(),
            subject: Subject {
                namespace: "plant".into(),
                rollout: "pumps-1.2.0".into(),
                uid: "u".into(),
                model: "pumps".into(),
                version: "1.2.0".into(),
            },
            at: Time(1_800_000_000_000),
            severity: Severity::Info,
            reason: "RolledBack".into(),
            message: "5 devices are back.".into(),
            stage: "canary".into(),
            phase: Some("RolledBack"),
            cause: Some("Degraded".into()),
        };
        let expected = json!({
            "specversion": "1.0",
            "id": "0123",
            "source": "/apis/modelfleet.io/v1alpha1/namespaces/plant/rollouts/pumps-1.2.0",
            "type": "io.modelfleet.rollout.rolled-back.v1",
            "subject": "pumps/1.2.0",
            "time": "2027-01-15T08:00:00Z",
            "datacontenttype": "application/json",
            "severity": "info",
            "data": {
                "namespace": "plant", "rollout": "pumps-1.2.0", "uid": "u", "model": "pumps", "version": "1.2.0",
                "reason": "RolledBack", "message": "5 devices are back.", "severity": "info", "stage": "canary",
                "phase": "RolledBack", "cause": "Degraded",
            },
        });
        assert_eq!(cloud_event(&occurrence), expected);
    }
}
