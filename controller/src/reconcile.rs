//! One model of one fleet: observe, decide, apply, publish, report.

mod tally;

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use modelfleet_fleet::Key;
use modelfleet_model::decide_model::SampleChange;
use modelfleet_model::decide_rollouts::{RolloutOutcome, Sampling};
use modelfleet_model::{ModelDecision, ModelObjects, Snapshot, decide_model};
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::time::Time;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::apply::{self, in_use, marks};
use crate::context::{Context, compute, unless};
use crate::error::Error;
use crate::observe::observe;
use crate::publish::{Published, numbers, publish};
use crate::{traces, trust};
use tally::Tally;

/// A step of a reconcile in its trace.
macro_rules! step {
    ($name:literal) => {
        tracing::error_span!(target: traces::TARGET, $name)
    };
}

/// The longest that a reconcile may take: one that hangs would keep its model waiting for good.
const LONGEST: Duration = Duration::from_secs(60);

/// What a reconcile has come to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// When to look again.
    pub wake: Option<Time>,
    /// A plan was sent.
    pub sent: bool,
    /// Nothing is left of this model.
    pub empty: bool,
    /// It was given up for something more urgent, which is asked for already. Nothing was written.
    pub interrupted: bool,
}

impl Done {
    const INTERRUPTED: Done = Done { wake: None, sent: false, empty: false, interrupted: true };
}

/// Reconciles one model, now and within a minute.
///
/// # Errors
/// When the API server or the outbox refuse or take too long; the same call repeats safely what was done.
pub async fn reconcile(ctx: &Context, key: &Key) -> Result<Done, Error> {
    let span = tracing::error_span!(
        target: traces::TARGET,
        "reconcile",
        trace_id = traces::new_trace_id(),
        namespace = key.0.as_str(),
        model = key.1.as_str(),
        sent = Empty,
        error = Empty,
    );
    let reconcile = tokio::time::timeout(LONGEST, reconcile_at(ctx, key, ctx.now()));
    let done = reconcile.instrument(span.clone()).await.unwrap_or(Err(Error::Slow));
    match &done {
        Ok(done) => span.record("sent", done.sent),
        Err(error) => span.record("error", with_causes(error)),
    };
    done
}

/// Reconciles one model. All of it happens at `now`, however long the writes take.
///
/// # Errors
/// As [`reconcile`], but for the time that it takes.
pub async fn reconcile_at(ctx: &Context, key: &Key, now: Time) -> Result<Done, Error> {
    let mut tally = Tally::default();
    // Observe: the fleet is copied out, and its lock given back.
    let snapshot = step!("observe").in_scope(|| observe(ctx, key));
    let held = snapshot.plan.clone();
    // Decide: an intervention of a person and a failure do not wait until a look is over.
    let Some(decision) = decide(ctx, snapshot, now).instrument(step!("decide")).await else {
        return Ok(Done::INTERRUPTED);
    };
    let (held, objects) = (held.as_deref(), &decision.objects);
    tally.wake(decision.wake_at);
    // Apply: what keeps needed objects, then the rollout that the plan is for.
    // An older document in the place of the newer one that the broker has lost would win back a key that was revoked.
    if !decision.trust_is_old {
        match trust::publish(ctx, &key.0, now) {
            Ok(wake) => tally.wake(wake),
            Err(error) => tally.fail(error),
        }
    }
    tally.fail_each(marks::restore(ctx, objects, &decision.to_restore, now).await);
    tally.fail_each(in_use::hold(ctx, objects, &decision.rollouts, held).await);
    let owner = apply_owner(ctx, key, &decision, now, &mut tally).instrument(step!("apply")).await;
    // Publish: never before the status that the plan belongs to is stored.
    let published =
        step!("publish").in_scope(|| compute(|| send(ctx, key, &decision, owner, now, &mut tally)));
    // Report: the other rollouts, events, recordings, annotations, and what may go.
    let stored = apply_others(ctx, &decision, owner, now, &mut tally).instrument(step!("apply others")).await;
    finish(ctx, key, &stored, published, now, &mut tally).instrument(step!("report")).await;
    tally.fail_each(marks::keep(ctx, objects, &stored).await);
    tally.fail_each(in_use::settle(ctx, objects, &stored, held, now).await);
    tally.fail_each(apply::tell_floors(ctx, &decision.floor_told, now).await);
    tally.done(|wake| Done { wake, sent: published.sent, empty: objects.is_empty(), interrupted: false })
}

/// Decides, and keeps what the decision asks for: report samples, and what was seen. `None`: interrupted.
async fn decide(ctx: &Context, snapshot: Snapshot, now: Time) -> Option<ModelDecision> {
    let (namespace, model) = snapshot.key.clone();
    let interrupt = ctx.work.interrupt(&snapshot.key);
    let decision = unless(&interrupt, move || decide_model(&snapshot, now)).await?;
    let fleet = ctx.fleets.named(&namespace);
    let mut fleet = fleet.locked();
    fleet.last_looks.insert(model.clone(), Arc::new(decision.looks()));
    match decision.samples {
        SampleChange::None => {}
        SampleChange::Stop => fleet.index.unwatch(&model),
        SampleChange::Keep(Sampling::Rollout(candidate, counting)) => {
            fleet.index.watch(&model, candidate, counting);
        }
        SampleChange::Keep(Sampling::Succeeded(candidate, counting)) => {
            fleet.index.watch_on(&model, candidate, counting);
        }
    }
    Some(decision)
}

