//! `/metrics`, `/malformed` and the devices over TLS, for those whom the API server lets read them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use kube::Client;
use modelfleet_protocol::causes::with_causes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::devices::{self, DeviceApi};
use super::rights::{Refused, Rights, Wanted};
use super::{HttpError, Shown, numbers};

/// Connections that are being made at the same time.
const HANDSHAKES_MAX: usize = 32;
/// Longest that one may take to be made.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Where it listens, and by which certificate it is known. The files are read again for every connection.
#[derive(Clone, Debug)]
pub struct Reviewed {
    /// The address.
    pub address: SocketAddr,
    /// The certificate and those between it and the authority, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// Why the certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The two do not go together.
    #[error("use the certificate with its key")]
    Use(#[source] rustls::Error),
}

impl Reviewed {
    fn acceptor(&self) -> Result<TlsAcceptor, CertificateError> {
        let failed = |path: &PathBuf| {
            let path = path.clone();
            move |source| CertificateError::Read { path, source }
        };
        let certificates =
            CertificateDer::pem_file_iter(&self.certificate).map_err(failed(&self.certificate))?;
        let certificates: Vec<_> =
            certificates.collect::<Result<_, _>>().map_err(failed(&self.certificate))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(failed(&self.key))?;
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(certificates, key).map_err(CertificateError::Use)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Serves until `stop`. `lease_namespace`: where the Lease says who leads, which a replica that does not lead tells.
///
/// # Errors
/// When the certificate cannot be used, the address not be listened on, or the listener breaks.
pub async fn serve(
    reviewed: Reviewed,
    shown: Shown,
    client: Client,
    lease_namespace: String,
    stop: CancellationToken,
) -> Result<(), HttpError> {
    let address = reviewed.address;
    let acceptor = reviewed.acceptor()?;
    let tcp = TcpListener::bind(address).await.map_err(|source| HttpError::Bind { address, source })?;
    let listener = TlsListener { tcp, reviewed, acceptor, handshakes: JoinSet::new() };
    let rights = Rights::new(client.clone());
    let numbers = numbers().with_state(shown.clone());
    let numbers = numbers.layer(middleware::from_fn_with_state(rights.clone(), review));
    let router = numbers.merge(devices::router(DeviceApi::new(shown, rights, client, lease_namespace)));
    let stopped = async move { stop.cancelled().await };
    axum::serve(listener, router).with_graceful_shutdown(stopped).await.map_err(HttpError::Serve)
}

/// Connections once they are encrypted. One that takes its time keeps no other waiting.
struct TlsListener {
    tcp: TcpListener,
    reviewed: Reviewed,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    fn begin(&mut self, stream: TcpStream, peer: SocketAddr) {
        match self.reviewed.acceptor() {
            Ok(acceptor) => self.acceptor = acceptor,
            // The files may be in the middle of being replaced: with those before it is tried.
            Err(error) => tracing::warn!(error = with_causes(&error), "cannot read the certificate again"),
        }
        let made = self.acceptor.accept(stream);
        self.handshakes.spawn(async move {
            let stream = tokio::time::timeout(HANDSHAKE_MAX, made).await.ok()?.ok()?;
            Some((stream, peer))
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let has_room = self.handshakes.len() < HANDSHAKES_MAX;
            tokio::select! {
                Some(made) = self.handshakes.join_next() => {
                    if let Ok(Some(made)) = made {
                        return made;
                    }
                }
                (stream, peer) = Listener::accept(&mut self.tcp), if has_room => self.begin(stream, peer),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Lets a request for numbers through that may be.
async fn review(State(rights): State<Rights>, request: Request, next: Next) -> Response {
    // A body is not for several threads: what is asked about is taken out before it is waited for.
    let (headers, path) = (request.headers().clone(), request.uri().path().to_owned());
    match rights.admit(&headers, &Wanted::Path(path)).await {
        Ok(()) => next.run(request).await,
        Err(Refused { status, message }) => {
            (status, [(header::WWW_AUTHENTICATE, "Bearer")], message + "\n").into_response()
        }
    }
}
