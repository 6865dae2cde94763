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
    /// It is being deleted.
    pub deleted: bool,
}

/// The place of each rollout by name; `None`: it is its turn.
///
/// The active one goes first. Without one, the oldest that waits does. One that was refused or has ended wants
/// no turn, and gets one only when nobody else does.
#[must_use]
pub fn places(mut entries: Vec<Entry>) -> BTreeMap<String, Option<Queue>> {
    let rank = |e: &Entry| match e.phase {
        phase if phase.is_active() => 0,
        Phase::Queued if !e.deleted => 1,
        _ => 2,
    };
    entries.sort_by(|a, b| (rank(a), a.created, &a.name).cmp(&(rank(b), b.created, &b.name)));
    let front = entries.first().filter(|e| rank(e) < 2).map(|e| e.name.clone());
    let place = |(at, entry): (usize, Entry)| {
        let behind = front.clone().filter(|front| *front != entry.name);
        let position = u32::try_from(at).unwrap_or(u32::MAX);
        (entry.name, behind.map(|behind| Queue { behind, position }))
    };
    entries.into_iter().enumerate().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(entries: &[(&str, u64, Phase)], expected: &[(&str, Option<&str>)]) {
        let entry = |&(name, created, phase): &(&str, u64, Phase)| Entry {
            name: name.to_owned(),
            created: Time(created),
            phase,
            deleted: false,
        };
        let places = places(entries.iter().map(entry).collect());
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
}
