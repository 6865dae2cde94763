//! The device as a whole: one step takes an input and returns outputs.

pub(crate) mod context;
mod deletions;
mod memory;
mod models;
pub(crate) mod runs;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_protocol::ids::{Digest, ModelName};

use crate::interface::{Identity, Input, Limits, Moment, Step};
use crate::saved::Saved;
use state::AgentState;

/// The pure agent of one device.
#[derive(Clone, Debug)]
pub struct Agent {
    identity: Identity,
    limits: Limits,
    state: AgentState,
}

impl Agent {
    /// An agent that continues from what it saved; both records are empty on a new device. Windows that cannot be read
    /// are left out: they are evidence, not safety.
    #[must_use]
    pub fn new(
        identity: Identity,
        limits: Limits,
        saved: Saved,
        windows: &BTreeMap<ModelName, Vec<u8>>,
    ) -> Agent {
        let state = AgentState::restored(saved, windows, &identity, &limits);
        Agent { identity, limits, state }
    }

    /// Takes one input and returns what the shell must do. Every input is accepted, and none causes a panic.
    /// Durations are measured on the steady clock, deadlines on the wall clock.
    pub fn step(&mut self, now: impl Into<Moment>, input: Input) -> Step {
        let Agent { identity, limits, state } = self;
        let now = now.into();
        let stopping = input == Input::Stopping;
        let mut ctx = state.begin_step(now, &input, identity, limits);
        state.apply(input, &mut ctx);
        if !stopping {
            state.settle(&mut ctx);
        }
        state.finish_step(now, ctx)
    }

    /// The content of [`crate::interface::Record::Control`].
    #[must_use]
    pub fn saved(&self) -> Saved {
        self.state.saved()
    }

    /// The bytes of [`crate::interface::Record::Windows`].
    #[must_use]
    pub fn saved_windows(&self, model: &ModelName) -> Vec<u8> {
        self.state.saved_windows(model)
    }

    /// Builds whose bytes are needed, complete or partial. The shell may delete all others when it starts.
    #[must_use]
    pub fn digests(&self) -> BTreeSet<Digest> {
        self.state.needed_builds()
    }
}
