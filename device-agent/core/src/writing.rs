//! A disk that takes no writes: what was decided waits for the record, and the record is tried again after
//! growing pauses.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;

use crate::words::{Input, Output};

/// Pause before the second try; doubles with each further one.
const PAUSE_MS: u64 = 1_000;
/// Longest pause between two tries.
const PAUSE_MS_MAX: u64 = 60_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Writing {
    /// Tries that failed in a row, and when the next one is due.
    failing: Option<(u32, Time)>,
    /// This step has heard of a failure.
    news: bool,
    /// The last step tried again.
    tried: bool,
    /// Bytes that the last step deleted, if its record was written.
    deletes: Vec<Digest>,
    /// Bytes to delete once the record can be written.
    owed: Vec<Digest>,
}

impl Writing {
    pub fn is_well(&self) -> bool {
        self.failing.is_none()
    }

    pub fn failed(&mut self, now: Time) {
        let tries = self.failing.map_or(1, |(tries, _)| tries.saturating_add(1));
        let doubled = 1_u64.checked_shl(tries - 1).unwrap_or(u64::MAX);
        let pause_ms = PAUSE_MS.saturating_mul(doubled).min(PAUSE_MS_MAX);
        self.failing = Some((tries, now.after_ms(pause_ms)));
        self.news = true;
        for digest in std::mem::take(&mut self.deletes) {
            if !self.owed.contains(&digest) {
                self.owed.push(digest);
            }
        }
    }

    /// The record is written with this step. When to go on at the latest, should nobody say how that went.
    pub fn tries(&mut self, now: Time) -> Option<Time> {
        self.tried = true;
        self.failing.map(|_| now.after_ms(PAUSE_MS))
    }

    /// Whether the try of the last step went well: a failure would have been told at once, and that it went well is
    /// not waited for, lest nothing is ever begun again when the word is lost.
    pub fn went_well(&mut self, input: &Input) -> bool {
        std::mem::take(&mut self.tried) && *input != Input::NotSaved || *input == Input::Saved
    }

    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// There may be no later chance: the next try is now.
    pub fn hurry(&mut self, now: Time) {
        self.failing = self.failing.map(|(tries, _)| (tries, now));
    }

    /// What was to be deleted meanwhile comes back.
    pub fn succeeded(&mut self) -> Vec<Digest> {
        self.failing = None;
        std::mem::take(&mut self.owed)
    }

    /// When the record is to be written next: now, later, or not at all. A step that wants to write while that
    /// fails has already decided to wait.
    pub fn next(&mut self, now: Time, save: bool, outputs: &[Output]) -> Option<Time> {
        if let Some((_, at)) = &mut self.failing {
            // A clock that was set back does not stretch the pause.
            *at = (*at).min(now.after_ms(PAUSE_MS_MAX));
            return Some(*at);
        }
        let deleted = |output: &Output| match output {
            Output::Delete { digest } => Some(*digest),
            _ => None,
        };
        self.deletes = if save { outputs.iter().filter_map(deleted).collect() } else { Vec::new() };
        save.then_some(now)
    }
}
