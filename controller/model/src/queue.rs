//! One active rollout for each model; the others wait, oldest first, and say behind whom.

use std::collections::BTreeMap;

use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Phase, Queue};

/// One rollout of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// When the object was created; ties go by name.
    pub created: Time,
    /// Where it stands.
    pub phase: Phase,
    /// It goes back and took longer than it may: no rollout waits for it any more.
    pub overdue: bool,
    /// It is being deleted.
    pub deleted: bool,
}

/// The order in the queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It is under way.
    Active,
    /// It waits for its turn.
    Waits,
    /// It was refused, has ended, or goes back and keeps no other waiting.
    Idle,
}

impl Entry {
    fn rank(&self) -> Rank {
        match self.phase {
            _ if self.overdue => Rank::Idle,
            phase if phase.is_active() => Rank::Active,
            Phase::Queued if !self.deleted => Rank::Waits,
            _ => Rank::Idle,
        }
    }
}

/// The place of each rollout by name; `None`: it is its turn.
///
/// The active one goes first. Without one, the oldest that waits does. One that was refused or has ended wants
/// no turn, and gets one only when no other does.
#[must_use]
pub fn places(mut entries: Vec<Entry>) -> BTreeMap<String, Option<Queue>> {
    entries.sort_by(|a, b| (a.rank(), a.created, &a.name).cmp(&(b.rank(), b.created, &b.name)));
    let front = entries.first().filter(|e| e.rank() < Rank::Idle);
    let front = front.map(|e| (e.name.clone(), e.rank() == Rank::Active));
    let place = |(at, entry): (usize, Entry)| {
        let front = front.clone().filter(|(front, _)| *front != entry.name);
        let position = u32::try_from(at).unwrap_or(u32::MAX);
        (entry.name, front.map(|(behind, active)| Queue { behind, active, position }))
    };
    entries.into_iter().enumerate().map(place).collect()
}

/// Whether any rollout but this one waits for its turn.
#[must_use]
pub fn others_wait(entries: &[Entry], name: &str) -> bool {
    entries.iter().any(|entry| entry.name != name && entry.rank() == Rank::Waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, created: u64, phase: Phase) -> Entry {
        Entry { name: name.to_owned(), created: Time(created), phase, overdue: false, deleted: false }
    }

    fn check(entries: &[(&str, u64, Phase)], expected: &[(&str, Option<&str>)]) {
        let places = places(entries.iter().map(|(name, at, phase)| entry(name, *at, *phase)).collect());
        for (name, behind) in expected {
            let found = places[*name].as_ref().map(|q| q.behind.as_str());
            assert_eq!(found, *behind, "{name}");
        }
    }

    #[test]
    fn the_active_one_goes_first_whatever_its_age() {
        let entries = [("old", 1, Phase::Queued), ("active", 9, Phase::Progressing)];
        check(&entries, &[("old", Some("active")), ("active", None)]);
    }

    #[test]
    fn without_an_active_one_the_oldest_waiting_one_gets_its_turn() {
        let entries = [("b", 1, Phase::Queued), ("a", 1, Phase::Queued), ("done", 0, Phase::Succeeded)];
        check(&entries, &[("a", None), ("b", Some("a")), ("done", Some("a"))]);
    }

    #[test]
    fn one_that_has_ended_may_begin_again_when_nobody_waits() {
        check(&[("done", 0, Phase::RolledBack), ("no", 1, Phase::Refused)], &[("done", None), ("no", None)]);
    }

    #[test]
    fn who_has_ended_knows_whether_the_next_one_is_under_way() {
        let active = |phase| {
            let places = places(vec![entry("done", 0, Phase::Succeeded), entry("next", 1, phase)]);
            places["done"].as_ref().map(|queue| queue.active)
        };
        assert_eq!(active(Phase::Queued), Some(false));
        assert_eq!(active(Phase::Progressing), Some(true));
        assert_eq!(active(Phase::Refused), None);
    }

    #[test]
    fn an_overdue_way_back_keeps_nobody_waiting() {
        let late = Entry { overdue: true, ..entry("late", 0, Phase::RollingBack) };
        let places = places(vec![late, entry("next", 1, Phase::Queued)]);
        assert_eq!(places["next"], None);
        let queue = Queue { behind: "next".to_owned(), active: false, position: 1 };
        assert_eq!(places["late"], Some(queue));
    }
}
