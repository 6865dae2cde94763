//! `trust status`: how many devices hold which trust document, as the controller has written it on the rollouts of the namespace.

use clap::Args;
use kube::api::ListParams;
use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::status::{RolloutStatus, TrustCounts, TrustProgress};

use crate::cluster::{Cluster, ClusterError, ClusterFlags, send};
use crate::table::Table;

/// The condition that says whether a trust document protects the fleet.
const TRUST_DOCUMENT: &str = "TrustDocument";

/// The command line of `trust status`.
#[derive(Debug, Default, Args)]
pub struct StatusArguments {}

/// Reads the rollouts of the namespace.
///
/// # Errors
/// When the API server does not answer.
pub async fn read(flags: &ClusterFlags) -> Result<String, ClusterError> {
    let cluster = Cluster::connect(flags).await?;
    let doing = format!("list the rollouts of namespace {}", cluster.namespace);
    let rollouts = send(&doing, "rollouts", cluster.api::<Rollout>().list(&ListParams::default())).await?;
    Ok(text(&cluster.namespace, &rollouts.items))
}

/// The newest word: that of the highest document, and of the rollout that was looked at last.
fn newest(rollouts: &[Rollout]) -> Option<&RolloutStatus> {
    let told = |status: &&RolloutStatus| status.conditions.iter().any(|c| c.type_ == TRUST_DOCUMENT);
    let statuses = rollouts.iter().filter_map(|rollout| rollout.status.as_ref()).filter(told);
    statuses.max_by_key(|status| {
        let version = status.trust.as_ref().map(|trust| trust.version);
        // One that has not ended is looked at all the time; of those that have ended, the last one.
        (version, status.finished_at.is_none(), status.finished_at.clone().map(|at| at.0))
    })
}

fn text(namespace: &str, rollouts: &[Rollout]) -> String {
    let Some(status) = newest(rollouts) else {
        return format!(
            "Nothing is known of a trust document in namespace {namespace}: the controller tells it on rollouts, and none has been \
             looked at yet.\n"
        );
    };
    let said = status.conditions.iter().find(|c| c.type_ == TRUST_DOCUMENT).map(|c| c.message.as_str());
    let said = said.unwrap_or_default();
    let Some(trust) = &status.trust else { return format!("{said}\n") };
    format!("{}\n{said}\n{}\n", counts(trust), verdict(trust))
}

fn counts(trust: &TrustProgress) -> String {
    let mut table = Table::new(&["DEVICES", "CONNECTED", "AWAY"]);
    let of = |counts: &TrustCounts| {
        [counts.current, counts.earlier, counts.later, counts.none, counts.without_root_keys]
    };
    let words = [
        format!("hold document {}", trust.version),
        "hold an earlier one".to_owned(),
        "hold a later one".to_owned(),
        "have root keys and no document yet".to_owned(),
        "have no root keys".to_owned(),
    ];
    for ((word, connected), away) in words.into_iter().zip(of(&trust.connected)).zip(of(&trust.away)) {
        table.row(vec![word, connected.to_string(), away.to_string()]);
    }
    table.render()
}

/// Whether the change of keys is done, and what to do.
fn verdict(trust: &TrustProgress) -> String {
    let (connected, away) = (&trust.connected, &trust.away);
    let (behind, later) = (connected.earlier + connected.none, connected.later + away.later);
    let waiting = away.earlier + away.none;
    let bare = connected.without_root_keys + away.without_root_keys;
    let first = match behind {
        _ if later > 0 => "Not done: give the controller the newest trust file.".to_owned(),
        0 => "Done: every connected device with root keys holds the newest document.".to_owned(),
        _ => format!("Not done: {behind} connected devices still follow earlier keys."),
    };
    let waits = (waiting > 0).then(|| {
        format!(" {waiting} devices that are away follow when they are back; keep the trust file at the controller until then.")
    });
    let bare = (bare > 0).then(|| format!(" {bare} devices have no root keys: give them --trust-root."));
    [Some(first), waits, bare].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rollout(name: &str, version: i64, connected: serde_json::Value, finished: Option<&str>) -> Rollout {
        let condition = json!({
            "type": "TrustDocument", "status": "True", "reason": "TrustHeld", "message": format!("said by {name}"),
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let mut object = json!({
            "apiVersion": "modelfleet.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": name},
            "spec": {"model": "m", "version": "1.0.0"},
            "status": {
                "conditions": [condition],
                "trust": {"version": version, "expiresAt": "2027-01-01T00:00:00Z", "connected": connected},
            },
        });
        if let Some(at) = finished {
            object["status"]["finishedAt"] = at.into();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn the_newest_word_counts_and_says_whether_the_change_is_done() {
        let early = rollout("early", 2, json!({"current": 9}), Some("2026-01-01T00:00:00Z"));
        let late = rollout("late", 3, json!({"current": 3, "earlier": 2}), Some("2026-01-02T00:00:00Z"));
        let last = rollout("last", 3, json!({"current": 5}), Some("2026-01-03T00:00:00Z"));
        let told = text("plant", &[early.clone(), late.clone()]);
        assert!(told.contains("said by late") && told.contains("hold document 3"), "{told}");
        assert!(told.contains("Not done: 2 connected devices still follow earlier keys."), "{told}");
        let told = text("plant", &[last, late, early]);
        assert!(told.contains("said by last") && told.contains("Done: every connected device"), "{told}");
    }

    #[test]
    fn without_a_document_and_without_a_word_it_says_so() {
        let mut bare = rollout("bare", 1, json!({}), None);
        bare.status.as_mut().unwrap().trust = None;
        assert_eq!(text("plant", &[bare]), "said by bare\n");
        assert!(text("plant", &[]).contains("none has been looked at yet"));
    }

    #[test]
    fn devices_that_no_document_reaches_are_named() {
        let some = rollout("some", 3, json!({"current": 1, "withoutRootKeys": 4, "later": 1}), None);
        let told = text("plant", &[some]);
        assert!(told.contains("Not done: give the controller the newest trust file."), "{told}");
        assert!(told.contains("4 devices have no root keys"), "{told}");
    }
}
