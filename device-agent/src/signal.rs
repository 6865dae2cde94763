//! The signals that end the process.

use tokio_util::sync::CancellationToken;
use tracing::info;

/// Cancels `stop` on SIGTERM or SIGINT.
pub async fn stop_on(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    info!("stopping");
    stop.cancel();
}
