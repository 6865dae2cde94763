//! Which fleets and models there are: those that an object or a plan of ours names.
//!
//! At a broker, whoever may write one topic may often write it under any namespace and for any model. So what nobody
//! manages is not kept: made-up names take no room from real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use modelfleet_protocol::ids::{ModelName, Namespace};

use crate::ledger::Key;

/// Who names a model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A rollout, by its uid.
    Rollout(String),
    /// A model version, by its uid.
    Version(String),
    /// A plan of ours at the broker.
    Plan,
}

/// The models of all fleets, each with who names it. As many as there are objects and plans of ours.
#[derive(Debug, Default)]
pub struct Managed {
    fleets: BTreeMap<Namespace, Models>,
}

#[derive(Debug)]
struct Models {
    sources: BTreeMap<ModelName, BTreeSet<Source>>,
    /// The keys of models with a rollout, in order: every message of a device asks for them.
    rolling: Arc<[Key]>,
}

/// What nobody names any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Nothing: somebody still does.
    Nothing,
    /// The model.
    Model,
    /// The model, and with it the fleet.
    Fleet,
}

impl Managed {
    /// Notes that `source` names a model.
    pub fn note(&mut self, key: &Key, source: Source) {
        let models = self.fleets.entry(key.0.clone()).or_insert_with(Models::none);
        if models.sources.entry(key.1.clone()).or_default().insert(source) {
            models.count(&key.0);
        }
    }

    /// Notes that `source` names a model no more.
    pub fn forget(&mut self, key: &Key, source: &Source) -> Gone {
        let Some(models) = self.fleets.get_mut(&key.0) else { return Gone::Nothing };
        let Some(sources) = models.sources.get_mut(&key.1) else { return Gone::Nothing };
        sources.remove(source);
        let last = sources.is_empty();
        if last {
            models.sources.remove(&key.1);
        }
        models.count(&key.0);
        let none = models.sources.is_empty();
        if none {
            self.fleets.remove(&key.0);
        }
        match (last, none) {
            (_, true) => Gone::Fleet,
            (true, false) => Gone::Model,
            (false, false) => Gone::Nothing,
        }
    }

    /// Whether anybody names a model.
    #[must_use]
    pub fn has(&self, namespace: &Namespace, model: &ModelName) -> bool {
        self.fleets.get(namespace).is_some_and(|models| models.sources.contains_key(model))
    }

    /// The fleets.
    pub fn fleets(&self) -> impl Iterator<Item = &Namespace> {
        self.fleets.keys()
    }

    /// Every model, of one fleet or of all.
    pub fn keys<'a>(&'a self, of: Option<&'a Namespace>) -> impl Iterator<Item = Key> + 'a {
        self.entries().filter(move |(namespace, ..)| of.is_none_or(|of| of == *namespace)).map(owned)
    }

    /// The models that a plan of ours names.
    pub fn planned(&self) -> impl Iterator<Item = Key> + '_ {
        self.entries().filter(|(_, _, sources)| sources.contains(&Source::Plan)).map(owned)
    }

    fn entries(&self) -> impl Iterator<Item = (&Namespace, &ModelName, &BTreeSet<Source>)> {
        self.fleets.iter().flat_map(|(namespace, models)| {
            models.sources.iter().map(move |(model, sources)| (namespace, model, sources))
        })
    }

    /// The models of a fleet that have a rollout, in order.
    #[must_use]
    pub fn rolling(&self, namespace: &Namespace) -> Arc<[Key]> {
        self.fleets.get(namespace).map_or_else(|| Arc::from([]), |models| Arc::clone(&models.rolling))
    }
}

fn owned((namespace, model, _): (&Namespace, &ModelName, &BTreeSet<Source>)) -> Key {
    (namespace.clone(), model.clone())
}

impl Models {
    fn none() -> Models {
        Models { sources: BTreeMap::new(), rolling: Arc::from([]) }
    }

    fn count(&mut self, namespace: &Namespace) {
        let is_rolling = |sources: &BTreeSet<Source>| {
            // Rollouts come first in the order of sources.
            matches!(sources.first(), Some(Source::Rollout(_)))
        };
        let rolling = self.sources.iter().filter(|(_, sources)| is_rolling(sources));
        self.rolling = rolling.map(|(model, _)| (namespace.clone(), model.clone())).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, model: &str) -> Key {
        (namespace.parse().unwrap(), model.parse().unwrap())
    }

    #[test]
    fn a_model_is_known_while_anybody_names_it() {
        let mut known = Managed::default();
        let (a, b) = (key("plant", "a"), key("plant", "b"));
        known.note(&a, Source::Rollout("1".into()));
        known.note(&a, Source::Plan);
        known.note(&b, Source::Version("2".into()));
        assert_eq!(known.rolling(&a.0).as_ref(), std::slice::from_ref(&a));
        assert_eq!(known.forget(&a, &Source::Rollout("1".into())), Gone::Nothing, "there is a plan");
        assert!(known.rolling(&a.0).is_empty() && known.has(&a.0, &a.1));
        assert_eq!(known.forget(&a, &Source::Plan), Gone::Model);
        assert_eq!(known.forget(&a, &Source::Plan), Gone::Nothing, "it is gone already");
        assert_eq!(known.forget(&b, &Source::Version("2".into())), Gone::Fleet);
        assert_eq!(known.fleets().count(), 0);
    }
}
