//! The one HTTP request that a device makes: GET, from an offset, with bounded redirects.
//!
//! Written on hyper, which the agent has for its local API anyhow: a full client would add over a megabyte to a binary of
//! seven, and a device needs one request at a time.

mod reach;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

pub use reach::{Network, Reach};

const REDIRECTS_MAX: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a request has no answer. Addresses are shown without query, which may hold a signature.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be used.
    #[error("{url} cannot be downloaded: {reason}")]
    Address {
        /// The address, without query.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No connection.
    #[error("connect to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The name leads to an address that downloads may not reach.
    #[error(
        "{host} has the address {address}, which is not public; to download from there, start the agent with \
         --allow-network {address} (link-local addresses are never used)"
    )]
    Unreachable {
        /// Host and port.
        host: String,
        /// Where it leads.
        address: IpAddr,
    },
    /// The connection broke or the server spoke no HTTP.
    #[error("send the request to {host}")]
    Ask {
        /// Host and port.
        host: String,
        /// Why not.
        #[source]
        source: hyper::Error,
    },
    /// Nothing came in time.
    #[error("{host} did not answer within {} s", after.as_secs())]
    Silent {
        /// Host and port.
        host: String,
        /// How long it had.
        after: Duration,
    },
    /// The server keeps sending elsewhere, or from HTTPS to HTTP.
    #[error("{url} redirects {reason}")]
    Redirect {
        /// The address, without query.
        url: String,
        /// How.
        reason: &'static str,
    },
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Asks for bytes. A connection is used once: a device downloads one file in weeks.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
    reach: Arc<Reach>,
}

impl Client {
    /// A client with these TLS settings that connects to addresses within `reach` only.
    #[must_use]
    pub fn new(tls: Arc<ClientConfig>, reach: Reach) -> Client {
        Client { tls: TlsConnector::from(tls), reach: Arc::new(reach) }
    }

    /// The answer to a GET of everything from `offset` on; redirects are followed.
    ///
    /// # Errors
    /// When there is no connection or no answer in time.
    pub async fn get(&self, url: &Url, offset: u64) -> Result<Response<Incoming>, HttpError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.ask(&url, offset).await?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let redirect = |reason| HttpError::Redirect { url: shown(&url), reason };
            let to = answer.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
            let to = to.ok_or_else(|| redirect("nowhere"))?;
            let next = url.join(to).map_err(|_| redirect("to no address"))?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(redirect("from HTTPS to something weaker"));
            }
            url = next;
        }
        Err(HttpError::Redirect { url: shown(&url), reason: "too often" })
    }

    async fn ask(&self, url: &Url, offset: u64) -> Result<Response<Incoming>, HttpError> {
        let refuse = |reason| HttpError::Address { url: shown(url), reason };
        let host = url.host_str().ok_or_else(|| refuse("no host"))?;
        let port = url.port_or_known_default().ok_or_else(|| refuse("no port"))?;
        let named = format!("{host}:{port}");
        let silent = |after| HttpError::Silent { host: named.clone(), after };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, self.connect(url, host, &named))
            .await
            .map_err(|_| silent(CONNECT_TIMEOUT))??;
        let broken = |source| HttpError::Ask { host: named.clone(), source };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // The connection ends with the answer's body, which its owner drops; errors show there.
        tokio::spawn(connection);
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut request = Request::get(path)
            .header(header::HOST, if url.port().is_some() { named.as_str() } else { host })
            .header(header::USER_AGENT, concat!("modelfleet-agent/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Empty::<Bytes>::new())
            .map_err(|_| refuse("not a request"))?;
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-")).map_err(|_| refuse("range"))?;
            request.headers_mut().insert(header::RANGE, range);
        }
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, sender.send_request(request));
        answer.await.map_err(|_| silent(ANSWER_TIMEOUT))?.map_err(broken)
    }

    /// Where the host is. These very addresses are connected to: a name that leads elsewhere a moment later changes nothing.
    async fn addresses(&self, url: &Url, named: &str) -> Result<Vec<SocketAddr>, HttpError> {
        let port = url.port_or_known_default().unwrap_or_default();
        let unreachable = |source| HttpError::Connect { host: named.to_owned(), source };
        let found: Vec<SocketAddr> = match url.host() {
            Some(Host::Ipv4(address)) => vec![(address, port).into()],
            Some(Host::Ipv6(address)) => vec![(address, port).into()],
            Some(Host::Domain(name)) => {
                tokio::net::lookup_host((name, port)).await.map_err(unreachable)?.collect()
            }
            None => Vec::new(),
        };
        let allowed: Vec<_> = found.iter().copied().filter(|found| self.reach.allows(found.ip())).collect();
        match found.first().filter(|_| allowed.is_empty()) {
            Some(refused) => Err(HttpError::Unreachable { host: named.to_owned(), address: refused.ip() }),
            None => Ok(allowed),
        }
    }

    async fn connect(&self, url: &Url, host: &str, named: &str) -> Result<Box<dyn Stream>, HttpError> {
        let unreachable = |source| HttpError::Connect { host: named.to_owned(), source };
        let addresses = self.addresses(url, named).await?;
        let tcp = TcpStream::connect(&addresses[..]).await.map_err(unreachable)?;
        match url.scheme() {
            "http" => Ok(Box::new(tcp)),
            "https" => {
                let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(bare)
                    .map_err(|_| HttpError::Address { url: shown(url), reason: "host" })?;
                Ok(Box::new(self.tls.connect(name, tcp).await.map_err(unreachable)?))
            }
            _ => Err(HttpError::Address { url: shown(url), reason: "neither http, https nor file" }),
        }
    }
}

/// An address without query, password and fragment.
#[must_use]
pub fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// The offset of a `206 Partial Content`; `None` if it has none.
#[must_use]
pub fn range_start(answer: &Response<Incoming>) -> Option<u64> {
    if answer.status() != StatusCode::PARTIAL_CONTENT {
        return None;
    }
    let range = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}
