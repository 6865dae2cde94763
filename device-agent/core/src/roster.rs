//! Which models this device keeps a unit of: those that something is wanted of here, or that have left something
//! here. Of all others only the newest plan's number is remembered.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::overrides::{Override, OverrideAction};
use modelfleet_protocol::plan::{Order, Plan, Wanted};
use modelfleet_protocol::state::MODELS_MAX;

use crate::observation::Observation;
use crate::plan_intake;
use crate::saved::{Kept, SEEN_MAX};
use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Identity, Limits, Output};

#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    pub units: BTreeMap<ModelName, Unit>,
    pub seen: BTreeMap<ModelName, Order>,
}

impl Roster {
    pub fn restored(
        models: BTreeMap<ModelName, Kept>,
        seen: BTreeMap<ModelName, Order>,
        windows: &BTreeMap<ModelName, Vec<u8>>,
        identity: &Identity,
        limits: &Limits,
    ) -> Roster {
        let unit = |(model, kept): (ModelName, Kept)| {
            let mut unit = Unit::new(model.clone(), kept);
            unit.take_aim(identity, limits);
            unit.observation =
                windows.get(&model).map_or_else(Observation::default, |b| Observation::from_bytes(b));
            (model, unit)
        };
        let units = models.into_iter().take(MODELS_MAX).map(unit).collect();
        Roster { units, seen: seen.into_iter().take(SEEN_MAX).collect() }
    }

    pub fn take_plan(&mut self, plan: Arc<Plan>, turn: &mut Turn<'_>) {
        let unit = self.units.get(&plan.model).map(|unit| unit.kept.seen);
        let seen = unit.or_else(|| self.seen.get(&plan.model).copied());
        let here = unit.is_some();
        if !plan_intake::accepts(&plan, turn.identity, &seen.unwrap_or_default(), here, turn) {
            return;
        }
        let wanted = plan.wanted(&turn.identity.device, &turn.identity.labels) != Wanted::Nothing;
        if !here && !wanted {
            if seen != Some(plan.order) {
                self.remember(plan.model.clone(), plan.order);
                turn.save = true;
            }
            return;
        }
        if let Some(unit) = self.unit_of(&plan.model, turn) {
            unit.obey(plan, turn);
        }
    }

    pub fn take_override(&mut self, order: &Override, seen: &mut Order, turn: &mut Turn<'_>) {
        if !plan_intake::accepts_override(order, seen, turn) {
            return;
        }
        *seen = order.order;
        turn.save = true;
        for said in order.models.iter().filter(|said| said.action != OverrideAction::Release) {
            let _ = self.unit_of(&said.model, turn);
        }
        for unit in self.units.values_mut() {
            let said = order.models.iter().find(|said| said.model == unit.model);
            unit.follow(said, &order.order, turn);
        }
    }

    /// The unit of a model, made on first need. One that has nothing on disk and is wanted for nothing makes
    /// room.
    fn unit_of(&mut self, model: &ModelName, turn: &mut Turn<'_>) -> Option<&mut Unit> {
        if !self.units.contains_key(model) {
            if self.units.len() >= MODELS_MAX && !self.make_room() {
                let most = MODELS_MAX;
                turn.emit(Output::Note(format!("{model}: left out, this device has {most} models already")));
                return None;
            }
            let seen = self.seen.remove(model).unwrap_or_default();
            let kept = Kept { seen, ..Kept::default() };
            self.units.insert(model.clone(), Unit::new(model.clone(), kept));
        }
        self.units.get_mut(model)
    }

    fn make_room(&mut self) -> bool {
        let idle = self.units.values().filter(|unit| unit.is_idle());
        let newest = |unit: &&Unit| unit.kept.attempts.iter().map(|t| t.attempt.since).max();
        let Some(model) = idle.min_by_key(newest).map(|unit| unit.model.clone()) else { return false };
        if let Some(unit) = self.units.remove(&model) {
            self.remember(model, unit.kept.seen);
        }
        true
    }

    fn remember(&mut self, model: ModelName, order: Order) {
        if self.seen.len() >= SEEN_MAX && !self.seen.contains_key(&model) {
            // The one that was heard of longest ago is the likeliest to be gone.
            let oldest = self.seen.iter().min_by_key(|(_, order)| order.issued).map(|(m, _)| m.clone());
            oldest.and_then(|oldest| self.seen.remove(&oldest));
        }
        self.seen.insert(model, order);
    }
}
