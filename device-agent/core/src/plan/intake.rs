//! Which plans and overrides are accepted: those of this fleet and device that are newer than all before, across
//! restarts.

use modelfleet_protocol::overrides::{Override, OverrideAction};
use modelfleet_protocol::plan::{Order, Plan, check_build};
use modelfleet_protocol::state::MODELS_MAX;

use crate::agent::context::StepContext;

/// Whether a plan is for this fleet and newer than the last one. A repetition is ignored without a log line, because
/// retained messages come again with every connect. If the device does not manage the model (`is_managed` is false), a
/// repetition is read again, because the device's labels may have changed since.
pub(crate) fn accepts_plan(plan: &Plan, seen: &Order, is_managed: bool, ctx: &mut StepContext<'_>) -> bool {
    let refuse = |ctx: &mut StepContext<'_>, why: String| {
        ctx.log(format!("{}: plan refused: {why}", plan.model));
        false
    };
    if plan.namespace != ctx.identity.namespace {
        let why =
            format!("it is for namespace {}, this device is in {}", plan.namespace, ctx.identity.namespace);
        return refuse(ctx, why);
    }
    if let Err(error) = plan.check() {
        return refuse(ctx, error.to_string());
    }
    if plan.order.replaces(seen) {
        return true;
    }
    if (plan.order.epoch, plan.order.revision) != (seen.epoch, seen.revision) {
        let Order { epoch, revision, .. } = plan.order;
        let newest = format!("epoch {}, revision {}", seen.epoch, seen.revision);
        return refuse(ctx, format!("epoch {epoch}, revision {revision} is older than {newest}"));
    }
    !is_managed
}

/// Whether an override is for this device and newer than the last one.
pub(crate) fn accepts_override(order: &Override, seen: &Order, ctx: &mut StepContext<'_>) -> bool {
    let mine = order.namespace == ctx.identity.namespace && order.device == ctx.identity.device;
    let bounded = order.models.len() <= MODELS_MAX;
    let ordered = order.order.is_bounded();
    if !mine {
        let (namespace, device) = (&order.namespace, &order.device);
        ctx.log(format!("override refused: it is for device {device} in namespace {namespace}"));
    } else if !bounded {
        ctx.log(format!(
            "override refused: it names {} models, at most {MODELS_MAX} are allowed",
            order.models.len()
        ));
    } else if !ordered {
        let Order { epoch, revision, .. } = order.order;
        ctx.log(format!("override refused: epoch {epoch} or revision {revision} is too high"));
    }
    if !(mine && bounded && ordered && order.order.replaces(seen)) {
        return false;
    }
    for named in &order.models {
        if let OverrideAction::Pin(build) = &named.action
            && let Err(error) = check_build(build)
        {
            ctx.log(format!("{}: override refused: {error}", named.model));
            return false;
        }
    }
    true
}
