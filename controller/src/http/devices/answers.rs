//! What the index knows, in the words of the API.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as K8sTime;
use kube::ResourceExt as _;
use modelfleet_crds::device_api::{
    Attempt, Build, Device, DeviceChange, DeviceDetail, DeviceModel, DevicePage, DeviceReport, FailureGroup,
    FailureList, ObjectiveWindows, StageMembership,
};
use modelfleet_crds::rollout::status::Membership;
use modelfleet_fleet::device_list::{self, SeenAttempt, SeenDevice, SeenModel, SeenReport};
use modelfleet_fleet::wrong_clocks::Offset;
use modelfleet_fleet::{Fleet, failure_groups};
use modelfleet_model::status::membership;
use modelfleet_model::status::time::to_k8s;
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName, Namespace};
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::state::FailureCode;
use modelfleet_protocol::time::Time;
use serde::Serialize;

use super::query::continued;
use crate::context::Context;

/// Most stages of rollouts that are told of one device, those of the newest rollouts first.
const STAGES_MAX: usize = 32;
/// Windows that are kept one by one.
const WINDOWS: u32 = 64;

/// The versions that digests are of.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<Digest, Vec<(String, String)>>);

impl Names {
    /// Those of a namespace.
    pub fn of(ctx: &Context, namespace: &Namespace) -> Names {
        let mut names: BTreeMap<Digest, Vec<(String, String)>> = BTreeMap::new();
        for version in ctx.versions.state() {
            if version.namespace().as_deref() != Some(namespace.as_str()) {
                continue;
            }
            if let Ok(digest) = version.spec.artifact.digest.parse() {
                let name = (version.spec.model.clone(), version.spec.version.clone());
                names.entry(digest).or_default().push(name);
            }
        }
        Names(names)
    }

    /// The digests of a version, of one model or of any.
    pub fn digests(&self, model: Option<&ModelName>, version: &str) -> Vec<Digest> {
        let is_it = |(of, named): &(String, String)| {
            named == version && model.is_none_or(|model| model.as_str() == of)
        };
        self.0.iter().filter(|(_, names)| names.iter().any(is_it)).map(|(digest, _)| *digest).collect()
    }

    fn build(&self, model: &ModelName, digest: Digest) -> Build {
        let names = self.0.get(&digest).into_iter().flatten();
        let version = names.filter(|(of, _)| of == model.as_str()).map(|(_, version)| version.clone()).max();
        Build { version, digest: digest.to_string() }
    }
}

/// How answers are told.
pub struct Told<'a> {
    /// Versions of digests.
    pub names: &'a Names,
    /// The moment.
    pub now: Time,
}

/// A word of the protocol as text.
fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A device's moment; one that is no time at all is not told.
fn moment(time: Time) -> Option<K8sTime> {
    (time != Time::ZERO).then(|| to_k8s(time))
}

/// The rollout of an attempt, whose name has a part of its uid and its number behind it.
fn rollout_of(attempt: &str) -> Option<String> {
    let name = attempt.split(['@', '#']).next().unwrap_or_default();
    (!name.is_empty()).then(|| name.to_owned())
}

fn offset_ms(offset: Offset) -> i64 {
    match offset {
        Offset::Ahead(ms) => i64::try_from(ms).unwrap_or(i64::MAX),
        Offset::Behind(ms) => i64::try_from(ms).map_or(i64::MIN, |ms| -ms),
    }
}

fn blames(code: FailureCode) -> &'static str {
    match code {
        code if code.is_incompatibility() => "Incompatible",
        code if code.is_own_trouble() => "Device",
        code if code.is_hard_stop() => "Model",
        _ => "Delivery",
    }
}

