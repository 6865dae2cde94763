//! The models that this device manages: those that are wanted here, and those that have left something on the disk. Of
//! all other models, only the number of the newest plan is remembered.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_protocol::envelope::Signed;
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::overrides::{Override, OverrideAction};
use modelfleet_protocol::plan::{Plan, Wanted};
use modelfleet_protocol::state::MODELS_MAX;

use super::context::StepContext;
use crate::interface::{Identity, Input, Limits, Output};
use crate::model::ManagedModel;
use crate::plan::intake;
use crate::saved::{SEEN_MAX, SavedModel, SeenOrders};
use crate::trust::TrustRules;

/// The models that this device manages, at most [`MODELS_MAX`].
#[derive(Clone, Debug, Default)]
pub(crate) struct ModelTable {
    models: BTreeMap<ModelName, ManagedModel>,
    /// Newest plans of other models.
    seen_plans: BTreeMap<ModelName, SeenOrders>,
}

impl ModelTable {
    pub fn restored(
        (models, seen_plans): (BTreeMap<ModelName, SavedModel>, BTreeMap<ModelName, SeenOrders>),
        windows: &BTreeMap<ModelName, Vec<u8>>,
        identity: &Identity,
        limits: &Limits,
        trust: &TrustRules,
    ) -> ModelTable {
        let model = |(name, saved): (ModelName, SavedModel)| {
            let windows = windows.get(&name).map(Vec::as_slice);
            let model = ManagedModel::restored(name.clone(), saved, windows, identity, limits, trust);
            (name, model)
        };
        let models = models.into_iter().take(MODELS_MAX).map(model).collect();
        let seen = |(name, seen): (ModelName, SeenOrders)| (name, seen.attributed(trust.start_keys()));
        ModelTable { models, seen_plans: seen_plans.into_iter().take(SEEN_MAX).map(seen).collect() }
    }

