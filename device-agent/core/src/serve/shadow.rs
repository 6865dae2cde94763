//! A build in shadow: it runs on the same inputs beside the build that answers, and its answers are not used.

use modelfleet_protocol::ids::{Digest, ModelName};

use crate::agent::context::StepContext;
use crate::interface::Output;
use crate::plan::build::Build;

/// The build of one model that runs in shadow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ShadowRun {
    build: Option<Digest>,
    /// The shell has confirmed that it runs.
    running: bool,
}

impl ShadowRun {
    /// The build that runs in shadow, or is being started.
    pub fn build(&self) -> Option<Digest> {
        self.build
    }

    pub fn is(&self, digest: &Digest) -> bool {
        self.build.as_ref() == Some(digest)
    }

    /// Whether the shell has confirmed that it runs.
    pub fn is_running(&self) -> bool {
        self.build.is_some() && self.running
    }

    /// The build whose start was requested and not confirmed.
    pub fn requested(&self) -> Option<Digest> {
        self.build.filter(|_| !self.running)
    }

    pub fn start(&mut self, model: &ModelName, build: Build, ctx: &mut StepContext<'_>) {
        (self.build, self.running) = (Some(build.digest), false);
        ctx.emit(Output::Shadow { model: model.clone(), build: Some(build) });
    }

    /// The shell runs it.
    pub fn started(&mut self, digest: &Digest) {
        self.running |= self.is(digest);
    }

    /// Stops the build that runs in shadow, and returns it.
    pub fn stop(&mut self, model: &ModelName, ctx: &mut StepContext<'_>) -> Option<Digest> {
        let build = self.build.take()?;
        ctx.emit(Output::Shadow { model: model.clone(), build: None });
        Some(build)
    }

    /// The last step's outputs were not carried out: a start that it requested is withdrawn.
    pub fn undo_start(&mut self, before: Option<Digest>) {
        self.build = self.build.filter(|_| self.build == before);
    }
}
