//! One model of one fleet: observe, validate, decide, apply, publish.

mod tally;

use std::time::Duration;

use kube::ResourceExt;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Action, Production};

use crate::apply::{self, in_use, marks};
use crate::context::{Context, now};
use crate::error::{Error, chain};
use crate::facts;
use crate::ledger::Key;
use crate::observe::{World, observe};
use crate::plan::{self, Sources, Voice, Wanted, speaker, wanted};
use crate::production;
use crate::publish::{Published, numbers, publish};
use crate::read::{Reads, read};
use crate::restore::restored;
use crate::turn::{self, Turn};
use tally::Tally;

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
}

/// What was decided for a model.
struct Round {
    /// Its rollouts, in the order of the objects.
    turns: Vec<Turn>,
    /// The one that the plan is for.
    speaker: Option<usize>,
    /// The plan.
    plan: Wanted,
}

/// How far the rollout that the plan is for was stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoken {
    /// It is.
    Stored,
    /// The API server will not have it. Going back needs nobody's leave, and is decided again to the same end.
    GoesBack,
    /// It is not, and no plan goes out before it.
    Not,
}

/// Reconciles one model.
///
/// # Errors
/// When the API server or the outbox refuse or take too long; the same call repeats safely what was done.
pub async fn reconcile(ctx: &Context, key: &Key) -> Result<Done, Error> {
    tokio::time::timeout(LONGEST, once(ctx, key)).await.unwrap_or(Err(Error::Slow))
}

async fn once(ctx: &Context, key: &Key) -> Result<Done, Error> {
    let world = observe(ctx, key);
    let held = ctx.field().ledger.newest(key).cloned();
    let (world, lost) = restored(&world, held.as_ref());
    let reads = tokio::task::block_in_place(|| read(&world, held.as_ref()));
    let round = tokio::task::block_in_place(|| decide(ctx, key, &world, reads, held.as_ref()));
    let mut tally = Tally::default();
    marks::restore(ctx, &world, &lost, now()).await.into_iter().for_each(|e| tally.fail(e));
    in_use::hold(ctx, &world, &round.turns, held.as_ref()).await.into_iter().for_each(|e| tally.fail(e));
    let spoken = apply_speaker(ctx, key, &world, &round, &mut tally).await;
    let published = tokio::task::block_in_place(|| bring(ctx, key, &round, spoken, &mut tally));
    let stored = apply_others(ctx, &world, &round, spoken, &mut tally).await;
    finish(ctx, key, &stored, published, &mut tally).await;
    marks::keep(ctx, &world, &stored).await.into_iter().for_each(|e| tally.fail(e));
    in_use::settle(ctx, &world, &stored, held.as_ref(), now()).await.into_iter().for_each(|e| tally.fail(e));
    let empty = world.rollouts.is_empty() && world.versions.is_empty();
    tally.done(|wake| Done { wake, sent: published.sent, empty })
}

fn decide(ctx: &Context, key: &Key, world: &World, reads: Reads, held: Option<&Plan>) -> Round {
    let mut field = ctx.field();
    field.ledger.raise(key, revision_in_status(world));
    let Reads { rollouts, builds } = reads;
    let mut turns = turn::take(key, world, &builds, rollouts, &mut field, now());
    let judged = |turn: &Turn| turn.outcome.as_ref().is_ok_and(|decided| decided.answer.is_some());
    if !turns.iter().any(|turn| turn.phase().is_active() || judged(turn))
        && let Some(fleet) = field.index.fleet_mut(&key.0)
    {
        fleet.unwatch(&key.1);
    }
    let voices: Vec<Voice> = turns.iter().filter_map(voice).collect();
    let speaks = speaker(&voices).map(|voice| voice.rollout.clone());
    let speaker = turns.iter().position(|turn| Some(turn.rollout.name_any()) == speaks);
    let production = decided_production(&turns).unwrap_or_else(|| production::production(world, held));
    let plan = wanted(Sources {
        key,
        voices: &voices,
        builds: &builds,
        production: &production,
        rejected: facts::rejected(world, held),
        newest: held,
        in_use: field.index.fleet(&key.0).is_some_and(|fleet| fleet.uses(&key.1)),
    });
    let plan = acceptable(plan, speaker.and_then(|at| turns.get_mut(at)));
    Round { turns, speaker, plan }
}

/// What is in production once this turn's decisions are stored, where one of them changes it.
fn decided_production(turns: &[Turn]) -> Option<Production> {
    let decided = turns.iter().filter_map(|turn| turn.outcome.as_ref().ok());
    decided.flat_map(|decided| &decided.decision.actions).find_map(|action| match action {
        Action::Promote { production } | Action::GiveBack { production } => Some(production.clone()),
        _ => None,
    })
}

