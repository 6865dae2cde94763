//! What a person reads in a Rollout: the few fields of its status that the demo and the tests look at.

use serde_json::Value;

/// A Rollout as `kubectl get -o json` shows it.
#[derive(Clone, Debug)]
pub struct RolloutView(pub Value);

impl RolloutView {
    fn text(&self, pointer: &str) -> String {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn count(&self, pointer: &str) -> i64 {
        self.0.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.text("/metadata/name")
    }

    /// The version that it brings.
    #[must_use]
    pub fn version(&self) -> String {
        self.text("/spec/version")
    }

    /// Where it stands in one word; empty before the controller has seen it.
    #[must_use]
    pub fn phase(&self) -> String {
        self.text("/status/phase")
    }

    /// Stage as `2/4 early-adopter`.
    #[must_use]
    pub fn stage(&self) -> String {
        self.text("/status/stageSummary")
    }

    /// What it waits for, or why it ended.
    #[must_use]
    pub fn message(&self) -> String {
        self.text("/status/message")
    }

    /// Devices that run the version, as `5/200`.
    #[must_use]
    pub fn updated(&self) -> String {
        self.text("/status/updated")
    }

    /// One of the status counts, such as `confirmed`.
    #[must_use]
    pub fn devices(&self, what: &str) -> i64 {
        self.count(&format!("/status/counts/{what}"))
    }

    /// One of the status figures, such as `devicesExposed`; `None` while it is not known.
    #[must_use]
    pub fn figure(&self, what: &str) -> Option<i64> {
        self.0.pointer(&format!("/status/figures/{what}")).and_then(Value::as_i64)
    }

    /// The judge's sentences, one for each objective.
    #[must_use]
    pub fn sentences(&self) -> Vec<(String, String, String)> {
        let verdicts = self.0.pointer("/status/verdicts").and_then(Value::as_array);
        let field = |v: &Value, name: &str| v[name].as_str().unwrap_or_default().to_owned();
        verdicts
            .into_iter()
            .flatten()
            .map(|v| (field(v, "slo"), field(v, "verdict"), field(v, "sentence")))
            .collect()
    }

    /// Status of a condition (`True`, `False`, `Unknown`), its reason and its message.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<(String, String, String)> {
        let all = self.0.pointer("/status/conditions")?.as_array()?;
        let found = all.iter().find(|c| c["type"] == kind)?;
        let field = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
        Some((field("status"), field("reason"), field("message")))
    }

    /// Whether it has come to an end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase().as_str(), "Succeeded" | "RolledBack")
    }
}
