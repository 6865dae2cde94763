//! What is wrong: conditions of rollouts and versions that people have to look at.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use modelfleet_crds::conditions::{ALARM, BREACHED, DEGRADED, STALLED, VERIFIED};

use crate::dashboard::objects::Objects;

/// Conditions of a rollout that are bad while they hold.
const BAD: [&str; 9] = [
    STALLED,
    BREACHED,
    DEGRADED,
    ALARM,
    "DevicesLeftOut",
    "PlanNotTaken",
    "PlanNotRenewed",
    "ClocksWrong",
    "EventsNotDelivered",
];

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The namespace.
    pub namespace: String,
    /// `rollouts` or `models`: the page of what it is about.
    pub page: &'static str,
    /// The name on that page.
    pub name: String,
    /// What it is about, as people say it. Example: `rollout pump-1.2.0`.
    pub about: String,
    /// The condition.
    pub kind: String,
    /// Its reason, by which docs/runbooks.md has what to do.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// What is wrong in a fleet or in all, the newest first.
#[must_use]
pub fn alarms(objects: &Objects, fleet: Option<&str>) -> Vec<Alarm> {
    let is_wanted = |namespace: &str| fleet.is_none_or(|fleet| fleet == namespace);
    let mut alarms = Vec::new();
    for rollout in &objects.rollouts {
        let (namespace, name) = (rollout.namespace().unwrap_or_default(), rollout.name_any());
        let Some(status) = rollout.status.as_ref().filter(|_| is_wanted(&namespace)) else { continue };
        // A rollout that was rolled back is degraded for good: that is its end, and not an alarm.
        let ended = status.finished_at.is_some();
        let bad = |c: &&Condition| {
            c.status == "True" && BAD.contains(&c.type_.as_str()) && !(ended && c.type_ == DEGRADED)
        };
        alarms.extend(status.conditions.iter().filter(bad).map(|condition| Alarm {
            about: format!("rollout {name}"),
            name: name.clone(),
            ..alarm(&namespace, "rollouts", condition)
        }));
    }
    for version in &objects.versions {
        let namespace = version.namespace().unwrap_or_default();
        let Some(status) = version.status.as_ref().filter(|_| is_wanted(&namespace)) else { continue };
        let bad = |c: &&Condition| c.type_ == VERIFIED && c.status == "False";
        alarms.extend(status.conditions.iter().filter(bad).map(|condition| Alarm {
            about: format!("version {} of {}", version.spec.version, version.spec.model),
            name: version.spec.model.clone(),
            ..alarm(&namespace, "models", condition)
        }));
    }
    alarms.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.about.cmp(&b.about)));
    alarms
}

fn alarm(namespace: &str, page: &'static str, condition: &Condition) -> Alarm {
    Alarm {
        namespace: namespace.to_owned(),
        page,
        name: String::new(),
        about: String::new(),
        kind: condition.type_.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since: condition.last_transition_time.0,
    }
}
