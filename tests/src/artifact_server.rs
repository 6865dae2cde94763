//! A small artifact store over HTTP: `PUT` to store, `GET` and `HEAD` with ranges to fetch.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tower_http::services::ServeDir;

use modelfleet_test_support::part::PartError;

/// Largest artifact that is stored.
const ARTIFACT_BYTES_MAX: usize = 256 << 20;

/// A running artifact server; it serves as long as this value lives.
#[derive(Debug)]
pub struct ArtifactServer {
    address: SocketAddr,
    dir: PathBuf,
    runtime: Option<tokio::runtime::Runtime>,
}

impl ArtifactServer {
    /// Serves `dir` on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the port or the folder cannot be had.
    pub fn start(dir: &Path) -> Result<ArtifactServer, PartError> {
        let failed = |source| PartError::File { what: "serve", path: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(failed)?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let app = Router::new().fallback(serve).with_state(dir.to_owned());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(ArtifactServer { address, dir: dir.to_owned(), runtime: Some(runtime) })
    }

    /// Where to store and fetch: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The served folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for ArtifactServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(State(dir): State<PathBuf>, request: Request) -> Response {
    if request.method() != Method::PUT {
        return match ServeDir::new(&dir).try_call(request).await {
            Ok(found) => found.into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        };
    }
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', '%']);
    if !path.split('/').all(plain) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let Ok(bytes) = to_bytes(request.into_body(), ARTIFACT_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    match store(&dir.join(&path), &bytes).await {
        Ok(()) => StatusCode::CREATED.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    let part = path.with_extension("part");
    tokio::fs::write(&part, bytes).await?;
    tokio::fs::rename(&part, path).await
}
