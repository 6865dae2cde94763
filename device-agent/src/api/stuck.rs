//! Finds a build whose predictions hang. Everything that the device has decided is on disk, so ending the process loses
//! nothing, and its next start has free threads.

use std::time::Duration;

use super::ApiError;
use crate::serve::Models;

/// How often this is checked, as a part of the time after which predictions count as stuck.
const LOOKS: u32 = 10;

/// Waits until all permits of the build that answers have been taken for so long without one being returned. A build that
/// does not answer any more keeps its threads, and does no other harm.
pub(super) async fn found(models: &Models, after: Duration) -> ApiError {
    loop {
        tokio::time::sleep(after / LOOKS).await;
        for model in models.all() {
            let Some(live) = model.live().filter(|live| live.ready.permits.full_for() >= after) else {
                continue;
            };
            return ApiError::Stuck {
                model: model.name().clone(),
                version: live.build.version.to_string(),
                after,
            };
        }
    }
}
