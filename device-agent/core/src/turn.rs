//! One step under way: what it may look at, and what it has led to so far.

use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::membership::rank;
use modelfleet_protocol::time::Time;

use crate::words::{Identity, Limits, Moment, Output, Why};

/// Time that may pass beyond the wake that was asked for and still counts; more than that is a process that was
/// stopped meanwhile.
const SLACK_MS: u64 = 60_000;

pub(crate) struct Turn<'a> {
    pub now: Time,
    /// The clock that nobody sets, at the same moment.
    pub steady_ms: u64,
    /// Time that really passed since the last step.
    pub passed_ms: u64,
    pub connected: bool,
    /// Most bytes of a payload that the broker takes.
    pub payload_bytes_max: usize,
    /// A fetch runs, of whatever model.
    pub fetching: bool,
    /// The model whose download is the next; without one, whichever comes.
    pub next_fetch: Option<ModelName>,
    /// The record can be written, as far as is known: what rests on it may be begun.
    pub writable: bool,
    /// Candidates may be loaded.
    pub loading: bool,
    pub identity: &'a Identity,
    pub limits: &'a Limits,
    pub outputs: Vec<Output>,
    pub wake: Option<(Time, Why)>,
    /// Control must be written before the first output is carried out.
    pub save: bool,
    /// The state has changed.
    pub publish: bool,
}

impl Turn<'_> {
    pub fn emit(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Asks for a wake; the earliest one asked for counts.
    pub fn wake_at(&mut self, at: Time, why: Why) {
        let at = at.max(Time(self.now.0.saturating_add(1)));
        if self.wake.is_none_or(|(earlier, _)| at < earlier) {
            self.wake = Some((at, why));
        }
    }

    /// Something was decided that must survive and that others shall see.
    pub fn changed(&mut self) {
        self.save = true;
        self.publish = true;
    }

    /// A number below `below` that depends on the device and on `what` alone: chance that can be repeated.
    pub fn draw(&self, what: &str, below: u64) -> u64 {
        rank(what, &self.identity.device) % below.max(1)
    }
}

/// Time between two steps as far as it can be trusted: what the steady clock says, and no more than was asked for.
pub(crate) fn passed_ms(last: Moment, wake: Option<Time>, now: Moment) -> u64 {
    let asked = wake.map_or(0, |wake| wake.since_ms(last.wall));
    now.steady_ms.saturating_sub(last.steady_ms).min(asked.saturating_add(SLACK_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_does_not_pass_time() {
        let at = |wall: u64, steady_ms: u64| Moment { wall: Time(wall), steady_ms };
        let (last, wake) = (at(1_000_000, 5_000), Some(Time(1_030_000)));
        assert_eq!(passed_ms(last, wake, at(1_030_000, 35_000)), 30_000);
        assert_eq!(passed_ms(last, wake, at(900_000, 5_010)), 10, "backwards");
        assert_eq!(passed_ms(last, wake, at(1 << 50, 5_010)), 10, "forwards");
        assert_eq!(passed_ms(last, wake, at(1_030_000, 1 << 50)), 90_000, "what was asked for, and slack");
        assert_eq!(passed_ms(last, None, at(0, u64::MAX)), 60_000);
    }
}
