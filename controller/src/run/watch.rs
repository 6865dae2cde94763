//! Kubernetes' objects: watched, and what each names noted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use kube::runtime::reflector::store::Writer;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use modelfleet_crds::{ModelVersion, Rollout};
use tokio_util::sync::CancellationToken;

use super::Scope;
use crate::apply::rollout_labels;
use crate::context::Context;
use crate::metrics::Metrics;
use crate::registry::{self, check_queue::CheckQueue};
use modelfleet_fleet::Source;
use modelfleet_fleet::ledger::Key;
use modelfleet_model::interventions::is_urgent;
use modelfleet_model::objects::key_of;
use modelfleet_protocol::causes::with_causes;

/// Watches a kind, keeps its cache, and hands each changed object on; `true`: it is gone. `all`: cancelled when all that
/// there were at the start have been handed on. How it gets on is told to `health`.
pub async fn watch<K>(
    client: Client,
    scope: Scope,
    health: Metrics,
    writer: Writer<K>,
    all: CancellationToken,
    changed: impl Fn(&K, bool) + Send + Sync,
) where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let api: Api<K> = match &scope {
        Scope::Namespaces(names) if names.len() == 1 => Api::namespaced(client, &names[0]),
        Scope::Namespaces(_) | Scope::All => Api::all(client),
    };
    let events = watcher(api, watcher::Config::default()).default_backoff().try_filter(move |event| {
        let object = match event {
            watcher::Event::Apply(object)
            | watcher::Event::Delete(object)
            | watcher::Event::InitApply(object) => Some(object),
            watcher::Event::Init | watcher::Event::InitDone => None,
        };
        let ours = object.is_none_or(|o| scope.covers(&o.namespace().unwrap_or_default()));
        futures::future::ready(ours)
    });
    let kind = K::plural(&()).into_owned();
    let events = events.inspect(move |event| match event {
        // Before the first object of a list nothing is known yet.
        Ok(watcher::Event::Init) => {}
        Ok(_) => health.watch_is_well(&kind),
        Err(error) => health.watch_broke(&kind, &with_causes(error), Instant::now()),
    });
    hand_on(events, writer, &all, changed).await;
}

/// Hands each object on once the cache shows it, and no sooner: `changed` looks there, and is called once. `all` is cancelled
/// at the end of the first list.
pub async fn hand_on<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    writer: Writer<K>,
    all: &CancellationToken,
    changed: impl Fn(&K, bool),
) where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug,
{
    let cache = writer.as_reader();
    let mut before: Vec<Arc<K>> = Vec::new();
    let mut events = std::pin::pin!(reflector(writer, events));
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(object)) => changed(&object, false),
            Ok(watcher::Event::Delete(object)) => changed(&object, true),
            Ok(watcher::Event::Init) => before = cache.state(),
            // The cache shows all of a list at its end.
            Ok(watcher::Event::InitApply(_)) => {}
            Ok(watcher::Event::InitDone) => {
                let after = cache.state();
                after.iter().for_each(|object| changed(object, false));
                // What was deleted while the watch was broken is found only here.
                gone(&std::mem::take(&mut before), &after).for_each(|object| changed(object, true));
                all.cancel();
            }
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), error = with_causes(&error), "watch broke; trying again")
            }
        }
    }
}

/// Those of `before` that are not in `after`; one of the same name and another uid is another one.
fn gone<'a, K: ResourceExt>(before: &'a [Arc<K>], after: &[Arc<K>]) -> impl Iterator<Item = &'a K> {
    let left: BTreeSet<Option<String>> = after.iter().map(|object| object.uid()).collect();
    before.iter().filter(move |object| !left.contains(&object.uid())).map(AsRef::as_ref)
}

/// A rollout changed or is gone.
pub fn rollout_changed(ctx: &Context, rollout: &Rollout, gone: bool) {
    let uid = rollout.uid().unwrap_or_default();
    if gone {
        ctx.written().forget(&uid);
        ctx.telling.forget(&uid);
        forget_recorded(ctx, rollout);
        ctx.metrics.forget(&rollout_labels(rollout), &rollout.spec.model, &rollout.spec.version);
    }
    if let Some(key) = key_of(rollout.namespace(), &rollout.spec.model) {
        named(ctx, &key, Source::Rollout(uid), gone);
        if !gone && is_urgent(rollout) {
            ctx.work.at_once(&key);
        }
    }
}

