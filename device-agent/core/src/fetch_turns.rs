//! Whose download runs. One runs at a time, and while others wait none has the line for long: each gets a turn, a
//! slow one a shorter turn, and what is urgent or small goes first. A download that gave way goes on from where it
//! stopped when its turn comes again; its turns double, so that it comes to its end from a server that begins anew each
//! time, too.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::{Digest, ModelName};

use crate::aim::{Goal, Kind};
use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::Output;

/// The first turn of a download while others wait.
const TURN_MS: u64 = 2 * 60_000;
/// A download that brings less than this while others wait gives way sooner.
const FLOOR_BYTES_PER_SECOND: u64 = 2_048;
/// It is looked at over this time, which doubles with the turns.
const FLOOR_MS: u64 = 30_000;
/// The longest turn is the first one doubled so often.
const DOUBLINGS_MAX: u32 = 7;
/// One that is smaller than what is left of another by this factor does not wait for it.
const SMALL: u64 = 16;

/// How much depends on a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Nothing answers for the model: it has been taken back, or is new here.
    NothingAnswers,
    /// The build that everybody shall run, or that somebody ordered.
    Settled,
    /// A candidate.
    Candidate,
}

/// A download that waits for the line, or has it. The least one is the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    /// How often it gave way. Whoever had fewer turns is the next.
    turns: u32,
    urgency: Urgency,
    left_bytes: u64,
}

impl Claim {
    /// Whether it need not wait for the end of another's turn.
    fn goes_before(&self, other: &Claim) -> bool {
        // Two of which nothing is left are alike: neither sends the other away.
        let less = self.left_bytes < other.left_bytes;
        let small = less && self.left_bytes.saturating_mul(SMALL) <= other.left_bytes;
        let urgent = self.urgency < other.urgency;
        self.turns <= other.turns && (urgent || (small && self.urgency == other.urgency))
    }
}

/// How a model's downloads share the line with others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// It waits for the line, as of the last step.
    waits: Option<Claim>,
    /// What is, or was, fetched, and how often that gave way.
    turns: Option<(Digest, u32)>,
    /// How long it has had the line in this turn.
    held_ms: u64,
    /// Since when, and from how many bytes on, its pace is measured.
    paced_ms: u64,
    paced_bytes: u64,
}

impl Line {
    /// A turn begins.
    pub fn begin(&mut self, digest: Digest, bytes: u64) {
        self.turns = self.turns.filter(|(of, _)| *of == digest).or(Some((digest, 0)));
        (self.held_ms, self.paced_ms, self.paced_bytes) = (0, 0, bytes);
    }

    /// It waits for the line.
    pub fn wait(&mut self, claim: Claim) {
        self.waits = Some(claim);
    }

    fn turns_of(&self, digest: &Digest) -> u32 {
        self.turns.filter(|(of, _)| of == digest).map_or(0, |(_, turns)| turns)
    }

    /// Time has passed; whether the pace is below the floor.
    fn is_slow(&mut self, passed_ms: u64, bytes: u64, turns: u32, rate: u64) -> bool {
        self.held_ms = self.held_ms.saturating_add(passed_ms);
        self.paced_ms = self.paced_ms.saturating_add(passed_ms);
        if bytes < self.paced_bytes {
            (self.paced_ms, self.paced_bytes) = (0, bytes); // The server began anew.
        }
        if self.paced_ms < doubled(FLOOR_MS, turns) {
            return false;
        }
        // A rate that was asked for is no fault.
        let floor = if rate == 0 { FLOOR_BYTES_PER_SECOND } else { FLOOR_BYTES_PER_SECOND.min(rate / 2) };
        let brought = bytes - self.paced_bytes;
        let slow = brought < floor.saturating_mul(self.paced_ms) / 1000;
        (self.paced_ms, self.paced_bytes) = (0, bytes);
        slow
    }
}

fn doubled(ms: u64, turns: u32) -> u64 {
    ms << turns.min(DOUBLINGS_MAX)
}

impl Unit {
    /// What the download of this goal may claim.
    pub fn claim(&self, goal: &Goal) -> Claim {
        let digest = &goal.build.digest;
        let urgency = match goal.kind {
            _ if self.serving.is_none() => Urgency::NothingAnswers,
            Kind::Stable | Kind::Pin => Urgency::Settled,
            Kind::Candidate => Urgency::Candidate,
        };
        let left_bytes = goal.build.size_bytes.saturating_sub(self.bytes_there(goal));
        Claim { turns: self.work.line.turns_of(digest), urgency, left_bytes }
    }

