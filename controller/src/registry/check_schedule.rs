//! What waits to be checked, and whose turn it is: the namespace that was served longest ago goes first, in it the
//! version that has been due longest, and no namespace takes every place. So one that registers slow or wrong artifacts
//! by the thousand keeps only itself waiting. No clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::Name;

/// Most checks at the same time.
pub const CHECKS_MAX: usize = 4;
/// Most of them for one namespace.
pub const OF_NAMESPACE_MAX: usize = 2;

/// What waits to be checked. As many as there are versions that want it.
#[derive(Debug, Default)]
pub struct CheckSchedule {
    due: BTreeMap<Name, Instant>,
    running: BTreeSet<Name>,
    attempts: BTreeMap<Name, u32>,
    /// When a namespace was served last, counted in checks.
    served: BTreeMap<String, u64>,
    checks: u64,
}

impl CheckSchedule {
    /// CheckQueue for a version. An event of our own status write must not undo a wait: one that waits goes on waiting.
    pub fn ask(&mut self, name: Name, now: Instant) {
        if !self.attempts.contains_key(&name) {
            self.due.entry(name).or_insert(now);
        }
    }

    /// The next version to check, which counts as running until [`CheckSchedule::done`], and how often it was tried with this one.
    pub fn take(&mut self, now: Instant) -> Option<(Name, u32)> {
        if self.running.len() >= CHECKS_MAX {
            return None;
        }
        let ready = self.due.iter().filter(|(name, at)| **at <= now && self.has_room(name));
        let turn = |name: &Name| self.served.get(&name.0).copied().unwrap_or(0);
        let name = ready.min_by_key(|(name, at)| (turn(name), **at)).map(|(name, _)| name.clone())?;
        self.due.remove(&name);
        self.running.insert(name.clone());
        self.checks += 1;
        self.served.insert(name.0.clone(), self.checks);
        let attempts = self.attempts.entry(name.clone()).or_default();
        *attempts = attempts.saturating_add(1);
        Some((name, *attempts))
    }

    fn has_room(&self, name: &Name) -> bool {
        let of_namespace = self.running.iter().filter(|running| running.0 == name.0).count();
        of_namespace < OF_NAMESPACE_MAX && !self.running.contains(name)
    }

    /// When [`CheckSchedule::take`] may next have something; `None`: not before a check has ended or is asked for.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let free = self.running.len() < CHECKS_MAX;
        let ready = self.due.iter().filter(|(name, _)| free && self.has_room(name));
        ready.map(|(_, at)| *at).min()
    }

    /// A check has ended, however it did. `again`: look at it again after this time.
    pub fn done(&mut self, name: Name, again: Option<Duration>, now: Instant) {
        self.running.remove(&name);
        match again {
            Some(wait) => drop(self.due.insert(name, now + wait)),
            None => {
                self.attempts.remove(&name);
                if !self.attempts.keys().chain(self.due.keys()).any(|other| other.0 == name.0) {
                    self.served.remove(&name.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(namespace: &str, version: &str) -> Name {
        (namespace.to_owned(), version.to_owned(), "uid".to_owned())
    }

    #[test]
    fn a_namespace_with_many_versions_keeps_only_itself_waiting() {
        let (mut desk, now) = (CheckSchedule::default(), Instant::now());
        for i in 0..100 {
            desk.ask(name("a-greedy", &i.to_string()), now);
        }
        let first: Vec<Name> = std::iter::from_fn(|| desk.take(now)).map(|(name, _)| name).collect();
        assert_eq!(first.len(), OF_NAMESPACE_MAX, "places are left for others");
        assert_eq!(desk.next(), None, "there is nothing to wake up for");
        desk.ask(name("z-modest", "1"), now);
        assert_eq!(desk.next(), Some(now));
        assert_eq!(desk.take(now).unwrap().0, name("z-modest", "1"));
        // Wrong artifacts come back; who was never served goes before them.
        for name in first {
            desk.done(name, Some(Duration::ZERO), now);
        }
        desk.done(name("z-modest", "1"), None, now);
        desk.ask(name("y-other", "1"), now);
        assert_eq!(desk.take(now).unwrap().0, name("y-other", "1"));
    }

    #[test]
    fn what_waits_is_not_asked_for_sooner_and_what_ended_badly_comes_back() {
        let (mut desk, now) = (CheckSchedule::default(), Instant::now());
        desk.ask(name("a", "1"), now);
        assert_eq!(desk.take(now), Some((name("a", "1"), 1)));
        desk.done(name("a", "1"), Some(Duration::from_secs(9)), now);
        desk.ask(name("a", "1"), now);
        assert_eq!(desk.take(now), None);
        let later = now + Duration::from_secs(9);
        assert_eq!(desk.next(), Some(later));
        assert_eq!(desk.take(later), Some((name("a", "1"), 2)));
        desk.done(name("a", "1"), None, later);
        assert!(desk.served.is_empty() && desk.attempts.is_empty() && desk.running.is_empty());
        desk.ask(name("a", "1"), later);
        assert_eq!(desk.take(later), Some((name("a", "1"), 1)), "it begins anew");
    }
}
