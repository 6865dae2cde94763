//! Which plans and overrides are accepted: only newer ones than were ever seen, across restarts.

use std::sync::Arc;

use modelfleet_protocol::overrides::{ModelOverride, Override, OverrideAction};
use modelfleet_protocol::plan::{Order, Plan, check_build};

use crate::build::Build;
use crate::saved::Directive;
use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Identity, Output};

/// Whether a plan is for this device's fleet and newer than what was seen. What is merely a repetition is
/// passed over in silence: retained messages come again with every connect. Where nothing is kept of the model
/// (`here` is false) a repetition is looked at again: the device's labels may have changed since.
pub(crate) fn accepts(
    plan: &Plan,
    identity: &Identity,
    seen: &Order,
    here: bool,
    turn: &mut Turn<'_>,
) -> bool {
    let refuse = |turn: &mut Turn<'_>, why: String| {
        turn.emit(Output::Note(format!("{}: plan refused: {why}", plan.model)));
        false
    };
    if plan.namespace != identity.namespace {
        return refuse(turn, format!("it is for namespace {}", plan.namespace));
    }
    if let Err(error) = plan.check() {
        return refuse(turn, error.to_string());
    }
    if plan.order.replaces(seen) {
        return true;
    }
    if (plan.order.epoch, plan.order.revision) != (seen.epoch, seen.revision) {
        let (old, new) = ((plan.order.epoch, plan.order.revision), (seen.epoch, seen.revision));
        return refuse(turn, format!("{old:?} is older than {new:?}"));
    }
    !here
}

/// Whether an override is for this device and newer than what was seen.
pub(crate) fn accepts_override(order: &Override, seen: &Order, turn: &mut Turn<'_>) -> bool {
    let mine = order.namespace == turn.identity.namespace && order.device == turn.identity.device;
    let bounded = order.models.len() <= modelfleet_protocol::state::MODELS_MAX;
    if !mine || !bounded {
        turn.emit(Output::Note("override refused: for another device, or too long".to_owned()));
    }
    if !(mine && bounded && order.order.replaces(seen)) {
        return false;
    }
    for said in &order.models {
        if let OverrideAction::Pin(build) = &said.action
            && let Err(error) = check_build(build)
        {
            turn.emit(Output::Note(format!("{}: override refused: {error}", said.model)));
            return false;
        }
    }
    true
}

impl Unit {
    /// Takes over a plan that was accepted.
    pub fn obey(&mut self, plan: Arc<Plan>, turn: &mut Turn<'_>) {
        self.kept.seen = plan.order;
        for slot in &mut self.kept.slots {
            // Descriptions move to the newest plan, so that old plans are let go.
            if let Some(build) = Build::in_plan(&plan, &slot.build.digest) {
                slot.build = build;
            }
        }
        self.kept.plan = Some(plan);
        turn.save = true;
        self.retarget(turn);
    }

    /// Takes over what an override says of this model; nothing: the plan holds again.
    pub fn follow(&mut self, said: Option<&ModelOverride>, order: &Order, turn: &mut Turn<'_>) {
        let directive = match said.map(|m| &m.action) {
            Some(OverrideAction::Pin(build)) if build.model == self.model => Some(Directive::Pin {
                build: Build::from((**build).clone()),
                attempt: format!("pin-{}-{}", order.epoch, order.revision),
                expires: order.expires,
            }),
            Some(OverrideAction::Hold) => Some(Directive::Hold),
            _ => None,
        };
        if self.kept.directive != directive {
            self.kept.directive = directive;
            turn.changed();
            self.retarget(turn);
        }
    }

    /// Works out anew what is wanted.
    pub fn retarget(&mut self, turn: &mut Turn<'_>) {
        self.take_aim(turn.identity, turn.limits);
        let stable = self.stable();
        if let Some(slot) = stable.and_then(|digest| self.slot_mut(&digest)) {
            slot.stable = true;
        }
        self.observe_anew(turn);
    }
}
