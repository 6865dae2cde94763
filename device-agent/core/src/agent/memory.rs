//! Memory of the process. All models share it, so only a build that started after the last reading below the limit can
//! have crossed it.

use modelfleet_protocol::state::{Failure, FailureCode};

use super::context::StepContext;
use super::models::ModelTable;

/// The memory limit of the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemoryLimit {
    /// The last reading was above the limit, no build can have caused it, and the log says so.
    logged: bool,
}

impl MemoryLimit {
    pub fn reading(&mut self, exceeded: bool, models: &mut ModelTable, ctx: &mut StepContext<'_>) {
        if !exceeded {
            self.logged = false;
            return models.iter_mut().for_each(|model| model.memory_is_fine());
        }
        // A build in shadow is stopped before one that answers; of those, the one that started last.
        let suspects = models.iter_mut().filter(|model| model.memory_suspect().is_some());
        if let Some(model) = suspects.max_by_key(|model| model.memory_suspect()) {
            let detail = "the process uses more memory than allowed".to_owned();
            model.stop_memory_suspect(Failure::new(FailureCode::MemoryExceeded, detail), ctx);
        } else if !self.logged {
            self.logged = true;
            ctx.log(
                "the process uses more memory than allowed, but no build has started since it was below the limit"
                    .to_owned(),
            );
        }
    }
}
