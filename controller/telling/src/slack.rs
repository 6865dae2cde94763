//! An occurrence as a message for a webhook that takes Slack's: one text.

use serde_json::{Value, json};

use crate::occurrence::{Occurrence, Severity};

/// Most characters of the message.
const TEXT_MAX: usize = 2_000;

/// The body. Characters that Slack reads as markup are written as it asks for, so that no message can name a channel or hide a
/// link.
#[must_use]
pub fn message(occurrence: &Occurrence) -> Value {
    let Occurrence { subject, severity, reason, message, stage, .. } = occurrence;
    let sign = match severity {
        Severity::Info => ":information_source:",
        Severity::Warning => ":warning:",
        Severity::Critical => ":rotating_light:",
    };
    let stage = if stage.is_empty() { String::new() } else { format!(", stage {}", escaped(stage)) };
    let text = format!(
        "{sign} *{}* {}/{} ({} {}{stage})\n{}",
        escaped(reason),
        escaped(&subject.namespace),
        escaped(&subject.rollout),
        escaped(&subject.model),
        escaped(&subject.version),
        escaped(message)
    );
    json!({ "text": text.chars().take(TEXT_MAX).collect::<String>() })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::occurrence::Subject;
    use modelfleet_protocol::time::Time;

    #[test]
    fn a_message_is_one_text_without_markup_of_strangers() {
        let mut occurrence = Occurrence {
            id: "1".into(),
            kind: "rollout.paused".into(),
            subject: Subject {
                namespace: "plant".into(),
                rollout: "r".into(),
                uid: "u".into(),
                model: "pumps".into(),
                version: "1.2.0".into(),
            },
            at: Time(0),
            severity: Severity::Warning,
            reason: "Paused".into(),
            message: "<!channel> 5 > 3 & more".into(),
            stage: "canary".into(),
            phase: None,
            cause: None,
        };
        let text = message(&occurrence)["text"].as_str().unwrap().to_owned();
        let expected =
            ":warning: *Paused* plant/r (pumps 1.2.0, stage canary)\n&lt;!channel&gt; 5 &gt; 3 &amp; more";
        assert_eq!(text, expected);
        occurrence.message = "x".repeat(10_000);
        assert_eq!(message(&occurrence)["text"].as_str().unwrap().chars().count(), TEXT_MAX);
    }
}
