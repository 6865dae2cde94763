//! One step in progress: what it may read, and the effects that it has collected so far.

use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::membership::rank;
use modelfleet_protocol::time::Time;

use crate::interface::{Identity, Limits, Moment, Output, WakeReason};
use crate::trust::TrustRules;

/// Time beyond the requested wake that still counts as passed. If more has passed, the process was suspended.
const SLACK_MS: u64 = 60_000;

/// One step in progress.
pub(crate) struct StepContext<'a> {
    /// The wall clock.
    pub now: Time,
    /// Time that passed since the last step, as far as it can be trusted.
    pub passed_ms: u64,
    pub connected: bool,
    /// Largest payload that the broker accepts.
    pub payload_bytes_max: usize,
    /// The record can be written, as far as is known. What depends on the record may be started.
    pub writable: bool,
    /// Candidates may be loaded. False for a while after several crashes in a row.
    pub may_load: bool,
    /// A download of any model is running.
    pub download_running: bool,
    /// The model whose download comes next; `None`: any.
    pub next_download: Option<ModelName>,
    pub identity: &'a Identity,
    pub limits: &'a Limits,
    pub trust: &'a TrustRules,
    effects: Effects,
}

/// What a step leads to.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub outputs: Vec<Output>,
    pub wake: Option<(Time, WakeReason)>,
    /// The record must be written before the first output is carried out.
    pub save: bool,
    /// The device's state has changed and must be published.
    pub publish: bool,
    /// A message was refused because of a key, and may be accepted after another trust document.
    pub refused_for_key: bool,
}

impl<'a> StepContext<'a> {
    /// A step that begins now. Everything else is as on a device that is offline and has a good disk.
    pub fn new(
        now: Time,
        passed_ms: u64,
        identity: &'a Identity,
        limits: &'a Limits,
        trust: &'a TrustRules,
    ) -> StepContext<'a> {
        StepContext {
            now,
            passed_ms,
            connected: false,
            payload_bytes_max: usize::MAX,
            writable: true,
            may_load: true,
            download_running: false,
            next_download: None,
            identity,
            limits,
            trust,
            effects: Effects::default(),
        }
    }

    pub fn emit(&mut self, output: Output) {
        self.effects.outputs.push(output);
    }

    /// Writes a line to the device's log.
    pub fn log(&mut self, line: String) {
        self.emit(Output::Note(line));
    }

    /// Asks to be woken. The earliest request counts.
    pub fn wake_at(&mut self, at: Time, reason: WakeReason) {
        let at = at.max(Time(self.now.0.saturating_add(1)));
        if self.effects.wake.is_none_or(|(earlier, _)| at < earlier) {
            self.effects.wake = Some((at, reason));
        }
    }

    /// The record has to be written.
    pub fn save(&mut self) {
        self.effects.save = true;
    }

    pub fn save_if(&mut self, needed: bool) {
        self.effects.save |= needed;
    }

    /// The state has to be published.
    pub fn publish(&mut self) {
        self.effects.publish = true;
    }

    pub fn publish_if(&mut self, needed: bool) {
        self.effects.publish |= needed;
    }

    /// A message was refused because of a key, and may be accepted after another trust document.
    pub fn refused_for_key(&mut self) {
        self.effects.refused_for_key = true;
    }

    /// Something was decided that must survive a restart and that the controller must see.
    pub fn changed(&mut self) {
        self.save();
        self.publish();
    }

    /// A number below `below` that depends only on the device and on `what`, so that it is the same every time.
    pub fn jitter(&self, what: &str, below: u64) -> u64 {
        rank(what, &self.identity.device) % below.max(1)
    }

    pub fn into_effects(self) -> Effects {
        self.effects
    }
}

/// Time between two steps as far as it can be trusted: what the steady clock says, and not much more than was asked for.
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
