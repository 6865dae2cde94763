//! The newest plan and override of one model, and the build that they want on this device.

use std::sync::Arc;

use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::overrides::{ModelOverride, OverrideAction};
use modelfleet_protocol::plan::{Order, Plan};

use super::build::Build;
use super::desired::{Desired, Target};
use crate::interface::{Identity, Limits};
use crate::saved::Directive;

/// The newest plan and override of one model, and what follows from them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    seen: Order,
    plan: Option<Arc<Plan>>,
    directive: Option<Directive>,
    desired: Desired,
    /// The build that the plan calls stable for this device.
    stable: Option<Digest>,
    /// Whether the stable build was chosen before a candidate.
    stable_first: bool,
}

impl Orders {
    /// Orders as they were saved. Nothing is wanted until [`Orders::choose`] was called.
    pub fn restored(seen: Order, plan: Option<Arc<Plan>>, directive: Option<Directive>) -> Orders {
        Orders { seen, plan, directive, ..Orders::default() }
    }

    /// The newest plan that was ever accepted.
    pub fn seen(&self) -> Order {
        self.seen
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

    pub fn rejected(&self) -> &[Digest] {
        self.plan.as_ref().map_or(&[], |plan| &plan.rejected)
    }

    pub fn rejects(&self, digest: &Digest) -> bool {
        self.rejected().contains(digest)
    }

    /// Takes over a plan that was accepted.
    pub fn take_plan(&mut self, plan: Arc<Plan>) {
        self.seen = plan.order;
        self.plan = Some(plan);
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

    /// Works out again which build is stable for this device.
    pub fn find_stable(&mut self, identity: &Identity) {
        let stable = self.plan.as_ref().and_then(|plan| plan.stable_of(&identity.labels));
        self.stable = stable.map(|build| build.digest);
    }

    /// Whether the last choice was made with this value of `stable_first`.
    pub fn chose_with(&self, stable_first: bool) -> bool {
        self.stable_first == stable_first
    }

    /// Works out again which build is wanted.
    pub fn choose(&mut self, identity: &Identity, limits: &Limits, stable_first: bool) {
        self.stable_first = stable_first;
        let (plan, directive) = (self.plan.as_ref(), self.directive.as_ref());
        self.desired = Desired::from_orders(plan, directive, identity, limits, stable_first);
    }
}
