//! Whose download runs. One runs at a time. While others wait, each gets a turn of limited length; a slow download gets
//! a shorter one, and an urgent or small download goes first. A download that gave way goes on where it stopped when its
//! turn comes again. Its turns double in length, so that it also completes from a server that starts from the beginning
//! each time.

use modelfleet_protocol::ids::{Digest, ModelName};

use super::Download;
use crate::agent::context::StepContext;
use crate::model::ManagedModel;
use crate::plan::desired::{Target, TargetKind};

/// Length of the first turn of a download while others wait.
const TURN_MS: u64 = 2 * 60_000;
/// A download slower than this gives way sooner while others wait.
const SLOW_BYTES_PER_SECOND: u64 = 2_048;
/// Its speed is measured over this time, which doubles with each turn.
const SPEED_MS: u64 = 30_000;
/// The longest turn is the first one doubled this often.
const DOUBLINGS_MAX: u32 = 7;
/// A download that is smaller by this factor than the rest of the running one does not wait for it.
const SMALL: u64 = 16;

/// How much depends on a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// No build of the model answers: it is new here, or its build was taken back.
    NothingAnswers,
    /// The stable build, or one that was pinned.
    Settled,
    /// A candidate.
    Candidate,
}

/// The order in which downloads get their turns. The least one is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Priority {
    /// How often it gave way. The download with fewer turns is next.
    turns: u32,
    urgency: Urgency,
    left_bytes: u64,
}

impl Priority {
    /// Whether it does not have to wait for the end of the other one's turn.
    fn interrupts(&self, other: &Priority) -> bool {
        // Of two with nothing left, neither interrupts the other.
        let less = self.left_bytes < other.left_bytes;
        let small = less && self.left_bytes.saturating_mul(SMALL) <= other.left_bytes;
        let urgent = self.urgency < other.urgency;
        self.turns <= other.turns && (urgent || (small && self.urgency == other.urgency))
    }
}

/// The turns of one model's downloads.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    /// It waits for its turn, as of the last step.
    waiting: Option<Priority>,
    /// The build that is, or was, downloaded, and how often that gave way.
    given_way: Option<(Digest, u32)>,
    /// How long this turn has lasted.
    turn_ms: u64,
    /// How long, and from how many bytes on, its speed has been measured.
    speed_ms: u64,
    speed_bytes: u64,
}

impl Turns {
    /// A turn begins.
    pub fn begin(&mut self, digest: Digest, bytes: u64) {
        self.given_way = self.given_way.filter(|(of, _)| *of == digest).or(Some((digest, 0)));
        (self.turn_ms, self.speed_ms, self.speed_bytes) = (0, 0, bytes);
    }

    /// It waits for its turn.
    pub fn wait(&mut self, priority: Priority) {
        self.waiting = Some(priority);
    }

    pub fn take_waiting(&mut self) -> Option<Priority> {
        self.waiting.take()
    }

    pub fn priority(&self, target: &Target, bytes: u64, nothing_answers: bool) -> Priority {
        let urgency = match target.kind {
            _ if nothing_answers => Urgency::NothingAnswers,
            TargetKind::Stable | TargetKind::Pin => Urgency::Settled,
            TargetKind::Candidate => Urgency::Candidate,
        };
        let digest = &target.build.digest;
        let turns = self.given_way.filter(|(of, _)| of == digest).map_or(0, |(_, turns)| turns);
        Priority { turns, urgency, left_bytes: target.build.size_bytes.saturating_sub(bytes) }
    }

    /// Time has passed. Returns whether the download is slow. `rate`: its rate limit, 0: none.
    fn is_slow(&mut self, passed_ms: u64, bytes: u64, turns: u32, rate: u64) -> bool {
        self.turn_ms = self.turn_ms.saturating_add(passed_ms);
        self.speed_ms = self.speed_ms.saturating_add(passed_ms);
        if bytes < self.speed_bytes {
            (self.speed_ms, self.speed_bytes) = (0, bytes); // The server started from the beginning.
        }
        if self.speed_ms < doubled(SPEED_MS, turns) {
            return false;
        }
        // A rate limit makes no download slow.
        let least = if rate == 0 { SLOW_BYTES_PER_SECOND } else { SLOW_BYTES_PER_SECOND.min(rate / 2) };
        let received = bytes - self.speed_bytes;
        let slow = received < least.saturating_mul(self.speed_ms) / 1000;
        (self.speed_ms, self.speed_bytes) = (0, bytes);
        slow
    }

    fn has_ended(&self, turns: u32) -> bool {
        self.turn_ms >= doubled(TURN_MS, turns)
    }

