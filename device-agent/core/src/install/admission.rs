//! Loading a build beside the one that answers, before it may answer itself.

use modelfleet_protocol::ids::{Digest, ModelName};

use crate::agent::context::StepContext;
use crate::interface::Output;

/// The load of one model's next build: requested from the shell, or done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission {
    requested: Option<Digest>,
    /// Loaded beside the build that answers, with the engine that runs it.
    loaded: Option<(Digest, String)>,
}

impl Admission {
    /// The build whose load was requested and has not ended.
    pub fn requested(&self) -> Option<Digest> {
        self.requested
    }

    pub fn is_loaded(&self, digest: &Digest) -> bool {
        self.loaded.as_ref().is_some_and(|(loaded, _)| loaded == digest)
    }

    pub fn request(&mut self, digest: Digest) {
        self.requested = Some(digest);
    }

    /// The load has ended well.
    pub fn succeeded(&mut self, digest: Digest, engine: String) {
        self.requested = None;
        self.loaded = Some((digest, engine));
    }

    /// The load has ended, or its reply is not waited for any more. Returns whether it was requested.
    pub fn ended(&mut self, digest: &Digest) -> bool {
        self.requested.take_if(|requested| requested == digest).is_some()
    }

    /// The loaded build and its engine; from now on it counts as running, or as unloaded.
    pub fn take_loaded(&mut self) -> Option<(Digest, String)> {
        self.loaded.take()
    }

    /// Unloads the build if it is loaded.
    pub fn unload(&mut self, model: &ModelName, digest: &Digest, ctx: &mut StepContext<'_>) {
        if self.loaded.take_if(|(loaded, _)| loaded == digest).is_some() {
            ctx.emit(Output::Unload { model: model.clone(), digest: *digest });
        }
    }

    /// Cancels the load of a build that is not wanted, and unloads one. Returns the build whose load was cancelled.
    pub fn drop_unwanted(
        &mut self,
        model: &ModelName,
        wanted: impl Fn(&Digest) -> bool,
        ctx: &mut StepContext<'_>,
    ) -> Option<Digest> {
        let cancelled = self.requested.take_if(|digest| !wanted(digest));
        let unloaded = self.loaded.take_if(|(digest, _)| !wanted(digest)).map(|(digest, _)| digest);
        for digest in cancelled.into_iter().chain(unloaded) {
            ctx.emit(Output::Unload { model: model.clone(), digest });
        }
        cancelled
    }

    /// The last step's outputs were not carried out: a request that it made is withdrawn, and returned.
    pub fn undo_request(&mut self, before: Option<Digest>) -> Option<Digest> {
        if self.requested == before { None } else { self.requested.take() }
    }
}
