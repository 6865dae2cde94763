//! What becomes of the statuses of model versions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Field;
use modelfleet_crds::ResourceExt;
use modelfleet_crds::model_version::{ModelVersionStatus, ProductionScope, Rejection, VersionStage};
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::selector::Selector;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Action, Production, clip};

use crate::objects::ModelObjects;
use crate::production;
use crate::restore::{LIFTED, RESTORED};
use crate::status::conditions::{NewCondition, to_fields};
use crate::status::time::{cut, from_k8s, to_k8s};

/// One change to the status of a version. It is applied to the status as it is when it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionEdit {
    /// Which version.
    pub version: String,
    change: Change,
}

#[derive(Clone, Debug, PartialEq)]
enum Change {
    /// It comes to production for `scopes`; `own`: it is the version of the rollout.
    Promote { scopes: Vec<ProductionScope>, own: bool, because: Because },
    /// It is in production for exactly these.
    Put(Vec<ProductionScope>),
    /// No device has it in production any more; then it is in this stage.
    Retire { production: String, then: VersionStage, because: Because },
    /// A rollout rejects it.
    Reject { by: Rejection, message: String },
    /// Its rejection by a rollout is lifted.
    Verify,
}

/// By which rollout, and when.
#[derive(Clone, Debug, PartialEq)]
struct Because {
    sentence: String,
    rollout: String,
    now: Time,
}

impl VersionEdit {
    /// The status after the change; `None`: it changes nothing.
    #[must_use]
    pub fn apply(&self, before: Option<&ModelVersionStatus>) -> Option<ModelVersionStatus> {
        let before = before.cloned().unwrap_or_default();
        let mut after = before.clone();
        match &self.change {
            Change::Promote { scopes, own, because } => promote(&mut after, scopes, *own, because),
            Change::Put(scopes) => production::put(&mut after, scopes.clone()),
            Change::Retire { production, then, because } => retire(&mut after, production, *then, because),
            Change::Reject { by, message } => reject(&mut after, by.clone(), message),
            Change::Verify => verify(&mut after),
        }
        (after != before).then_some(after)
    }
}

/// The changes that a rollout's actions ask for, in the order in which they are to be written.
#[must_use]
pub fn version_edits(
    objects: &ModelObjects,
    rollout: &Rollout,
    actions: &[Action],
    now: Time,
) -> Vec<VersionEdit> {
    let name = rollout.name_any();
    let because = |sentence: String| Because { sentence, rollout: name.clone(), now };
    let edits = |action: &Action| match action {
        Action::Promote { production } => {
            let because = because(format!("Brought to production by rollout {name}."));
            produce(objects, production, &rollout.spec.version, VersionStage::Archived, &because)
        }
        Action::GiveBack { production } => {
            let because = because(format!("In production again, because rollout {name} was rolled back."));
            produce(objects, production, &rollout.spec.version, VersionStage::Verified, &because)
        }
        Action::MarkRejected { version, reason, message, retry_token } => {
            let by = Rejection {
                rollout: name.clone(),
                reason: (*reason).to_owned(),
                time: to_k8s(now),
                retry_token: cut(retry_token.as_deref().unwrap_or_default(), 64),
            };
            let change = Change::Reject { by, message: message.clone() };
            vec![VersionEdit { version: version.clone(), change }]
        }
        Action::MarkVerified { version } => {
            vec![VersionEdit { version: version.clone(), change: Change::Verify }]
        }
        Action::OpenStage { .. } | Action::Event { .. } => Vec::new(),
    };
    actions.iter().flat_map(edits).collect()
}

/// What is in production: first what is new, so that no device is without a stable version for a moment. `own`: the
/// version of the rollout; `then`: what becomes of a version that no device has in production any more.
fn produce(
    objects: &ModelObjects,
    production: &Production,
    own: &str,
    then: VersionStage,
    because: &Because,
) -> Vec<VersionEdit> {
    let scopes = production::scopes(objects, production);
    let kept = |version: &String| scopes.iter().any(|(kept, _)| kept == version);
    let edit = |version: &String, change: Change| VersionEdit { version: version.clone(), change };
    let promote = scopes.iter().map(|(version, scopes)| {
        let (scopes, own) = (scopes.clone(), version == own);
        edit(version, Change::Promote { scopes, own, because: because.clone() })
    });
    let put = scopes.iter().map(|(version, scopes)| edit(version, Change::Put(scopes.clone())));
    let retire = objects.versions.keys().filter(|version| !kept(version)).map(|version| {
        let because = because.clone();
        edit(version, Change::Retire { production: production.to_string(), then, because })
    });
    promote.chain(put).chain(retire).collect()
}