fn forget_recorded(ctx: &Context, rollout: &Rollout) {
    let Some(key) = key_of(rollout.namespace(), &rollout.spec.model) else { return };
    let Some(fleet) = ctx.fleets.get(&key.0) else { return };
    if let Some(marks) = &mut fleet.locked().recorded {
        Arc::make_mut(marks).remove(&(key.0.as_str().to_owned(), rollout.name_any()));
    }
}

/// A model version changed or is gone.
pub fn version_changed(ctx: &Context, checks: &CheckQueue, version: &ModelVersion, gone: bool) {
    let uid = version.uid().unwrap_or_default();
    if gone {
        ctx.written().forget(&uid);
        checks.forget(&registry::name_of(version));
    } else if let Some(name) = registry::wants_check(ctx, version) {
        checks.ask(name);
    }
    if let Some(key) = key_of(version.namespace(), &version.spec.model) {
        named(ctx, &key, Source::Version(uid), gone);
        ctx.orders.ask_all(&key.0, Some(key.1.as_str()));
    }
}

fn named(ctx: &Context, key: &Key, source: Source, gone: bool) {
    let fleet = ctx.fleets.named(&key.0);
    let mut fleet = fleet.locked();
    let index = &mut fleet.index;
    let moved = if gone { index.forget(&key.1, &source) } else { index.note(&key.1, source) };
    if moved {
        ctx.fleets.moved(ctx.publisher.as_ref(), &key.0, &fleet);
    }
    drop(fleet);
    // One that is gone too: the last object of a model leaves a plan to be cleared.
    ctx.work.now(key.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    type Object = k8s_openapi::api::core::v1::ConfigMap;

    fn object(name: &str, uid: &str) -> Object {
        let metadata = serde_json::json!({"name": name, "uid": uid, "namespace": "plant"});
        serde_json::from_value(serde_json::json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn what_went_while_the_watch_was_broken_is_found() {
        let object = |name: &str, uid: &str| Arc::new(object(name, uid));
        let before = [object("kept", "1"), object("gone", "2"), object("again", "3")];
        let after = [object("kept", "1"), object("again", "4"), object("new", "5")];
        let found: Vec<String> = gone(&before, &after).map(ResourceExt::name_any).collect();
        assert_eq!(found, ["gone", "again"]);
    }

    /// A version that came while the watch was broken was once looked for before the cache had it, and never again.
    #[tokio::test]
    async fn what_is_handed_on_is_in_the_cache() {
        use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
        let (cache, writer) = reflector::store::<Object>();
        let (all, told) = (CancellationToken::new(), std::sync::Mutex::new(Vec::new()));
        let events = vec![
            vec![Init, InitApply(object("a", "1")), InitApply(object("b", "2")), InitDone],
            vec![Apply(object("c", "3")), Delete(object("c", "3"))],
            vec![Init, InitApply(object("b", "2")), InitApply(object("new", "4")), InitDone],
        ];
        let events = futures::stream::iter(events.into_iter().flatten().map(Ok));
        hand_on(events, writer, &all, |object, gone| {
            let shown = cache.state().iter().any(|other| other.uid() == object.uid());
            assert_eq!(shown, !gone, "{}", object.name_any());
            told.lock().unwrap().push((object.name_any(), gone));
        })
        .await;
        assert!(all.is_cancelled());
        let mut told = told.into_inner().unwrap();
        // The order within a list is the cache's.
        told[..2].sort();
        told[4..6].sort();
        let expected = [
            ("a", false),
            ("b", false),
            ("c", false),
            ("c", true),
            ("b", false),
            ("new", false),
            ("a", true),
        ];
        assert_eq!(told, expected.map(|(name, gone)| (name.to_owned(), gone)));
    }
}