/// How far the rollout that the plan is for was stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OwnerStored {
    /// It is, or there is none.
    Stored,
    /// The API server will not have it. Going back is never refused, and is decided again to the same end.
    GoesBack,
    /// It is not, and no plan goes out before it.
    Not,
}

/// Stores the rollout that the plan is for, before all others: they must not keep its plan waiting.
async fn apply_owner(
    ctx: &Context,
    key: &Key,
    decision: &ModelDecision,
    now: Time,
    tally: &mut Tally,
) -> OwnerStored {
    let Some(outcome) = decision.plan_owner.map(|at| &decision.rollouts[at]) else {
        return OwnerStored::Stored;
    };
    let order = numbers(ctx, key, &decision.plan, now);
    let applied = apply_one(ctx, &decision.objects, outcome, order, now).await;
    let refused = applied.as_ref().is_err_and(Error::is_refusal);
    match tally.note(applied) {
        Some(()) => OwnerStored::Stored,
        None if refused && outcome.goes_back() => OwnerStored::GoesBack,
        None => OwnerStored::Not,
    }
}

/// Stores one decision. A conflict means that another write was faster: the object is read anew for the next try.
async fn apply_one(
    ctx: &Context,
    objects: &ModelObjects,
    outcome: &RolloutOutcome,
    order: Option<(u64, u64)>,
    now: Time,
) -> Result<Option<Time>, Error> {
    let applied = apply::apply(ctx, objects, outcome, order, now).await;
    if let Err(Error::Conflict { .. }) = &applied {
        apply::reread(ctx, &outcome.rollout).await?;
    }
    let wake_at = outcome.result.as_ref().ok().and_then(|decided| decided.decision.wake_at);
    Ok(applied?.into_iter().chain(wake_at).min())
}

/// Sends the plan to the broker, when it may go out.
fn send(
    ctx: &Context,
    key: &Key,
    decision: &ModelDecision,
    owner: OwnerStored,
    now: Time,
    tally: &mut Tally,
) -> Published {
    if owner == OwnerStored::Not {
        return Published::NOTHING;
    }
    match publish(ctx, key, decision.plan.clone(), now) {
        Ok(published) => {
            tally.wake(published.wake);
            published
        }
        Err(error) => {
            tally.fail(error);
            Published::NOTHING
        }
    }
}

/// Stores the other rollouts. Returns all with whether they are stored.
async fn apply_others<'a>(
    ctx: &Context,
    decision: &'a ModelDecision,
    owner: OwnerStored,
    now: Time,
    tally: &mut Tally,
) -> Vec<(&'a RolloutOutcome, bool)> {
    let mut stored = Vec::with_capacity(decision.rollouts.len());
    for (at, outcome) in decision.rollouts.iter().enumerate() {
        let is_stored = match decision.plan_owner {
            Some(plan_owner) if plan_owner == at => owner == OwnerStored::Stored,
            _ => tally.note(apply_one(ctx, &decision.objects, outcome, None, now).await).is_some(),
        };
        stored.push((outcome, is_stored));
    }
    stored
}

/// Events and recordings of what is stored. Deleted rollouts go once the broker holds the plan without them.
async fn finish(
    ctx: &Context,
    key: &Key,
    outcomes: &[(&RolloutOutcome, bool)],
    published: Published,
    now: Time,
    tally: &mut Tally,
) {
    for (outcome, stored) in outcomes {
        if *stored {
            apply::tell_events(ctx, outcome, now).await;
            apply::tell_sinks(ctx, outcome);
            compute(|| record(ctx, key, outcome));
        }
        tally.note(apply::let_go(ctx, outcome, published.held, now).await);
    }
}

/// Records a look whose decision is stored. A disk that refuses is logged, and keeps no rollout from going on.
fn record(ctx: &Context, key: &Key, outcome: &RolloutOutcome) {
    let Some(records) = &ctx.records else { return };
    let namespace = key.0.as_str();
    let answer = outcome.result.as_ref().ok().and_then(|decided| decided.answer.as_ref());
    let Some((mark, record)) = answer.and_then(|answer| answer.recorded.as_deref()) else { return };
    let rollout = outcome.rollout.name_any();
    match records.add(namespace, &rollout, record) {
        Ok(()) => {
            if let Some(recorded) = &mut ctx.fleets.named(&key.0).locked().recorded {
                Arc::make_mut(recorded).insert((namespace.to_owned(), rollout), mark.clone());
            }
        }
        Err(error) => {
            tracing::warn!(rollout, error = with_causes(&error), "the judge's answer was not recorded")
        }
    }
}
