//! `/metrics` and `/malformed` over TLS, for those whom the API server lets read them: the token of a request is reviewed
//! (TokenReview), and then whether its user may `get` the path (SubjectAccessReview of a non-resource URL).

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use modelfleet_protocol::causes::with_causes;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{HttpError, Shown, numbers};

/// Requests whose rights are looked up at the same time.
const REVIEWS_MAX: usize = 8;
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

/// Serves until `stop`.
///
/// # Errors
/// When the certificate cannot be used, the address not be listened on, or the listener breaks.
pub async fn serve(
    reviewed: Reviewed,
    shown: Shown,
    client: Client,
    stop: CancellationToken,
) -> Result<(), HttpError> {
    let address = reviewed.address;
    let acceptor = reviewed.acceptor()?;
    let tcp = TcpListener::bind(address).await.map_err(|source| HttpError::Bind { address, source })?;
    let listener = TlsListener { tcp, reviewed, acceptor, handshakes: JoinSet::new() };
    let guard = Guard { client, reviews: Arc::new(Semaphore::new(REVIEWS_MAX)) };
    let router = numbers().with_state(shown).layer(middleware::from_fn_with_state(guard, review));
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

/// Asks the API server who may read.
#[derive(Clone)]
struct Guard {
    client: Client,
    reviews: Arc<Semaphore>,
}

/// Lets a request through that may be.
async fn review(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    // A body is not for several threads: what is asked about is taken out before it is waited for.
    let (told, path) =
        (request.headers().get(header::AUTHORIZATION).cloned(), request.uri().path().to_owned());
    match guard.admit(told.as_ref(), &path).await {
        Ok(()) => next.run(request).await,
        Err(refused) => refused,
    }
}

fn unknown(why: &'static str) -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], why).into_response()
}

impl Guard {
    async fn admit(&self, told: Option<&HeaderValue>, path: &str) -> Result<(), Response> {
        let Some(token) =
            told.and_then(|told| told.to_str().ok()).and_then(|told| told.strip_prefix("Bearer "))
        else {
            return Err(unknown("send the token of a service account as Authorization: Bearer\n"));
        };
        let Ok(_place) = self.reviews.try_acquire() else {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "too many requests at once\n").into_response());
        };
        let failed = |error: kube::Error| {
            tracing::warn!(error = with_causes(&error), "cannot ask the API server who may read the metrics");
            (StatusCode::SERVICE_UNAVAILABLE, "the API server does not say who may read\n").into_response()
        };
        let Some(user) = self.user(token).await.map_err(failed)? else {
            return Err(unknown("the API server does not know this token\n"));
        };
        let name = user.username.clone().unwrap_or_default();
        if self.may_get(user, path).await.map_err(failed)? {
            return Ok(());
        }
        let why =
            format!("{name} may not get {path}; bind it to the ClusterRole modelfleet-metrics-reader\n");
        Err((StatusCode::FORBIDDEN, why).into_response())
    }

    /// Whose token it is.
    async fn user(&self, token: &str) -> Result<Option<UserInfo>, kube::Error> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() };
        let asked = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = reviews.create(&PostParams::default(), &asked).await?.status.unwrap_or_default();
        Ok(status.user.filter(|_| status.authenticated == Some(true)))
    }

    async fn may_get(&self, user: UserInfo, path: &str) -> Result<bool, kube::Error> {
        let UserInfo { extra, groups, uid, username } = user;
        let asked = NonResourceAttributes { path: Some(path.to_owned()), verb: Some("get".to_owned()) };
        let spec = SubjectAccessReviewSpec {
            extra,
            groups,
            uid,
            user: username,
            non_resource_attributes: Some(asked),
            ..SubjectAccessReviewSpec::default()
        };
        let asked = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &asked).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}
