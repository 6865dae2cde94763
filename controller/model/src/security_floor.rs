//! Versions that the trust document forbids for good: no rollout brings them out, no way back leads to them, and no plan names
//! them. Devices hold to the same floors by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::trust::TrustDocument;
use modelfleet_rollout::{Proven, State, VersionFact};

use crate::objects::ModelObjects;
use crate::plan::DesiredPlan;
use crate::restore;
use crate::status::conditions::NewCondition;

/// The condition of a version that the trust document forbids.
pub const BELOW_FLOOR: &str = "BelowFloor";

/// The floor of one model.
#[derive(Clone, Copy)]
pub struct Floor<'a> {
    trust: Option<&'a TrustDocument>,
    model: &'a ModelName,
}

impl<'a> Floor<'a> {
    /// The floor of `model`; without a trust document there is none.
    #[must_use]
    pub fn of(trust: Option<&'a TrustDocument>, model: &'a ModelName) -> Floor<'a> {
        Floor { trust, model }
    }

    /// What is said of a version that may not run; `None`: it may. A text that is no version is no version below the floor.
    #[must_use]
    pub fn forbids(&self, version: &str) -> Option<String> {
        let trust = self.trust?;
        let floor = trust.floor_of(self.model)?;
        let version = semver::Version::parse(version).ok()?;
        version.cmp_precedence(floor).is_lt().then(|| {
            format!(
                "trust document {} forbids versions of {} below {floor} for good",
                trust.version, self.model
            )
        })
    }

    /// Where a version stands.
    pub(crate) fn fact(
        &self,
        objects: &ModelObjects,
        rollout: &Rollout,
        state: &State,
        version: &str,
    ) -> VersionFact {
        let Some(why) = self.forbids(version) else {
            return restore::fact(objects, rollout, state, version);
        };
        let floor = self.trust.and_then(|trust| trust.floor_of(self.model));
        let next = floor.map_or_else(String::new, |floor| format!("; roll out {floor} or a later version"));
        VersionFact::Forbidden(format!("may not run: {why}{next}"))
    }

    /// Why devices may not go back to one of these; empty: they may.
    pub(crate) fn forbids_way_back<'b>(&self, prior: impl Iterator<Item = &'b Proven>) -> String {
        let mut forbidden = prior.filter_map(|entry| Some((&entry.version, self.forbids(&entry.version)?)));
        let found = forbidden.next();
        found.map_or_else(String::new, |(version, why)| format!("{why}, and the version before is {version}"))
    }

    /// Builds that a plan may name.
    pub(crate) fn allowed(&self, builds: &BTreeMap<String, ModelBuild>) -> BTreeMap<String, ModelBuild> {
        let may_run = builds.iter().filter(|(version, _)| self.forbids(version).is_none());
        may_run.map(|(version, build)| (version.clone(), build.clone())).collect()
    }

    /// Digests of known builds that may not run. A device that has no trust document leaves them by the plan's word.
    pub(crate) fn digests(&self, builds: &BTreeMap<String, ModelBuild>) -> Vec<Digest> {
        let forbidden = builds.iter().filter(|(version, _)| self.forbids(version).is_some());
        forbidden.map(|(_, build)| build.digest).collect()
    }

    /// The plan without builds that may not run: one that was kept from an earlier time may name some.
    pub(crate) fn without_forbidden(&self, plan: DesiredPlan) -> DesiredPlan {
        let DesiredPlan::Plan(mut plan) = plan else { return plan };
        let may_run = |build: &ModelBuild| self.forbids(&build.version.to_string()).is_none();
        plan.stable = plan.stable.take().filter(may_run);
        plan.stable_for.retain(|own| may_run(&own.build));
        plan.candidate = plan.candidate.take().filter(|candidate| may_run(&candidate.build));
        DesiredPlan::Plan(plan)
    }

    /// Versions whose condition about the floor is to be written, each with what it says.
    #[must_use]
    pub fn to_tell(&self, objects: &ModelObjects) -> Vec<(Arc<ModelVersion>, NewCondition)> {
        let tell = |object: &Arc<ModelVersion>| {
            let told = floor_condition(object);
            let wanted = match self.forbids(&object.spec.version) {
                Some(why) => NewCondition {
                    kind: BELOW_FLOOR,
                    holds: true,
                    reason: "VersionForbidden".to_owned(),
                    message: format!("Version {} may not run any more: {why}.", object.spec.version),
                },
                // A floor never sinks; but the document may be given up.
                None if told.as_ref().is_some_and(|told| told.holds) => NewCondition {
                    kind: BELOW_FLOOR,
                    holds: false,
                    reason: "NoFloor".to_owned(),
                    message: String::new(),
                },
                None => return None,
            };
            (told.as_ref() != Some(&wanted)).then(|| (Arc::clone(object), wanted))
        };
        objects.versions.values().filter_map(tell).collect()
    }
}

/// What a version's status says of the floor.
#[must_use]
pub fn floor_condition(object: &ModelVersion) -> Option<NewCondition> {
    let conditions = &object.status.as_ref()?.conditions;
    let said = conditions.iter().find(|condition| condition.type_ == BELOW_FLOOR)?;
    Some(NewCondition {
        kind: BELOW_FLOOR,
        holds: said.status == "True",
        reason: said.reason.clone(),
        message: said.message.clone(),
    })
}
