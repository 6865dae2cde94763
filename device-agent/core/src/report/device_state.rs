//! The state: what a device says about itself.

use modelfleet_protocol::state::{DeviceState, ModelState, Overridden, Phase, STATE_BYTES_MAX};
use modelfleet_protocol::time::Time;

use crate::interface::Identity;

/// Texts of failures are cut to so many bytes before anything else is left out.
const SHORT_DETAIL: usize = 64;

/// The state, within the bytes that a state may have. Long texts are left out first, then attempts that have ended, then
/// whole models from the last. What runs is reported as long as there is room.
pub(crate) fn compose(
    identity: &Identity,
    sequence: u64,
    now: Time,
    payload_bytes_max: usize,
    trust_version: Option<u64>,
    models: Vec<ModelState>,
    overridden: Option<Overridden>,
) -> DeviceState {
    let state = DeviceState {
        device: identity.device.clone(),
        sequence,
        at: now,
        agent: identity.agent.clone(),
        labels: identity.labels.clone(),
        card: identity.card.clone(),
        trust_version,
        capabilities: identity.capabilities.clone(),
        models,
        overridden,
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