    /// Bytes of this goal that are on disk, as far as is known.
    pub fn bytes_there(&self, goal: &Goal) -> u64 {
        let same = |t: &&crate::saved::Try| {
            t.attempt.rollout == goal.attempt && t.attempt.digest == goal.build.digest
        };
        self.kept.attempts.iter().find(same).map_or(0, |t| t.attempt.fetched_bytes)
    }

    /// Whether the download that runs gives way to the best of those that wait, and whether that ends its turn.
    fn gives_way(&mut self, waiting: Option<&Claim>, passed_ms: u64) -> Option<bool> {
        let goal = self.aim.goal().cloned()?;
        let (claim, bytes) = (self.claim(&goal), self.bytes_there(&goal));
        let slow = self.work.line.is_slow(passed_ms, bytes, claim.turns, self.work.fetch_rate);
        let waiting = waiting?;
        if slow || self.work.line.held_ms >= doubled(TURN_MS, claim.turns) {
            return Some(true);
        }
        waiting.goes_before(&claim).then_some(false)
    }

    fn give_way(&mut self, ends_turn: bool, to: &ModelName, turn: &mut Turn<'_>) {
        let Some(digest) = self.work.fetching.take() else { return };
        if let Some((_, turns)) = self.work.line.turns.as_mut().filter(|_| ends_turn) {
            *turns = turns.saturating_add(1);
        }
        turn.fetching = false;
        turn.emit(Output::PauseFetch { digest });
        let note = format!(
            "{} {digest}: the download gives way to one of {to}, and continues in its turn",
            self.model
        );
        turn.emit(Output::Note(note));
    }
}

/// Looks whether the download that runs gives way, and says who is the next.
pub(crate) fn take_turns(units: &mut BTreeMap<ModelName, Unit>, turn: &mut Turn<'_>) {
    let waiting =
        units.iter_mut().filter_map(|(model, unit)| Some((unit.work.line.waits.take()?, model.clone())));
    let next = waiting.min();
    if let Some(holder) = units.values_mut().find(|unit| unit.work.fetching.is_some()) {
        let gives_way = holder.gives_way(next.as_ref().map(|(claim, _)| claim), turn.passed_ms);
        if let (Some(ends_turn), Some((_, to))) = (gives_way, &next) {
            holder.give_way(ends_turn, to, turn);
        }
    }
    turn.next_fetch = next.map(|(_, model)| model);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_had_fewer_turns_is_next_then_the_urgent_then_the_small() {
        let claim = |turns, urgency, left_bytes| Claim { turns, urgency, left_bytes };
        let (a, b, c) = (Urgency::NothingAnswers, Urgency::Settled, Urgency::Candidate);
        let order = [claim(0, a, 9), claim(0, b, 9), claim(0, c, 1), claim(0, c, 2), claim(1, a, 1)];
        assert!(order.is_sorted());
        assert!(claim(0, a, 900).goes_before(&claim(0, c, 1)), "urgent");
        assert!(claim(0, c, 10).goes_before(&claim(0, c, 160)), "small");
        assert!(!claim(0, c, 11).goes_before(&claim(0, c, 160)));
        assert!(!claim(1, a, 1).goes_before(&claim(0, c, 1000)), "it had its turn");
        assert!(!claim(0, c, 1).goes_before(&claim(0, a, 1000)));
        // Nobody is sent away by one that it could send away in turn, nor by one of its kind.
        let none_left = [claim(0, a, 0), claim(0, c, 0), claim(1, c, 0)];
        let all: Vec<Claim> = order.into_iter().chain(none_left).collect();
        for x in &all {
            for y in &all {
                assert!(!(x.goes_before(y) && y.goes_before(x)), "{x:?} {y:?}");
            }
        }
    }

    #[test]
    fn a_pace_is_slow_by_what_came_in_its_time() {
        let mut line = Line::default();
        line.begin(Digest([1; 32]), 100);
        assert!(!line.is_slow(FLOOR_MS - 1, 100, 0, 0), "too early to tell");
        assert!(line.is_slow(1, 100, 0, 0));
        let enough = FLOOR_BYTES_PER_SECOND * FLOOR_MS / 1000;
        assert!(!line.is_slow(FLOOR_MS, 100 + enough, 0, 0));
        assert!(line.is_slow(FLOOR_MS, 99 + 2 * enough, 0, 0));
        assert!(!line.is_slow(FLOOR_MS, 99 + 2 * enough, 1, 0), "the second turn is twice as long");
        line.begin(Digest([1; 32]), 0);
        assert!(!line.is_slow(FLOOR_MS, 100 * FLOOR_MS / 1000, 0, 200), "as slow as it shall be");
        assert!(!line.is_slow(FLOOR_MS, 0, 0, 0), "begun anew");
        assert!(line.is_slow(FLOOR_MS, 0, 0, 0));
    }
}
