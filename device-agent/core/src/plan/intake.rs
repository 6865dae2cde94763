//! Which plans and overrides are accepted: those of this fleet and device, by a key that counts, that are newer than all
//! before, across restarts.

use std::sync::Arc;

use modelfleet_protocol::envelope::Signed;
use modelfleet_protocol::overrides::{Override, OverrideAction};
use modelfleet_protocol::plan::{Order, Plan, check_build};
use modelfleet_protocol::state::MODELS_MAX;

use super::seen::{Rank, SeenOrders};
use crate::agent::context::StepContext;

/// Whether a plan is for this fleet and newer than the last one. A repetition is ignored without a log line, because
/// retained messages come again with every connect. If the device does not manage the model (`is_managed` is false), a
/// repetition is read again, because the device's labels may have changed since.
pub(crate) fn accepts_plan(
    plan: &Signed<Arc<Plan>>,
    seen: &SeenOrders,
    is_managed: bool,
    ctx: &mut StepContext<'_>,
) -> bool {
    let Signed { what: plan, by } = plan;
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
    if !ctx.trust.counts(*by) {
        ctx.refused_for_key();
        return refuse(ctx, format!("the trust document does not name the key {by}, which has signed it"));
    }
    match seen.rank(&plan.order, *by, ctx.trust) {
        Rank::Newer | Rank::Again => true,
        Rank::Repeated => !is_managed,
        Rank::Older { than, by_other } => {
            if by_other {
                ctx.refused_for_key();
            }
            let Order { epoch, revision, .. } = plan.order;
            let newest = format!("epoch {}, revision {}", than.epoch, than.revision);
            refuse(ctx, format!("epoch {epoch}, revision {revision} is not newer than {newest}"))
        }
    }
}

/// Whether an override is for this device and newer than the last one.
pub(crate) fn accepts_override(
    order: &Signed<Box<Override>>,
    seen: &SeenOrders,
    ctx: &mut StepContext<'_>,
) -> bool {
    let Signed { what: order, by } = order;
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
    if !(mine && bounded && ordered) {
        return false;
    }
    if !ctx.trust.counts(*by) {
        ctx.refused_for_key();
        ctx.log(format!(
            "override refused: the trust document does not name the key {by}, which has signed it"
        ));
        return false;
    }
    match seen.rank(&order.order, *by, ctx.trust) {
        Rank::Newer | Rank::Again => {}
        Rank::Repeated => return false,
        Rank::Older { by_other, .. } => {
            if by_other {
                ctx.refused_for_key();
            }
            return false;
        }
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