    fn count_turn(&mut self) {
        if let Some((_, turns)) = &mut self.given_way {
            *turns = turns.saturating_add(1);
        }
    }
}

fn doubled(ms: u64, turns: u32) -> u64 {
    ms << turns.min(DOUBLINGS_MAX)
}

impl Download {
    /// Whether the running download gives way to the first of those that wait, and whether that ends its turn.
    fn gives_way(
        &mut self,
        own: &Priority,
        bytes: u64,
        waiting: Option<&Priority>,
        ctx: &StepContext<'_>,
    ) -> Option<bool> {
        let slow = self.turns.is_slow(ctx.passed_ms, bytes, own.turns, self.bytes_per_second());
        let waiting = waiting?;
        if slow || self.turns.has_ended(own.turns) {
            return Some(true);
        }
        waiting.interrupts(own).then_some(false)
    }

    fn give_way(&mut self, of: &ModelName, to: &ModelName, ends_turn: bool, ctx: &mut StepContext<'_>) {
        let Some(digest) = self.running() else { return };
        if ends_turn {
            self.turns.count_turn();
        }
        self.pause(ctx);
        ctx.log(format!("{of} {digest}: download paused to let the one of {to} go first"));
    }
}

/// Decides whether the running download gives way, and which one is next.
pub(crate) fn arbitrate<'a>(models: impl Iterator<Item = &'a mut ManagedModel>, ctx: &mut StepContext<'_>) {
    let mut models: Vec<&mut ManagedModel> = models.collect();
    let waiting = models.iter_mut().filter_map(|model| {
        let priority = model.download_mut().take_waiting()?;
        Some((priority, model.name().clone()))
    });
    let next = waiting.min();
    if let Some(model) = models.iter_mut().find(|model| model.download().running().is_some())
        && let Some((own, bytes)) = model.download_priority()
    {
        let waiting = next.as_ref().map(|(priority, _)| priority);
        let gives_way = model.download_mut().gives_way(&own, bytes, waiting, ctx);
        if let (Some(ends_turn), Some((_, to))) = (gives_way, &next) {
            let of = model.name().clone();
            model.download_mut().give_way(&of, to, ends_turn, ctx);
        }
    }
    ctx.next_download = next.map(|(_, model)| model);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_turns_come_first_then_the_urgent_then_the_small() {
        let priority = |turns, urgency, left_bytes| Priority { turns, urgency, left_bytes };
        let (a, b, c) = (Urgency::NothingAnswers, Urgency::Settled, Urgency::Candidate);
        let order =
            [priority(0, a, 9), priority(0, b, 9), priority(0, c, 1), priority(0, c, 2), priority(1, a, 1)];
        assert!(order.is_sorted());
        assert!(priority(0, a, 900).interrupts(&priority(0, c, 1)), "urgent");
        assert!(priority(0, c, 10).interrupts(&priority(0, c, 160)), "small");
        assert!(!priority(0, c, 11).interrupts(&priority(0, c, 160)));
        assert!(!priority(1, a, 1).interrupts(&priority(0, c, 1000)), "it had its turn");
        assert!(!priority(0, c, 1).interrupts(&priority(0, a, 1000)));
        // No two downloads interrupt each other, and none interrupts one of equal priority.
        let none_left = [priority(0, a, 0), priority(0, c, 0), priority(1, c, 0)];
        let all: Vec<Priority> = order.into_iter().chain(none_left).collect();
        for x in &all {
            for y in &all {
                assert!(!(x.interrupts(y) && y.interrupts(x)), "{x:?} {y:?}");
            }
        }
    }

    #[test]
    fn a_download_is_slow_by_what_it_received_in_its_time() {
        let mut turns = Turns::default();
        turns.begin(Digest([1; 32]), 100);
        assert!(!turns.is_slow(SPEED_MS - 1, 100, 0, 0), "too early to tell");
        assert!(turns.is_slow(1, 100, 0, 0));
        let enough = SLOW_BYTES_PER_SECOND * SPEED_MS / 1000;
        assert!(!turns.is_slow(SPEED_MS, 100 + enough, 0, 0));
        assert!(turns.is_slow(SPEED_MS, 99 + 2 * enough, 0, 0));
        assert!(!turns.is_slow(SPEED_MS, 99 + 2 * enough, 1, 0), "the second turn is twice as long");
        turns.begin(Digest([1; 32]), 0);
        assert!(!turns.is_slow(SPEED_MS, 100 * SPEED_MS / 1000, 0, 200), "as slow as the rate limit");
        assert!(!turns.is_slow(SPEED_MS, 0, 0, 0), "started from the beginning");
        assert!(turns.is_slow(SPEED_MS, 0, 0, 0));
    }
}
