//! The broker gets the plan that was decided, signed; only when it differs from what the broker holds, has to be
//! renewed, or did not arrive.

use modelfleet_protocol::envelope::{PLAN_TYPE, seal};
use modelfleet_protocol::plan::{Order, Plan};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::{Channel, Topic};

use crate::context::Context;
use crate::error::Error;
use crate::ledger::{Due, Key};
use crate::plan::Wanted;

/// What publishing has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The broker holds what is wanted.
    pub held: bool,
    /// Something was sent.
    pub sent: bool,
    /// When to look again.
    pub wake: Option<Time>,
}

/// Epoch and revision of the plan that [`publish`] would send or that the broker holds.
#[must_use]
pub fn numbers(ctx: &Context, key: &Key, wanted: &Wanted, now: Time) -> Option<(u64, u64)> {
    let Wanted::Plan(plan) = wanted else { return None };
    let field = ctx.field();
    match field.ledger.due(key, plan, ctx.epoch, now) {
        Due::Sign(above) => Some((ctx.epoch, above + 1)),
        Due::Nothing | Due::Echo(_) | Due::Again(_) => {
            field.ledger.newest(key).map(|plan| (plan.order.epoch, plan.order.revision))
        }
    }
}

/// Brings the broker to hold what is wanted. While it is away nothing is sent, and the connect brings us back.
///
/// # Errors
/// When too much waits to be sent, or the plan has no JSON form.
pub fn publish(ctx: &Context, key: &Key, wanted: Wanted, now: Time) -> Result<Published, Error> {
    let mut field = ctx.field();
    if !field.link.settled {
        return Ok(Published { held: false, sent: false, wake: None });
    }
    let topic = Topic { namespace: key.0.clone(), channel: Channel::Plan(key.1.clone()) }.name();
    let Wanted::Plan(plan) = wanted else {
        let occupied = field.ledger.is_occupied(key);
        if occupied {
            ctx.publisher.publish_retained(&topic, Vec::new())?;
            field.ledger.note_cleared(key);
            tracing::info!(topic, "plan cleared");
        }
        return Ok(Published { held: true, sent: occupied, wake: None });
    };
    match field.ledger.due(key, &plan, ctx.epoch, now) {
        Due::Nothing => {
            let order = field.ledger.newest(key).map(|plan| plan.order);
            let renew = order.map(|o| o.issued.after_ms(o.expires.since_ms(o.issued) / 2 + 1));
            Ok(Published { held: true, sent: false, wake: renew })
        }
        Due::Echo(by) => Ok(Published { held: false, sent: false, wake: Some(by) }),
        Due::Again(bytes) => {
            ctx.publisher.publish_retained(&topic, bytes.clone())?;
            let newest = field.ledger.newest(key).cloned();
            if let Some(plan) = newest {
                field.ledger.note_sent(key, plan, bytes, now);
            }
            Ok(Published { held: false, sent: true, wake: Some(now.after_ms(5_000)) })
        }
        Due::Sign(above) => {
            let expires = now.after_ms(ctx.plan_lifetime_ms);
            let order = Order { epoch: ctx.epoch, revision: above + 1, issued: now, expires };
            let plan = Plan { order, ..*plan };
            let json =
                serde_json::to_vec(&plan).map_err(|source| Error::Encode { what: topic.clone(), source })?;
            let bytes = seal(&ctx.signer, PLAN_TYPE, &json);
            ctx.publisher.publish_retained(&topic, bytes.clone())?;
            ctx.metrics.plans.inc();
            log(&topic, &plan, bytes.len());
            field.ledger.note_sent(key, plan, bytes, now);
            Ok(Published { held: false, sent: true, wake: Some(now.after_ms(5_000)) })
        }
    }
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
