//! The newest plan and override of one model, and the build that they want on this device.

use std::sync::Arc;

use modelfleet_protocol::envelope::Signed;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::overrides::{ModelOverride, OverrideAction};
use modelfleet_protocol::plan::{Order, Plan};

use super::build::Build;
use super::desired::{Desired, Target};
use super::seen::SeenOrders;
use crate::interface::{Identity, Limits};
use crate::saved::Directive;
use crate::trust::TrustRules;

/// The newest plan and override of one model, and what follows from them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    seen: SeenOrders,
    plan: Option<Arc<Plan>>,
    directive: Option<Directive>,
    desired: Desired,
    /// The build that the plan calls stable for this device.
    stable: Option<Digest>,
    /// Of the builds that are known, those that the trust document's floor forbids for good.
    forbidden: Vec<Digest>,
    /// Whether the stable build was chosen before a candidate.
    stable_first: bool,
}

impl Orders {
    /// Orders as they were saved. Nothing is wanted until [`Orders::choose`] was called.
    pub fn restored(seen: SeenOrders, plan: Option<Arc<Plan>>, directive: Option<Directive>) -> Orders {
        Orders { seen, plan, directive, ..Orders::default() }
    }

    /// The newest plans that were ever accepted.
    pub fn seen(&self) -> &SeenOrders {
        &self.seen
    }

    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.plan.as_ref()
    }

    pub fn directive(&self) -> Option<&Directive> {
        self.directive.as_ref()
    }

    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// Whether nothing may change.
    pub fn is_unchanged(&self) -> bool {
        self.desired == Desired::Unchanged
    }

    pub fn target(&self) -> Option<&Arc<Target>> {
        if let Desired::Run(target) = &self.desired { Some(target) } else { None }
    }

    /// The target, if it is this build.
    pub fn target_of(&self, digest: &Digest) -> Option<&Arc<Target>> {
        self.target().filter(|target| &target.build.digest == digest)
    }

    /// The build that the plan calls stable for this device.
    pub fn stable(&self) -> Option<Digest> {
        self.stable
    }

    /// Whether the plan rejects the build. What a plan has rejected stays so when its key is revoked.
    pub fn rejects(&self, digest: &Digest) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.rejected.contains(digest))
    }

    /// Whether the build may not run here: the plan rejects it, or the floor forbids it.
    pub fn bars(&self, digest: &Digest) -> bool {
        self.forbids(digest) || self.rejects(digest)
    }

    /// Whether the floor forbids the build for good.
    pub fn forbids(&self, digest: &Digest) -> bool {
        self.forbidden.contains(digest)
    }

    /// Takes over a plan that was accepted.
    pub fn take_plan(&mut self, plan: Signed<Arc<Plan>>, trust: &TrustRules) {
        self.seen.accept(plan.what.order, plan.by, trust);
        self.plan = Some(plan.what);
    }

    /// Forgets what revoked keys have signed. Returns whether the plan counts no more.
    pub fn forget_revoked(&mut self, trust: &TrustRules) -> bool {
        self.seen.forget_revoked(trust) && !self.seen.counts(trust)
    }

    /// The override counts no more. Returns whether there was one.
    pub fn end_directive(&mut self) -> bool {
        self.directive.take().is_some()
    }

    /// Takes over what an override says of this model; `None`: the plan applies again. Returns whether that changes
    /// anything.
    pub fn take_override(&mut self, model: &ModelName, named: Option<&ModelOverride>, order: &Order) -> bool {
        let directive = match named.map(|named| &named.action) {
            Some(OverrideAction::Pin(build)) if &build.model == model => Some(Directive::Pin {
                build: Build::from((**build).clone()),
                attempt: format!("pin-{}-{}", order.epoch, order.revision),
                expires: order.expires,
            }),
            Some(OverrideAction::Hold) => Some(Directive::Hold),
            _ => None,
        };
        let changes = self.directive != directive;
        self.directive = directive;
        changes
    }

    /// Works out again which of the builds that are known the floor forbids. `on_disk`: those that a slot holds.
    pub fn forbid<'s>(&mut self, on_disk: impl Iterator<Item = &'s ModelBuild>, trust: &TrustRules) {
        let pinned = match &self.directive {
            Some(Directive::Pin { build, .. }) => Some(&**build),
            _ => None,
        };
        let planned = self.plan.iter().flat_map(|plan| plan.builds()).chain(pinned);
        let forbidden = |build: &ModelBuild| trust.allows(build).is_err().then_some(build.digest);
        self.forbidden = on_disk.filter_map(forbidden).chain(planned.filter_map(forbidden)).collect();
    }

    /// Works out again which build is stable for this device: the first one that may run. If the floor forbids all of them,
    /// the first one stays the target, so that the device says why it does not run it.
    pub fn find_stable(&mut self, identity: &Identity) {
        let all = || self.plan.iter().flat_map(|plan| plan.stables_of(&identity.labels)).map(|b| b.digest);
        self.stable = all().find(|digest| !self.forbids(digest)).or_else(|| all().next());
    }

    /// Whether the last choice was made with this value of `stable_first`.
    pub fn chose_with(&self, stable_first: bool) -> bool {
        self.stable_first == stable_first
    }

    /// Works out again which build is wanted.
    pub fn choose(&mut self, identity: &Identity, limits: &Limits, trust: &TrustRules, stable_first: bool) {
        self.stable_first = stable_first;
        // A plan of a revoked key changes nothing more.
        let plan = self.plan.as_ref().filter(|_| self.seen.counts(trust));
        let target = |plan| Desired::from_plan(plan, self.stable, identity, limits, stable_first);
        let mut desired = match (&self.directive, plan) {
            (Some(Directive::Hold), _) => Desired::Unchanged,
            (Some(Directive::Pin { build, attempt, expires }), _) if !self.bars(&build.digest) => {
                Desired::pinned(build, attempt, *expires, limits)
            }
            (_, Some(plan)) => target(plan),
            (_, None) => Desired::Unchanged,
        };
        desired.limit(|expires| trust.limits(expires));
        self.desired = desired;
    }
}
