//! The state: what a device says about itself.

use modelfleet_protocol::state::{Attempt, DeviceState, ModelState, Phase, Running, STATE_BYTES_MAX};
use modelfleet_protocol::time::Time;

use crate::aim::Kind;
use crate::unit::Unit;
use crate::words::Identity;

impl Unit {
    fn state(&self) -> ModelState {
        let running = self.serving.and_then(|digest| {
            let slot = self.slot(&digest)?;
            Some(Running {
                digest,
                version: slot.build.version.clone(),
                activated: slot.activated,
                confirmed: !(self.is_active(&digest) && self.on_trial()),
                engine: slot.engine.clone(),
            })
        });
        ModelState {
            model: self.model.clone(),
            plan: self.kept.seen,
            running,
            spare: self.way_back().map(|slot| slot.build.digest),
            candidate: self.shown(),
            reverts: self.kept.reverts,
        }
    }

    /// The attempt at the candidate that is wanted; else the one that changed last, so that nobody has to guess
    /// how it ended.
    fn shown(&self) -> Option<Attempt> {
        let attempts = || self.kept.attempts.iter().map(|t| &t.attempt);
        let wanted =
            self.aim.goal().filter(|goal| goal.kind != Kind::Stable).and_then(|goal| {
                attempts().find(|a| a.rollout == goal.attempt && a.digest == goal.build.digest)
            });
        wanted.or_else(|| attempts().max_by_key(|a| a.since)).cloned()
    }
}

/// Texts of failures are cut to so many bytes before anything else goes.
const SHORT_DETAIL: usize = 64;

/// The state, within the bytes that a state may have: long texts go first, then what ended, then whole models
/// from the last. What runs is said as long as there is room.
pub(crate) fn compose<'a>(
    identity: &Identity,
    sequence: u64,
    now: Time,
    payload_bytes_max: usize,
    units: impl Iterator<Item = &'a Unit>,
) -> DeviceState {
    let state = DeviceState {
        device: identity.device.clone(),
        sequence,
        at: now,
        agent: identity.agent.clone(),
        labels: identity.labels.clone(),
        capabilities: identity.capabilities.clone(),
        models: units.map(Unit::state).collect(),
    };
    fitted(state, payload_bytes_max.min(STATE_BYTES_MAX))
}

fn fitted(mut state: DeviceState, most_bytes: usize) -> DeviceState {
    let fits = |state: &DeviceState| serde_json::to_vec(state).is_ok_and(|bytes| bytes.len() <= most_bytes);
    if fits(&state) {
        return state;
    }
    for most in [SHORT_DETAIL, 0] {
        let attempts = state.models.iter_mut().filter_map(|m| m.candidate.as_mut());
        for failure in attempts.filter_map(|a| a.failure.as_mut()) {
            let cut: String = failure
                .detail
                .chars()
                .scan(0, |bytes, c| {
                    *bytes += c.len_utf8();
                    (*bytes <= most).then_some(c)
                })
                .collect();
            failure.detail = cut;
        }
        if fits(&state) {
            return state;
        }
    }
    for attempt in state.models.iter_mut().filter_map(|m| m.candidate.as_mut()) {
        attempt.waits = None;
    }
    for model in &mut state.models {
        model.candidate.take_if(|attempt| attempt.phase > Phase::Confirmed);
    }
    while !fits(&state) && state.models.pop().is_some() {}
    state
}
