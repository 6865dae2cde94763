//! Where a rollout is told besides the controller's own event sinks.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::RuleText;

const URL: RuleText = (
    "self.matches('^https?://[^/?#\\\\s]+([/?#]\\\\S*)?$')",
    "must be a URL that begins with https:// or http://",
);
const ONE_PLACE: RuleText =
    ("has(self.url) != has(self.secretName)", "give either url or secretName, and not both");

/// One receiver of what happens to a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ONE_PLACE)]
pub struct NotifySink {
    /// The form that the receiver takes: `CloudEvents` (version 1.0, as JSON), `Slack` (a webhook that takes Slack's messages) or
    /// `Alertmanager` (its API, version 2). Default: `CloudEvents`.
    #[serde(default)]
    pub kind: NotifyKind,

    /// Address of the receiver. One that holds a secret belongs into a Secret. Default: the one that
    /// `secretName` names. Example: `https://events.example/modelfleet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    #[x_kube(validation = URL)]
    pub url: Option<String>,

    /// Name of a Secret in the namespace of the rollout, with the keys `url` and, for signed events, `hmacKey` (at least 16
    /// bytes). The controller needs the right to read it; docs/events.md has the Role. Default: none, and `url` is used.
    /// Example: `event-sink`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
}

/// The form that a receiver takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NotifyKind {
    /// CloudEvents 1.0, structured JSON.
    #[default]
    CloudEvents,
    /// A webhook that takes Slack's messages.
    Slack,
    /// Alertmanager's API, version 2.
    Alertmanager,
}
