//! A disk that cannot be written: what was decided waits for the record, and the write is tried again after growing
//! waits.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;

use crate::interface::{Input, Output};

/// Wait before the second try; doubles with each further one.
const WAIT_MS: u64 = 1_000;
/// Longest wait between two tries.
const WAIT_MS_MAX: u64 = 60_000;

/// Writes of the control record.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordWrites {
    /// Tries that failed in a row, and when the next one is due.
    failing: Option<(u32, Time)>,
    /// A write failed, and this step learned of it.
    just_failed: bool,
    /// The last step tried to write.
    tried: bool,
    /// Builds that the last step deletes, if its record was written.
    deletes: Vec<Digest>,
    /// Builds to delete once the record can be written.
    owed: Vec<Digest>,
}

impl RecordWrites {
    pub fn is_working(&self) -> bool {
        self.failing.is_none()
    }

    pub fn failed(&mut self, now: Time) {
        let tries = self.failing.map_or(1, |(tries, _)| tries.saturating_add(1));
        let doubled = 1_u64.checked_shl(tries - 1).unwrap_or(u64::MAX);
        let wait_ms = WAIT_MS.saturating_mul(doubled).min(WAIT_MS_MAX);
        self.failing = Some((tries, now.after_ms(wait_ms)));
        self.just_failed = true;
        for digest in std::mem::take(&mut self.deletes) {
            if !self.owed.contains(&digest) {
                self.owed.push(digest);
            }
        }
    }

    /// The record is written with this step. Returns when to go on if the shell does not report how that went.
    pub fn writing_now(&mut self, now: Time) -> Option<Time> {
        self.tried = true;
        self.failing.map(|_| now.after_ms(WAIT_MS))
    }

    /// Whether the write of the last step succeeded. A failure is reported at once. Success is assumed without a report, so
    /// that the agent does not stand still if the report is lost.
    pub fn retry_succeeded(&mut self, input: &Input) -> bool {
        std::mem::take(&mut self.tried) && *input != Input::NotSaved || *input == Input::Saved
    }

    pub fn take_just_failed(&mut self) -> bool {
        std::mem::take(&mut self.just_failed)
    }

    /// The next try is now, because the process is about to end.
    pub fn retry_now(&mut self, now: Time) {
        self.failing = self.failing.map(|(tries, _)| (tries, now));
    }

    /// The record can be written. Returns the builds to delete that have waited for it.
    pub fn succeeded(&mut self) -> Vec<Digest> {
        self.failing = None;
        std::mem::take(&mut self.owed)
    }

    /// When the record is written next: now, later, or not at all.
    pub fn next_write(&mut self, now: Time, save: bool, outputs: &[Output]) -> Option<Time> {
        if let Some((_, at)) = &mut self.failing {
            // A clock that was set back does not make the wait longer.
            *at = (*at).min(now.after_ms(WAIT_MS_MAX));
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
