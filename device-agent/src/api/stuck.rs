//! Finds a build that answers no more. What the device has decided is on the disk, so ending the process loses
//! nothing, and whoever restarts it gets threads that are free.

use std::time::Duration;

use super::ApiError;
use crate::serve::Models;

/// How often it is looked, as a part of the time after which predictions are stuck.
const LOOKS: u32 = 10;

/// Waits until all places of a build that answers have been taken for so long without one being given back.
/// A build that was taken back keeps its threads, and nothing else.
pub(super) async fn found(models: &Models, after: Duration) -> ApiError {
    loop {
        tokio::time::sleep(after / LOOKS).await;
        for model in models.all() {
            let Some(live) = model.live().filter(|live| live.ready.places.full_for() >= after) else {
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
