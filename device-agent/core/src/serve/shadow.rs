//! A build in shadow: it runs on the same inputs beside the build that answers, and its answers are not used.

use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::state::Failure;

use super::engine_ends::EngineEnds;
use crate::agent::context::StepContext;
use crate::interface::{Limits, Output};
use crate::plan::build::Build;

/// The build of one model that runs in shadow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ShadowRun {
    build: Option<Digest>,
    /// The shell has confirmed that it runs.
    running: bool,
    engine_ends: EngineEnds,
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
        *self = ShadowRun { build: Some(build.digest), ..ShadowRun::default() };
        ctx.emit(Output::Shadow { model: model.clone(), build: Some(build) });
    }

    /// The shell runs it.
    pub fn started(&mut self, digest: &Digest) {
        self.running |= self.is(digest);
    }

    /// It has run on.
    pub fn elapse(&mut self, passed_ms: u64, limits: &Limits) {
        if self.is_running() {
            self.engine_ends.elapse(passed_ms, limits);
        }
    }

    /// After how long the ends of its process so far do not count any more, if there were any.
    pub fn engine_ends_forgotten_in_ms(&self, limits: &Limits) -> Option<u64> {
        self.engine_ends.forgotten_in_ms(limits).filter(|_| self.build.is_some())
    }

    /// The process that ran it has ended: it is started again. Returns why it must be left, if it must.
    pub fn engine_ended(
        &mut self,
        model: &ModelName,
        build: Option<Build>,
        detail: &str,
        ctx: &mut StepContext<'_>,
    ) -> Option<Failure> {
        if !self.is_running() {
            return None; // It is being started again.
        }
        let failure = self.engine_ends.count(detail, ctx.limits);
        if failure.is_none() {
            self.running = false;
            ctx.emit(Output::Shadow { model: model.clone(), build });
        }
        failure
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