    pub fn iter(&self) -> impl Iterator<Item = &ManagedModel> {
        self.models.values()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut ManagedModel> {
        self.models.values_mut()
    }

    pub fn get(&self, name: &ModelName) -> Option<&ManagedModel> {
        self.models.get(name)
    }

    pub fn saved(&self) -> BTreeMap<ModelName, SavedModel> {
        self.models.iter().map(|(name, model)| (name.clone(), model.saved())).collect()
    }

    pub fn seen_plans(&self) -> &BTreeMap<ModelName, SeenOrders> {
        &self.seen_plans
    }

    pub fn take_plan(&mut self, plan: Signed<Arc<Plan>>, ctx: &mut StepContext<'_>) {
        let name = plan.what.model.clone();
        let managed = self.models.get(&name).map(ManagedModel::seen_plans);
        let is_managed = managed.is_some();
        let mut seen = managed.or_else(|| self.seen_plans.get(&name)).cloned().unwrap_or_default();
        if !intake::accepts_plan(&plan, &seen, is_managed, ctx) {
            return;
        }
        let wanted = plan.what.wanted(&ctx.identity.device, &ctx.identity.labels) != Wanted::Nothing;
        if !is_managed && !wanted {
            if seen.newest != plan.what.order || seen.signer != Some(plan.by) {
                seen.accept(plan.what.order, plan.by, ctx.trust);
                self.remember(name, seen);
                ctx.save();
            }
            return;
        }
        if let Some(model) = self.get_or_add(&name, ctx) {
            model.take_plan(plan, ctx);
        }
    }

    /// The models for which the device goes by an override and not by the plan.
    pub fn directed(&self) -> Vec<ModelName> {
        self.iter().filter(|model| model.is_directed()).map(|model| model.name().clone()).collect()
    }

    pub fn take_override(
        &mut self,
        order: Signed<Box<Override>>,
        seen: &mut SeenOrders,
        ctx: &mut StepContext<'_>,
    ) {
        if !intake::accepts_override(&order, seen, ctx) {
            return;
        }
        let Signed { what: order, by } = order;
        seen.accept(order.order, by, ctx.trust);
        ctx.save();
        // The controller waits to be told that it was taken, also where nothing changes by it.
        ctx.publish();
        for named in order.models.iter().filter(|named| named.action != OverrideAction::Release) {
            let _ = self.get_or_add(&named.model, ctx);
        }
        for model in self.models.values_mut() {
            let named = order.models.iter().find(|named| &named.model == model.name());
            model.take_override(named, &order.order, ctx);
        }
    }

    /// Another trust document counts. Returns whether a plan that a revoked key has signed counts no more.
    pub fn trust_changed(&mut self, ctx: &mut StepContext<'_>) -> bool {
        let mut ended = false;
        for model in self.models.values_mut() {
            ended |= model.trust_changed(ctx);
        }
        for seen in self.seen_plans.values_mut() {
            ended |= seen.forget_revoked(ctx.trust) && !seen.counts(ctx.trust);
        }
        ended
    }

    /// No override counts any more.
    pub fn end_directives(&mut self, ctx: &mut StepContext<'_>) {
        self.iter_mut().for_each(|model| model.end_directive(ctx));
    }

    /// Passes what the shell did, or could not do, to the models that it concerns.
    pub fn apply_outcome(&mut self, input: Input, ctx: &mut StepContext<'_>) {
        let named = match &input {
            Input::FetchProgress { .. }
            | Input::FetchFailed { .. }
            | Input::RoomOnDisk
            | Input::SlotLost { .. } => {
                return self.iter_mut().for_each(|model| model.apply_outcome(&input, ctx));
            }
            Input::Fetched { digest, details } => {
                let mut wanted = false;
                self.iter_mut()
                    .for_each(|model| wanted |= model.download_finished(digest, details.as_ref(), ctx));
                if !wanted {
                    ctx.emit(Output::Delete { digest: *digest });
                }
                return;
            }
            Input::Admitted { model: name, digest, engine, memory_bytes } => {
                let model = self.models.get_mut(name);
                if !model.is_some_and(|model| model.loaded(digest, engine, *memory_bytes, ctx)) {
                    ctx.emit(Output::Unload { model: name.clone(), digest: *digest });
                }
                return;
            }
            Input::Refused { model, .. }
            | Input::Unreadable { model, .. }
            | Input::Shadowing { model, .. }
            | Input::Switched { model, .. }
            | Input::SwitchFailed { model, .. }
            | Input::EngineEnded { model, .. }
            | Input::WindowClosed { model, .. }
            | Input::TruthArrived { model, .. }
            | Input::Health { model, .. } => model,
            Input::Started { .. }
            | Input::Stopping
            | Input::NotSaved
            | Input::Saved
            | Input::Memory { .. }
            | Input::Connecting
            | Input::Connected { .. }
            | Input::Disconnected
            | Input::BrokerHeard
            | Input::Plan(_)
            | Input::Override(_)
            | Input::Trust(_)
            | Input::Wake => return,
        };
        if let Some(model) = self.models.get_mut(named) {
            model.apply_outcome(&input, ctx);
        }
    }

    /// The model of this name, added when it is needed first. If the table is full, a model that has nothing on disk and
    /// is not wanted makes room.
    fn get_or_add(&mut self, name: &ModelName, ctx: &mut StepContext<'_>) -> Option<&mut ManagedModel> {
        if !self.models.contains_key(name) {
            if self.models.len() >= MODELS_MAX && !self.make_room() {
                ctx.log(format!("{name}: ignored, because this device has {MODELS_MAX} models already"));
                return None;
            }
            let seen = self.seen_plans.remove(name).unwrap_or_default();
            self.models.insert(name.clone(), ManagedModel::new(name.clone(), seen));
        }
        self.models.get_mut(name)
    }

    fn make_room(&mut self) -> bool {
        let idle = self.models.values().filter(|model| model.is_idle());
        let name = idle.min_by_key(|model| model.last_attempt_change()).map(|model| model.name().clone());
        let Some(name) = name else { return false };
        if let Some(model) = self.models.remove(&name) {
            self.remember(name, model.seen_plans().clone());
        }
        true
    }

    fn remember(&mut self, model: ModelName, seen: SeenOrders) {
        if self.seen_plans.len() >= SEEN_MAX && !self.seen_plans.contains_key(&model) {
            // The model whose last plan is oldest is the one that is most likely gone.
            let oldest =
                self.seen_plans.iter().min_by_key(|(_, seen)| seen.newest.issued).map(|(m, _)| m.clone());
            oldest.and_then(|oldest| self.seen_plans.remove(&oldest));
        }
        self.seen_plans.insert(model, seen);
    }
}