fn promote(status: &mut ModelVersionStatus, scopes: &[ProductionScope], own: bool, because: &Because) {
    let for_all = [ProductionScope { selector: Selector::default().to_json(), order: 0 }];
    // Written before there were entries.
    let before = match &status.production_for[..] {
        [] if status.stage == Some(VersionStage::Production) => &for_all[..],
        listed => listed,
    };
    let gains = scopes.iter().any(|scope| !before.contains(scope));
    if !gains {
        return;
    }
    production::put(status, production::joined(scopes, before));
    // One that harmed others stays rejected, and in production where it was proven.
    if own || status.stage != Some(VersionStage::Rejected) {
        status.stage = Some(VersionStage::Production);
        status.reason = Some("Promoted".to_owned());
        status.message = Some(because.sentence.clone());
        status.rejected_by = None;
    }
    status.promoted_at = Some(to_k8s(because.now));
    status.promoted_by = Some(because.rollout.clone());
}

fn retire(status: &mut ModelVersionStatus, production: &str, then: VersionStage, because: &Because) {
    production::put(status, Vec::new());
    if status.stage != Some(VersionStage::Production) {
        return;
    }
    status.stage = Some(then);
    let (reason, message) = match then {
        VersionStage::Archived => {
            ("Replaced", format!("Replaced in production. In production now: {production}."))
        }
        _ => (
            "Verified",
            format!("Rollout {} was rolled back. The version may be rolled out again.", because.rollout),
        ),
    };
    (status.reason, status.message) = (Some(reason.to_owned()), Some(clip(&message, 512)));
}

fn reject(status: &mut ModelVersionStatus, by: Rejection, message: &str) {
    // The first rejection of an attempt stays, with its time.
    let same = |old: &Rejection| old.rollout == by.rollout && old.retry_token == by.retry_token;
    // What failed its check stays so: no retry token makes it Verified.
    let failed_check = status.rejected_by.is_none();
    if status.stage == Some(VersionStage::Rejected)
        && (failed_check || status.rejected_by.as_ref().is_some_and(same))
    {
        return;
    }
    status.stage = Some(VersionStage::Rejected);
    status.reason = Some(by.reason.clone());
    let keeps = |devices: &String| format!("{message} It stays in production for {devices}.");
    status.message = Some(clip(&status.devices.as_ref().map_or_else(|| message.to_owned(), keeps), 512));
    status.rejected_by = Some(by);
}

fn verify(status: &mut ModelVersionStatus) {
    if status.stage == Some(VersionStage::Rejected) && status.rejected_by.is_some() {
        let produced = !status.production_for.is_empty();
        status.stage = Some(if produced { VersionStage::Production } else { VersionStage::Verified });
        status.reason = Some(LIFTED.to_owned());
        status.message =
            Some("A new retryToken lifted the rejection. The version may be rolled out again.".to_owned());
        status.rejected_by = None;
    }
}

/// The conditions of a version, worked out from the rest of its status; `beside`: those that are not.
#[must_use]
pub fn version_conditions(
    object: &ModelVersion,
    status: &ModelVersionStatus,
    beside: Vec<NewCondition>,
    now: Time,
) -> Vec<Field> {
    let before = object.status.as_ref().map_or(&[][..], |s| &s.conditions);
    let conditions = conditions(status).into_iter().chain(beside).collect();
    to_fields(conditions, before, object.metadata.generation, now)
}

fn conditions(status: &ModelVersionStatus) -> Vec<NewCondition> {
    let stage = status.stage.unwrap_or_default();
    let reason = status.reason.clone().unwrap_or_else(|| "Registered".to_owned());
    let message = status.message.clone().unwrap_or_default();
    let word = |kind, holds| NewCondition { kind, holds, reason: reason.clone(), message: message.clone() };
    let restored = (reason == RESTORED).then(|| word(RESTORED, true));
    let checked = status.verified_at.as_ref().map(from_k8s).is_some();
    let usable = matches!(stage, VersionStage::Verified | VersionStage::Production | VersionStage::Archived);
    [
        word("Ready", usable),
        match checked {
            true => NewCondition {
                kind: "Verified",
                holds: true,
                reason: "Checked".to_owned(),
                message: "The file has the registered size and digest.".to_owned(),
            },
            false => word("Verified", false),
        },
        word("Stalled", stage == VersionStage::Rejected),
    ]
    .into_iter()
    .chain(restored)
    .collect()
}
