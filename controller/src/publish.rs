//! The broker gets the plan that was decided, signed; only when it differs from what the broker holds, has to be
//! renewed, or did not arrive.

use modelfleet_protocol::envelope::{PLAN_TYPE, seal};
use modelfleet_protocol::plan::{Order, Plan, to_json};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::{Channel, Topic};

use crate::context::Context;
use crate::error::Error;
use crate::traces;
use modelfleet_fleet::ledger::{Due, Key, Ledger};
use modelfleet_model::plan::DesiredPlan;

/// What publishing has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The broker holds what is desired.
    pub held: bool,
    /// Something was sent.
    pub sent: bool,
    /// When to look again.
    pub wake: Option<Time>,
}

impl Published {
    /// Nothing was sent, and what the broker holds is not what is desired.
    pub const NOTHING: Published = Published { held: false, sent: false, wake: None };
}

/// Epoch and revision of the plan that [`publish`] would send or that the broker holds. While it is not known what the
/// broker holds nothing is sent, and there is no number to tell of.
#[must_use]
pub fn numbers(ctx: &Context, key: &Key, desired: &DesiredPlan, now: Time) -> Option<(u64, u64)> {
    let DesiredPlan::Plan(plan) = desired else { return None };
    let fleet = ctx.fleets.named(&key.0);
    let fleet = fleet.locked();
    if !ctx.fleets.link_of(&fleet).settled {
        return None;
    }
    match fleet.ledger.due(key, plan, ctx.epoch, now) {
        Due::Sign(above) => Some((ctx.epoch, above + 1)),
        Due::Nothing | Due::Echo(_) | Due::Again(_) => {
            fleet.ledger.newest(key).map(|plan| (plan.order.epoch, plan.order.revision))
        }
    }
}

/// Brings the broker to hold what is desired. While it is away nothing is sent, and the connect brings us back.
///
/// # Errors
/// When too much waits to be sent.
pub fn publish(ctx: &Context, key: &Key, desired: DesiredPlan, now: Time) -> Result<Published, Error> {
    let fleet = ctx.fleets.named(&key.0);
    let mut fleet = fleet.locked();
    if !ctx.fleets.link_of(&fleet).settled {
        return Ok(Published::NOTHING);
    }
    let topic = Topic { namespace: key.0.clone(), channel: Channel::Plan(key.1.clone()) }.name();
    let plan = match desired {
        DesiredPlan::Plan(plan) => plan,
        DesiredPlan::Unchanged => return Ok(Published::NOTHING),
        DesiredPlan::Nothing => return clear(ctx, &mut fleet.ledger, key, &topic),
    };
    let published = send(ctx, &mut fleet.ledger, key, *plan, &topic, now)?;
    let held = fleet.ledger.newest(key).map(|plan| plan.order);
    ctx.metrics.show_plan(key.0.as_str(), key.1.as_str(), held.as_ref());
    Ok(published)
}

/// Sends a plan where the broker does not hold it yet.
fn send(
    ctx: &Context,
    ledger: &mut Ledger,
    key: &Key,
    plan: Plan,
    topic: &str,
    now: Time,
) -> Result<Published, Error> {
    match ledger.due(key, &plan, ctx.epoch, now) {
        Due::Nothing => {
            let order = ledger.newest(key).map(|plan| plan.order);
            let renew = order.map(|o| o.issued.after_ms(o.expires.since_ms(o.issued) / 2 + 1));
            Ok(Published { held: true, sent: false, wake: renew })
        }
        Due::Echo(by) => Ok(Published { held: false, sent: false, wake: Some(by) }),
        Due::Again(bytes) => {
            ctx.publisher.publish_retained(topic, bytes.clone())?;
            let newest = ledger.newest(key).cloned();
            if let Some(plan) = newest {
                ledger.note_sent(key, plan, bytes, now);
            }
            Ok(Published { held: false, sent: true, wake: Some(now.after_ms(5_000)) })
        }
        Due::Sign(above) => {
            let expires = now.after_ms(ctx.plan_lifetime_ms);
            let order = Order { epoch: ctx.epoch, revision: above + 1, issued: now, expires };
            let plan = Plan { order, ..plan };
            let bytes = seal(&ctx.signer, PLAN_TYPE, &to_json(&plan));
            ctx.publisher.publish_retained(topic, bytes.clone())?;
            ctx.metrics.plans.inc();
            log(topic, &plan, bytes.len());
            traces::attempt::plan_sent(ctx, &key.0, &plan);
            ledger.note_sent(key, plan, bytes, now);
            Ok(Published { held: false, sent: true, wake: Some(now.after_ms(5_000)) })
        }
    }
}

fn clear(ctx: &Context, ledger: &mut Ledger, key: &Key, topic: &str) -> Result<Published, Error> {
    let occupied = ledger.is_occupied(key);
    if occupied {
        ctx.publisher.publish_retained(topic, Vec::new())?;
        ledger.note_cleared(key);
        ctx.metrics.show_plan(key.0.as_str(), key.1.as_str(), None);
        tracing::info!(topic, "plan cleared");
    }
    Ok(Published { held: true, sent: occupied, wake: None })
}

fn log(topic: &str, plan: &Plan, bytes: usize) {
    let stable = plan.stable.as_ref().map(|build| build.version.to_string());
    let candidate = plan.candidate.as_ref();
    tracing::info!(
        topic,
        bytes,
        epoch = plan.order.epoch,
        revision = plan.order.revision,
        stable,
        candidate = candidate.map(|c| c.build.version.to_string()),
        attempt = candidate.map(|c| c.rollout.clone()),
        admit = candidate.map(|c| c.admit),
        "plan published"
    );
}