fn voice(turn: &Turn) -> Option<Voice> {
    let decided = turn.outcome.as_ref().ok()?;
    Some(Voice {
        rollout: turn.rollout.name_any(),
        view: decided.view.clone(),
        membership: decided.membership.clone(),
        ended_at: decided.memory.state.figures.ended_at,
        goes_back: decided.goes_back(),
        stands_in: decided.problem.is_some(),
    })
}

/// The plan, unless devices would refuse it: then the rollout that it is for stays where it is and says so. One that goes
/// back is stored all the same.
fn acceptable(plan: Wanted, speaker: Option<&mut Turn>) -> Wanted {
    let Some(problem) = plan::problem(&plan) else { return plan };
    tracing::error!(problem = %problem, "the plan is not published");
    if let Some(turn) = speaker.filter(|turn| !goes_back(turn)) {
        turn.outcome = Err(problem);
    }
    Wanted::Unchanged
}

fn goes_back(turn: &Turn) -> bool {
    turn.outcome.as_ref().is_ok_and(|decided| decided.goes_back())
}

/// The highest revision that a status tells of: known even when the broker has forgotten its plans.
fn revision_in_status(world: &World) -> u64 {
    let told = |rollout: &std::sync::Arc<modelfleet_crds::Rollout>| rollout.status.as_ref()?.plan_revision;
    let highest = world.rollouts.iter().filter_map(told).max();
    highest.and_then(|revision| u64::try_from(revision).ok()).unwrap_or(0)
}

/// Stores the rollout that the plan is for, before all others: they must not keep its plan waiting.
async fn apply_speaker(ctx: &Context, key: &Key, world: &World, round: &Round, tally: &mut Tally) -> Spoken {
    let Some(turn) = round.speaker.map(|at| &round.turns[at]) else { return Spoken::Stored };
    let time = now();
    let order = numbers(ctx, key, &round.plan, time);
    let applied = apply_one(ctx, world, turn, order, time).await;
    let refused = applied.as_ref().is_err_and(Error::is_refusal);
    match tally.note(applied) {
        Some(()) => Spoken::Stored,
        None if refused && goes_back(turn) => Spoken::GoesBack,
        None => Spoken::Not,
    }
}

/// Stores one decision. A conflict means that somebody was faster: the object is read anew for the next try.
async fn apply_one(
    ctx: &Context,
    world: &World,
    turn: &Turn,
    order: Option<(u64, u64)>,
    time: Time,
) -> Result<Option<Time>, Error> {
    let applied = apply::apply(ctx, world, turn, order, time).await;
    if let Err(Error::Conflict { .. }) = &applied {
        apply::reread(ctx, &turn.rollout).await?;
    }
    let decided = turn.outcome.as_ref().ok().and_then(|decided| decided.decision.wake_at);
    Ok(applied?.into_iter().chain(decided).min())
}

/// Brings the plan to the broker, when it may go out.
fn bring(ctx: &Context, key: &Key, round: &Round, spoken: Spoken, tally: &mut Tally) -> Published {
    if spoken == Spoken::Not {
        return Published::NOTHING;
    }
    match publish(ctx, key, round.plan.clone(), now()) {
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
    world: &World,
    round: &'a Round,
    spoken: Spoken,
    tally: &mut Tally,
) -> Vec<(&'a Turn, bool)> {
    let mut stored = Vec::with_capacity(round.turns.len());
    for (at, turn) in round.turns.iter().enumerate() {
        let good = match round.speaker {
            Some(speaker) if speaker == at => spoken == Spoken::Stored,
            _ => tally.note(apply_one(ctx, world, turn, None, now()).await).is_some(),
        };
        stored.push((turn, good));
    }
    stored
}

/// What people and recordings are told of what is stored. Deleted rollouts go once the broker holds the plan without them.
async fn finish(ctx: &Context, key: &Key, turns: &[(&Turn, bool)], published: Published, tally: &mut Tally) {
    for (turn, stored) in turns {
        if *stored {
            apply::tell_events(ctx, turn, now()).await;
            tokio::task::block_in_place(|| record(ctx, key, turn));
        }
        tally.note(apply::let_go(ctx, turn, published.held, now()).await);
    }
}

/// Records a look whose decision is stored. A disk that refuses is told, and keeps no rollout from going on.
fn record(ctx: &Context, key: &Key, turn: &Turn) {
    let Some(records) = &ctx.records else { return };
    let namespace = key.0.as_str();
    let answer = turn.outcome.as_ref().ok().and_then(|decided| decided.answer.as_ref());
    let Some((mark, record)) = answer.and_then(|answer| answer.recorded.as_deref()) else { return };
    let rollout = turn.rollout.name_any();
    match records.add(namespace, &rollout, record) {
        Ok(()) => {
            if let Some(marks) = &mut ctx.field().marks {
                marks.insert((namespace.to_owned(), rollout), mark.clone());
            }
        }
        Err(error) => tracing::warn!(rollout, error = chain(&error), "a look was not recorded"),
    }
}
