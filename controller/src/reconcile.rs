//! One model of one fleet: observe, validate, decide, apply, publish.

use std::collections::BTreeMap;

use kube::ResourceExt;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::time::Time;

use crate::apply;
use crate::builds::build;
use crate::context::{Context, now};
use crate::error::{Error, chain};
use crate::facts;
use crate::ledger::Key;
use crate::observe::{World, observe};
use crate::plan::{Sources, Voice, Wanted, wanted};
use crate::publish::{Published, numbers, publish};
use crate::turn::{self, Read, Turn};
use crate::validate::validate;

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

/// Reconciles one model.
///
/// # Errors
/// When the API server or the outbox refuse; the same call repeats safely what was done.
pub async fn reconcile(ctx: &Context, key: &Key) -> Result<Done, Error> {
    let world = observe(ctx, key);
    let (reads, builds) = read(&world);
    let (turns, plan) = tokio::task::block_in_place(|| decide(ctx, key, &world, &builds, reads));
    let mut done = store(ctx, key, &world, &turns, &plan).await?;
    tokio::task::block_in_place(|| record(ctx, key, &turns));
    let published = publish(ctx, key, plan, now())?;
    done.sent = published.sent;
    finish(ctx, &turns, published, done).await
}

/// Validates every spec; one that cannot work does not stop the others.
fn read(world: &World) -> (Vec<Read>, BTreeMap<String, ModelBuild>) {
    let mut builds = BTreeMap::new();
    let mut problems = BTreeMap::new();
    for (version, object) in &world.versions {
        match build(&object.spec) {
            Ok(build) => drop(builds.insert(version.clone(), build)),
            Err(problem) => drop(problems.insert(version.clone(), problem)),
        }
    }
    let read = |rollout: &std::sync::Arc<modelfleet_crds::Rollout>| {
        let version = world.versions.get(&rollout.spec.version);
        let valid = match problems.get(&rollout.spec.version) {
            Some(problem) => Err(problem.clone().of_version(&rollout.spec.version)),
            None => validate(rollout, version.map(|v| &v.spec)),
        };
        Read { rollout: std::sync::Arc::clone(rollout), valid }
    };
    (world.rollouts.iter().map(read).collect(), builds)
}

fn decide(
    ctx: &Context,
    key: &Key,
    world: &World,
    builds: &BTreeMap<String, ModelBuild>,
    reads: Vec<Read>,
) -> (Vec<Turn>, Wanted) {
    let mut field = ctx.field();
    field.ledger.raise(key, revision_in_status(world));
    let turns = turn::take(key, world, builds, reads, &mut field, now());
    if turns.iter().all(|turn| !is_active(turn)) {
        field.index.fleet_mut(&key.0).unwatch(&key.1);
    }
    let production = facts::production(world);
    let decided = || turns.iter().filter_map(|turn| turn.outcome.as_ref().ok());
    let plan = wanted(Sources {
        key,
        voices: decided()
            .map(|d| Voice {
                view: d.view.clone(),
                membership: d.membership.clone(),
                ended_at: d.memory.state.figures.ended_at,
            })
            .collect(),
        builds,
        production: production.as_deref(),
        rejected: facts::rejected(world),
        newest: field.ledger.newest(key),
        frozen: turns.iter().any(|turn| turn.outcome.is_err() && turn.phase_before.is_active()),
        in_use: field.index.fleet(&key.0).is_some_and(|fleet| fleet.uses(&key.1)),
    });
    (turns, plan)
}

/// The highest revision that a status tells of: known even when the broker has forgotten its plans.
fn revision_in_status(world: &World) -> u64 {
    let told = |rollout: &std::sync::Arc<modelfleet_crds::Rollout>| rollout.status.as_ref()?.plan_revision;
    let highest = world.rollouts.iter().filter_map(told).max();
    highest.and_then(|revision| u64::try_from(revision).ok()).unwrap_or(0)
}

fn is_active(turn: &Turn) -> bool {
    turn.outcome.as_ref().map_or(turn.phase_before, |d| d.memory.state.phase).is_active()
}

/// Stores all decisions. A conflict means that somebody was faster: the object is read anew for the next try.
async fn store(
    ctx: &Context,
    key: &Key,
    world: &World,
    turns: &[Turn],
    plan: &Wanted,
) -> Result<Done, Error> {
    let mut done = Done { empty: world.rollouts.is_empty() && world.versions.is_empty(), ..Done::default() };
    let time = now();
    let order = numbers(ctx, key, plan, time);
    for turn in turns {
        let applied = apply::apply(ctx, world, turn, order, time).await;
        if let Err(Error::Conflict { .. }) = &applied {
            apply::reread(ctx, &turn.rollout).await?;
        }
        let wakes = [applied?, turn.outcome.as_ref().ok().and_then(|d| d.decision.wake_at)];
        done.wake = done.wake.into_iter().chain(wakes.into_iter().flatten()).min();
    }
    Ok(done)
}

/// Records the looks whose decisions are stored. A disk that refuses is told, and keeps no rollout from going on.
fn record(ctx: &Context, key: &Key, turns: &[Turn]) {
    let Some(records) = &ctx.records else { return };
    let namespace = key.0.as_str();
    for turn in turns {
        let answer = turn.outcome.as_ref().ok().and_then(|decided| decided.answer.as_ref());
        let Some((mark, record)) = answer.and_then(|answer| answer.recorded.as_deref()) else { continue };
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
}

/// Lets deleted rollouts go once the broker holds the plan without them.
async fn finish(ctx: &Context, turns: &[Turn], published: Published, mut done: Done) -> Result<Done, Error> {
    let mut wakes: Vec<Time> = done.wake.into_iter().chain(published.wake).collect();
    for turn in turns {
        wakes.extend(apply::let_go(ctx, turn, published.held, now()).await?);
    }
    done.wake = wakes.into_iter().min();
    Ok(done)
}
