//! The state: what a device says about itself.

use modelfleet_protocol::state::{Attempt, DeviceState, ModelState, Running};
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

pub(crate) fn compose<'a>(
    identity: &Identity,
    sequence: u64,
    now: Time,
    units: impl Iterator<Item = &'a Unit>,
) -> DeviceState {
    DeviceState {
        device: identity.device.clone(),
        sequence,
        at: now,
        agent: identity.agent.clone(),
        labels: identity.labels.clone(),
        capabilities: identity.capabilities.clone(),
        models: units.map(Unit::state).collect(),
    }
}
