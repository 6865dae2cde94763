//! Which models of a fleet there are: those that an object or a plan of ours names. A fleet of none is no fleet.
//!
//! At a broker, a client that may write one topic may often write it under any namespace and for any model. So what nothing
//! manages is not kept: made-up names take no room from real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use modelfleet_protocol::ids::ModelName;

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

/// The models of one fleet, each with who names it. As many as there are objects and plans of ours.
#[derive(Debug)]
pub struct Managed {
    sources: BTreeMap<ModelName, BTreeSet<Source>>,
    /// The models with a rollout, in order: every message of a device asks for them.
    rolling: Arc<[ModelName]>,
}

impl Default for Managed {
    fn default() -> Managed {
        Managed { sources: BTreeMap::new(), rolling: Arc::from([]) }
    }
}

/// What nothing names any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Nothing: something still does.
    Nothing,
    /// The model.
    Model,
    /// The model, and with it the fleet.
    Fleet,
}

impl Managed {
    /// Notes that `source` names a model.
    pub fn note(&mut self, model: &ModelName, source: Source) {
        if self.sources.entry(model.clone()).or_default().insert(source) {
            self.count();
        }
    }

    /// Notes that `source` names a model no more.
    pub fn forget(&mut self, model: &ModelName, source: &Source) -> Gone {
        let Some(sources) = self.sources.get_mut(model) else { return Gone::Nothing };
        sources.remove(source);
        let last = sources.is_empty();
        if last {
            self.sources.remove(model);
        }
        self.count();
        match (last, self.sources.is_empty()) {
            (_, true) => Gone::Fleet,
            (true, false) => Gone::Model,
            (false, false) => Gone::Nothing,
        }
    }

    /// Whether no model is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether anything names a model.
    #[must_use]
    pub fn has(&self, model: &ModelName) -> bool {
        self.sources.contains_key(model)
    }

    /// Every model.
    pub fn models(&self) -> impl Iterator<Item = &ModelName> {
        self.sources.keys()
    }

    /// The models that a plan of ours names.
    pub fn planned(&self) -> impl Iterator<Item = &ModelName> {
        self.sources.iter().filter(|(_, sources)| sources.contains(&Source::Plan)).map(|(model, _)| model)
    }

    /// The models that have a rollout, in order.
    #[must_use]
    pub fn rolling(&self) -> Arc<[ModelName]> {
        Arc::clone(&self.rolling)
    }

    fn count(&mut self) {
        // Rollouts come first in the order of sources.
        let is_rolling = |sources: &BTreeSet<Source>| matches!(sources.first(), Some(Source::Rollout(_)));
        let rolling = self.sources.iter().filter(|(_, sources)| is_rolling(sources));
        self.rolling = rolling.map(|(model, _)| model.clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_while_anybody_names_it() {
        let mut known = Managed::default();
        let (a, b): (ModelName, ModelName) = ("a".parse().unwrap(), "b".parse().unwrap());
        known.note(&a, Source::Rollout("1".into()));
        known.note(&a, Source::Plan);
        known.note(&b, Source::Version("2".into()));
        assert_eq!(known.rolling().as_ref(), std::slice::from_ref(&a));
        assert_eq!(known.forget(&a, &Source::Rollout("1".into())), Gone::Nothing, "there is a plan");
        assert!(known.rolling().is_empty() && known.has(&a));
        assert_eq!(known.forget(&a, &Source::Plan), Gone::Model);
        assert_eq!(known.forget(&a, &Source::Plan), Gone::Nothing, "it is gone already");
        assert_eq!(known.forget(&b, &Source::Version("2".into())), Gone::Fleet);
        assert!(known.is_empty());
    }
}
