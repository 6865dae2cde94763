//! The agent: one step from an input to outputs.

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_protocol::ids::{Digest, ModelName};

use crate::mind::Mind;
use crate::saved::Saved;
use crate::words::{Identity, Input, Limits, Moment, Step};

/// The pure agent of one device.
#[derive(Clone, Debug)]
pub struct Agent {
    identity: Identity,
    limits: Limits,
    mind: Mind,
}

impl Agent {
    /// An agent that continues from what it saved; both are empty on a new device. Windows that cannot be read
    /// are left out: they are evidence, not safety.
    #[must_use]
    pub fn new(
        identity: Identity,
        limits: Limits,
        saved: Saved,
        windows: &BTreeMap<ModelName, Vec<u8>>,
    ) -> Agent {
        let mind = Mind::restored(saved, windows, &identity, &limits);
        Agent { identity, limits, mind }
    }

    /// Takes one input and says what to do. Total: no input is an error, and none panics.
    /// What lasts is counted on the steady clock, what is due by the wall clock.
    pub fn step(&mut self, now: impl Into<Moment>, input: Input) -> Step {
        let Agent { identity, limits, mind } = self;
        let stopping = input == Input::Stopping;
        let mut turn = mind.turn(now.into(), &input, identity, limits);
        mind.take(input, &mut turn);
        if !stopping {
            mind.settle(&mut turn);
        }
        mind.finish(turn)
    }

    /// The content of [`crate::words::Record::Control`].
    #[must_use]
    pub fn saved(&self) -> Saved {
        self.mind.saved()
    }

    /// The bytes of [`crate::words::Record::Windows`].
    #[must_use]
    pub fn saved_windows(&self, model: &ModelName) -> Vec<u8> {
        self.mind.roster.units.get(model).map_or_else(Vec::new, |unit| unit.observation.to_bytes())
    }

    /// Builds whose bytes are of use, complete or begun; the shell may delete all others when it starts.
    #[must_use]
    pub fn digests(&self) -> BTreeSet<Digest> {
        let units = self.mind.roster.units.values();
        let slots = units.clone().flat_map(|unit| unit.kept.slots.iter().map(|slot| slot.build.digest));
        slots.chain(units.flat_map(|unit| unit.kept.parts.iter().copied())).collect()
    }
}
