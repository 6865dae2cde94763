//! The device as a whole: one step takes an input and returns outputs.

pub(crate) mod context;
mod deletions;
mod memory;
mod models;
pub(crate) mod runs;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use modelfleet_protocol::ids::{Digest, ModelName};

use crate::interface::{Identity, Input, Limits, Moment, Step};
use crate::plan::build::Build;
use crate::saved::Saved;
use crate::trust::TrustRules;
use modelfleet_protocol::trust::TrustDocument;
use state::AgentState;

/// The pure agent of one device.
#[derive(Clone, Debug)]
pub struct Agent {
    identity: Identity,
    limits: Limits,
    trust: TrustRules,
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
        let mut saved = saved;
        let trust = TrustRules::restored(identity.trust.clone(), saved.trust.take());
        let state = AgentState::restored(saved, windows, &identity, &limits, &trust);
        Agent { identity, limits, trust, state }
    }

    /// Takes one input and returns what the shell must do. Every input is accepted, and none causes a panic.
    /// Durations are measured on the steady clock, deadlines on the wall clock.
    pub fn step(&mut self, now: impl Into<Moment>, input: Input) -> Step {
        let Agent { identity, limits, trust, state } = self;
        let now = now.into();
        let stopping = input == Input::Stopping;
        let input = match input {
            Input::Trust(document) if !trust.follow(&document) => Input::Wake,
            input => input,
        };
        let dropped = trust.take_dropped();
        let mut ctx = state.begin_step(now, &input, identity, limits, trust);
        if let Some(version) = dropped {
            ctx.log(format!(
                "version {version} of the trust document is not followed any more, because the root keys in the settings are \
                 other ones; the device begins with those"
            ));
            ctx.save();
        }
        state.apply(input, &mut ctx);
        if !stopping {
            state.settle(&mut ctx);
        }
        state.finish_step(now, ctx)
    }

    /// The content of [`crate::interface::Record::Control`].
    #[must_use]
    pub fn saved(&self) -> Saved {
        Saved { trust: self.trust.kept().cloned(), ..self.state.saved() }
    }

    /// The trust document that the device follows.
    #[must_use]
    pub fn trust(&self) -> Option<&Arc<TrustDocument>> {
        self.trust.document()
    }

    /// The bytes of [`crate::interface::Record::Windows`].
    #[must_use]
    pub fn saved_windows(&self, model: &ModelName) -> Vec<u8> {
        self.state.saved_windows(model)
    }

    /// Models of which no build answers, because the trust document's floor forbids the one that is wanted: that build, and
    /// why it may not run.
    #[must_use]
    pub fn forbidden(&self) -> Vec<(Build, String)> {
        self.state.forbidden()
    }

    /// Builds whose bytes are needed, complete or partial. The shell may delete all others when it starts.
    #[must_use]
    pub fn digests(&self) -> BTreeSet<Digest> {
        self.state.needed_builds()
    }
}