impl Told<'_> {
    /// A page.
    pub fn page(&self, page: device_list::DevicePage, fleet: &Fleet) -> DevicePage {
        DevicePage {
            items: page.devices.into_iter().map(|seen| self.device(&seen)).collect(),
            next: page.next.map(continued),
            devices: fleet.len() as u64,
            complete: fleet.complete_since().is_some(),
            at: to_k8s(self.now),
        }
    }

    fn device(&self, seen: &SeenDevice) -> Device {
        Device {
            id: seen.id.to_string(),
            labels: seen.labels.clone().unwrap_or_default(),
            connected: seen.presence.is_some_and(|presence| presence.online),
            connected_since: seen.presence.and_then(|presence| moment(presence.since)),
            heard_at: seen.heard.and_then(moment),
            left_out: seen.left_out.clone(),
            clock_offset_ms: seen.clock.map(offset_ms),
            trust_version: seen.trust,
            models: seen.models.iter().map(|model| self.model(model)).collect(),
        }
    }

    fn model(&self, seen: &SeenModel) -> DeviceModel {
        let build = |digest| self.names.build(&seen.model, digest);
        let (running, activated, confirmed) = match seen.running {
            Some((digest, activated, confirmed)) => (Some(build(digest)), moment(activated), confirmed),
            None => (None, None, false),
        };
        DeviceModel {
            model: seen.model.to_string(),
            running,
            activated_at: activated,
            confirmed,
            spare: seen.spare.map(build),
            attempt: seen.attempt.as_ref().map(|attempt| self.attempt(&seen.model, attempt)),
            plan_revision: seen.plan.map(|(_, revision)| revision),
            plan_epoch: seen.plan.map(|(epoch, _)| epoch),
        }
    }

    fn attempt(&self, model: &ModelName, seen: &SeenAttempt) -> Attempt {
        Attempt {
            rollout: rollout_of(&seen.rollout),
            build: seen.digest.map(|digest| self.names.build(model, digest)),
            phase: word(seen.phase),
            failure: seen.failure.map(word),
            since: moment(seen.since),
        }
    }

    /// One device with all that is known of it.
    pub fn detail(&self, ctx: &Context, namespace: &Namespace, seen: SeenDevice) -> DeviceDetail {
        let fleet = ctx.fleets.named(namespace);
        let (changes, plans) = {
            let fleet = fleet.locked();
            let observe = |model: &ModelName| {
                Some(fleet.ledger.newest(&(namespace.clone(), model.clone()))?.observe.clone())
            };
            let plans: Vec<Option<Observe>> = seen.models.iter().map(|entry| observe(&entry.model)).collect();
            (fleet.index.changes_of(&seen.id), plans)
        };
        let reports = seen.models.iter().zip(&plans);
        let reports = reports.filter_map(|(entry, observe)| {
            Some(report(&entry.model, entry.report.as_ref()?, observe.as_ref()))
        });
        let labels = seen.labels.clone().unwrap_or_default();
        DeviceDetail {
            reports: reports.collect(),
            changes: changes.into_iter().map(|change| self.change(change)).collect(),
            stages: stages(ctx, namespace, &seen.id, &labels),
            device: self.device(&seen),
            at: to_k8s(self.now),
        }
    }

    fn change(&self, change: modelfleet_fleet::DeviceChange) -> DeviceChange {
        let build = |digest| self.names.build(&change.model, digest);
        DeviceChange {
            heard_at: to_k8s(change.heard),
            model: change.model.to_string(),
            before: change.before.map(build),
            running: change.running.map(build),
            attempt: change.attempt.as_ref().map(|(rollout, phase, failure)| Attempt {
                rollout: rollout_of(rollout),
                phase: word(phase),
                failure: failure.map(word),
                ..Attempt::default()
            }),
        }
    }

    /// Why devices failed.
    pub fn failures(&self, groups: Vec<failure_groups::FailureGroup>, fleet: &Fleet) -> FailureList {
        let group = |group: failure_groups::FailureGroup| FailureGroup {
            build: self.names.build(&group.model, group.digest),
            model: group.model.to_string(),
            failure: word(group.failure),
            blames: blames(group.failure).to_owned(),
            devices: group.devices,
            latest_at: to_k8s(group.latest),
            examples: group.named.iter().map(ToString::to_string).collect(),
        };
        FailureList {
            items: groups.into_iter().map(group).collect(),
            devices: fleet.len() as u64,
            complete: fleet.complete_since().is_some(),
            at: to_k8s(self.now),
        }
    }
}

/// A report, with the names that the newest plan has for what it counts.
fn report(model: &ModelName, seen: &SeenReport, observe: Option<&Observe>) -> DeviceReport {
    let plan = observe.filter(|observe| observe.id() == seen.observe_id);
    let name = |at: usize| match plan.and_then(|plan| plan.indicators.get(at)) {
        Some(indicator) => indicator.name.clone(),
        None => (at + 1).to_string(),
    };
    let objective = |(at, (known, bad)): (usize, &(u64, u64))| ObjectiveWindows {
        slo: name(at),
        windows: letters(*known, *bad),
    };
    DeviceReport {
        model: model.to_string(),
        heard_at: to_k8s(seen.heard),
        window_ms: seen.window_ms,
        ends_at: to_k8s(Time(seen.end.saturating_mul(seen.window_ms))),
        objectives: seen.windows.iter().enumerate().map(objective).collect(),
    }
}

/// A letter for each window, the oldest first, from the first that is known on.
fn letters(known: u64, bad: u64) -> String {
    let first = WINDOWS - known.leading_zeros();
    let letter = |at: u32| match (known >> at & 1, bad >> at & 1) {
        (0, _) => '-',
        (_, 0) => 'g',
        _ => 'b',
    };
    (0..first).rev().map(letter).collect()
}

/// The stages that have selected a device, those of the newest rollouts first.
fn stages(ctx: &Context, namespace: &Namespace, device: &DeviceId, labels: &Labels) -> Vec<StageMembership> {
    let mut rollouts = ctx.rollouts.state();
    rollouts.retain(|rollout| rollout.namespace().as_deref() == Some(namespace.as_str()));
    rollouts.sort_by_key(|rollout| std::cmp::Reverse(rollout.creation_timestamp()));
    let of = |rollout: &std::sync::Arc<modelfleet_crds::Rollout>| {
        let status = rollout.status.as_ref()?;
        let field = status.membership.as_ref()?;
        let clause = field.clauses.iter().find(|clause| {
            let alone = Membership { salt: field.salt.clone(), clauses: vec![(*clause).clone()] };
            membership::from_field(&alone).is_some_and(|alone| alone.includes(device, labels))
        })?;
        Some(StageMembership {
            rollout: rollout.name_any(),
            version: rollout.spec.version.clone(),
            stage: clause.stage.clone(),
            phase: status.phase.map(|phase| format!("{phase:?}")),
        })
    };
    rollouts.iter().filter_map(of).take(STAGES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_told_from_the_oldest_that_is_known() {
        assert_eq!(letters(0, 0), "");
        assert_eq!(letters(0b1, 0), "g");
        assert_eq!(letters(0b11001, 0b10001), "bg--b");
        assert_eq!(letters(u64::MAX, 0), "g".repeat(64));
    }

    #[test]
    fn an_attempt_is_of_the_rollout_that_its_name_begins_with() {
        assert_eq!(rollout_of("pump-1.2.0@5d41#2").as_deref(), Some("pump-1.2.0"));
        assert_eq!(rollout_of(""), None);
    }
}
