//! The first page: fleets, and rollouts with those first that need a person.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt as _;
use modelfleet_crds::Rollout;
use modelfleet_crds::rollout::status::RolloutPhase;

use super::alarms;
use crate::dashboard::objects::Objects;
use crate::units::age;

/// Rollouts of one page.
pub const ROWS_MAX: usize = 100;

/// What a phase asks of people. The order is that of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attention {
    /// A person has to act.
    Needed,
    /// It goes on by itself.
    Underway,
    /// It waits for another one.
    Waiting,
    /// It has ended.
    Ended,
}

/// What a phase asks of people.
#[must_use]
pub fn attention(phase: Option<RolloutPhase>) -> Attention {
    match phase {
        Some(RolloutPhase::Stalled | RolloutPhase::AwaitingApproval | RolloutPhase::Paused) => {
            Attention::Needed
        }
        Some(RolloutPhase::Progressing | RolloutPhase::RollingBack) => Attention::Underway,
        Some(RolloutPhase::Queued) | None => Attention::Waiting,
        Some(RolloutPhase::RolledBack | RolloutPhase::Succeeded) => Attention::Ended,
    }
}

/// The first page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// A row for each fleet; on the page of one fleet that one.
    pub fleets: Vec<FleetRow>,
    /// Rollouts of this page.
    pub rollouts: Vec<RolloutRow>,
    /// How many rollouts there are in all.
    pub total: usize,
    /// Number of this page, from 1, and how many there are.
    pub page: (usize, usize),
}

/// One fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetRow {
    /// Its namespace.
    pub namespace: String,
    /// Rollouts that need a person.
    pub needed: usize,
    /// Rollouts that go on by themselves.
    pub underway: usize,
    /// Rollouts that wait for others.
    pub waiting: usize,
    /// Rollouts that were rolled back.
    pub rolled_back: usize,
    /// Rollouts that have succeeded.
    pub succeeded: usize,
    /// Models.
    pub models: BTreeSet<String>,
    /// Alarms.
    pub alarms: usize,
}

/// One rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRow {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Its phase.
    pub phase: Option<RolloutPhase>,
    /// Its stage, as the status has it.
    pub stage: String,
    /// Devices that run the version, as the status has it.
    pub updated: String,
    /// The verdict, as the status has it.
    pub verdict: String,
    /// What it waits for, or why it ended.
    pub message: String,
    /// How long ago it began, or was created.
    pub age: String,
}

fn phase(rollout: &Rollout) -> Option<RolloutPhase> {
    rollout.status.as_ref().and_then(|status| status.phase)
}

/// When something last began or ended.
fn moved(rollout: &Rollout) -> Option<Timestamp> {
    let status = rollout.status.as_ref();
    let ended = status.and_then(|status| status.finished_at.as_ref());
    let began = ended.or(status.and_then(|status| status.started_at.as_ref()));
    began.map(|time| time.0).or_else(|| rollout.creation_timestamp().map(|time| time.0))
}

/// The page with this number, from 1; of one fleet, or of all.
#[must_use]
pub fn overview(objects: &Objects, fleet: Option<&str>, page: usize, now: Timestamp) -> Overview {
    let is_wanted = |namespace: &str| fleet.is_none_or(|fleet| fleet == namespace);
    let mut fleets: BTreeMap<String, FleetRow> = BTreeMap::new();
    let mut row = |namespace: &str, change: &mut dyn FnMut(&mut FleetRow)| {
        if is_wanted(namespace) {
            let fresh = || FleetRow { namespace: namespace.to_owned(), ..FleetRow::default() };
            change(fleets.entry(namespace.to_owned()).or_insert_with(fresh));
        }
    };
    let mut rollouts: Vec<_> = objects
        .rollouts
        .iter()
        .filter(|rollout| is_wanted(&rollout.namespace().unwrap_or_default()))
        .collect();
    for rollout in &rollouts {
        let phase = phase(rollout);
        row(&rollout.namespace().unwrap_or_default(), &mut |fleet| {
            fleet.models.insert(rollout.spec.model.clone());
            *match (attention(phase), phase) {
                (Attention::Needed, _) => &mut fleet.needed,
                (Attention::Underway, _) => &mut fleet.underway,
                (Attention::Waiting, _) => &mut fleet.waiting,
                (Attention::Ended, Some(RolloutPhase::RolledBack)) => &mut fleet.rolled_back,
                (Attention::Ended, _) => &mut fleet.succeeded,
            } += 1;
        });
    }
    for version in &objects.versions {
        row(&version.namespace().unwrap_or_default(), &mut |fleet| {
            fleet.models.insert(version.spec.model.clone());
        });
    }
    for alarm in alarms::alarms(objects, fleet) {
        row(&alarm.namespace, &mut |fleet| fleet.alarms += 1);
    }
    rollouts.sort_by_cached_key(|rollout| {
        (attention(phase(rollout)), Reverse(moved(rollout)), rollout.namespace(), rollout.name_any())
    });
    let (total, pages) = (rollouts.len(), rollouts.len().div_ceil(ROWS_MAX).max(1));
    let page = page.clamp(1, pages);
    let rows = rollouts.iter().skip((page - 1) * ROWS_MAX).take(ROWS_MAX);
    Overview {
        fleets: fleets.into_values().collect(),
        rollouts: rows.map(|rollout| rollout_row(rollout, now)).collect(),
        total,
        page: (page, pages),
    }
}

/// A rollout in a list.
#[must_use]
pub fn rollout_row(rollout: &Rollout, now: Timestamp) -> RolloutRow {
    let status = rollout.status.clone().unwrap_or_default();
    RolloutRow {
        namespace: rollout.namespace().unwrap_or_default(),
        name: rollout.name_any(),
        model: rollout.spec.model.clone(),
        version: rollout.spec.version.clone(),
        phase: status.phase,
        stage: status.stage_summary.unwrap_or_default(),
        updated: status.updated.unwrap_or_default(),
        verdict: status.verdict_summary.unwrap_or_default(),
        message: status.message.unwrap_or_else(|| "the controller has not seen this rollout yet".to_owned()),
        age: moved(rollout).map(|time| age(time, now)).unwrap_or_default(),
    }
}
