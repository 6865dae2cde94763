//! Watches the objects by the user's own rights, and says when something has changed.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::Api;
use kube::runtime::reflector::{self, Store as Cache};
use kube::runtime::{WatchStreamExt as _, watcher};
use modelfleet_crds::{ModelVersion, Rollout};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::objects::{Objects, Stale};
use super::verdict_history::VerdictHistory;
use crate::cluster::Cluster;
use crate::printing::{cut, with_causes};

/// Objects that a watch reads at a time.
const PAGE: u32 = 500;

/// The objects as they are, and word of every change.
pub struct Store {
    rollouts: Cache<Rollout>,
    versions: Cache<ModelVersion>,
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    /// End with the store.
    _watches: JoinSet<()>,
}

struct Shared {
    verdicts: Mutex<Arc<VerdictHistory>>,
    /// How each kind of object fares.
    kinds: Mutex<[Kind; 2]>,
    changed: watch::Sender<u64>,
}

#[derive(Clone, Default)]
struct Kind {
    read: bool,
    broken: Option<(Timestamp, String)>,
}

const KINDS: [&str; 2] = ["rollouts", "modelversions"];

impl Shared {
    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn kinds<T>(&self, change: impl FnOnce(&mut [Kind; 2]) -> T) -> T {
        change(&mut self.kinds.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn well(&self, kind: usize, whole: bool) {
        self.kinds(|kinds| {
            kinds[kind].read |= whole;
            kinds[kind].broken = None;
        });
        self.tell();
    }

    fn broke(&self, kind: usize, error: &watcher::Error) {
        let why = cut(&with_causes(error));
        self.kinds(|kinds| {
            let since = kinds[kind].broken.take().map_or_else(Timestamp::now, |(since, _)| since);
            kinds[kind].broken = Some((since, why));
        });
        self.tell();
    }

    fn verdicts(&self, change: impl FnOnce(&mut VerdictHistory)) {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut verdicts));
    }
}

impl Store {
    /// Watches the rollouts and versions of the cluster's namespace, or with `everywhere` of all.
    #[must_use]
    pub fn watching(cluster: &Cluster, everywhere: bool) -> Store {
        let (rollouts, rollout_writer) = reflector::store::<Rollout>();
        let (versions, version_writer) = reflector::store::<ModelVersion>();
        let (changed, changes) = watch::channel(0);
        let shared = Arc::new(Shared { verdicts: Mutex::default(), kinds: Mutex::default(), changed });
        let mut watches = JoinSet::new();
        let note = |shared: &Shared, event: &watcher::Event<Rollout>| match event {
            watcher::Event::Apply(rollout) | watcher::Event::InitApply(rollout) => {
                shared.verdicts(|verdicts| verdicts.note(rollout));
            }
            watcher::Event::Delete(rollout) => shared.verdicts(|verdicts| verdicts.forget(rollout)),
            watcher::Event::Init | watcher::Event::InitDone => {}
        };
        let api = if everywhere { cluster.everywhere() } else { cluster.api() };
        watches.spawn(follow(api, rollout_writer, 0, Arc::clone(&shared), note));
        let api = if everywhere { cluster.everywhere() } else { cluster.api() };
        watches.spawn(follow(api, version_writer, 1, Arc::clone(&shared), |_, _| {}));
        Store { rollouts, versions, shared, changes, _watches: watches }
    }

    /// The objects as they are now.
    #[must_use]
    pub fn objects(&self) -> Objects {
        let stale = self.shared.kinds(|kinds| {
            let of = |(name, kind): (&&str, &Kind)| {
                let (since, why) = match &kind.broken {
                    Some((since, why)) => (kind.read.then_some(*since), why.clone()),
                    None if kind.read => return None,
                    None => (None, "the API server has not answered yet".to_owned()),
                };
                Some(Stale { kind: (*name).to_owned(), since, why })
            };
            KINDS.iter().zip(kinds.iter()).filter_map(of).collect()
        });
        Objects {
            rollouts: self.rollouts.state(),
            versions: self.versions.state(),
            verdicts: Arc::clone(&self.shared.verdicts.lock().unwrap_or_else(PoisonError::into_inner)),
            stale,
        }
    }

    /// Counts the changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

async fn follow<K>(
    api: Api<K>,
    writer: reflector::store::Writer<K>,
    kind: usize,
    shared: Arc<Shared>,
    note: impl Fn(&Shared, &watcher::Event<K>) + Send + 'static,
) where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    K: Send + Sync + 'static,
{
    let events = watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff();
    let mut events = std::pin::pin!(reflector::reflector(writer, events));
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                note(&shared, &event);
                // Before the end of a list the cache does not have it yet.
                if !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)) {
                    shared.well(kind, true);
                }
            }
            Err(error) => shared.broke(kind, &error),
        }
    }
}
