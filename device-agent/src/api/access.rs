//! Who may call the local API: programs of this machine, but not web pages that a browser of this machine shows. A page
//! gives its origin in `Origin`; `Host` reveals a foreign name that resolves to this machine (DNS rebinding).

use std::net::IpAddr;

use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::http::uri::{Authority, Uri};
use axum::http::{Method, StatusCode, Version};
use axum::response::{IntoResponse as _, Response};

use super::{Refusal, bad};
use crate::config::Listen;

/// What a page of another origin may send.
const METHODS: &str = "GET, POST";
/// The headers of it.
const HEADERS: &str = "content-type";
/// How long a browser remembers that, seconds.
const REMEMBERED_S: &str = "600";

/// The names under which the API may be asked, and the pages that may ask it.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    /// Host names besides those of the machine itself, without port.
    pub hosts: Vec<String>,
    /// Origins of web pages, such as `http://dashboard.local:3000`.
    pub origins: Vec<String>,
    /// On a Unix socket no client is checked: no browser gets there, and `Host` means nothing.
    any: bool,
}

impl AccessRules {
    /// Those that may ask at `listen`: this machine's, and what the settings name.
    #[must_use]
    pub fn at(listen: &Listen, hosts: &[String], origins: &[String]) -> AccessRules {
        let any = matches!(listen, Listen::Unix(_));
        AccessRules { hosts: hosts.to_vec(), origins: origins.to_vec(), any }
    }

    /// Whether a request is taken; the page of another origin that may read the answer.
    pub(super) fn admit(&self, asked: &Parts) -> Result<Option<HeaderValue>, Refusal> {
        if self.any {
            return Ok(None);
        }
        let host = host(asked)?;
        if let Some(host) = host.as_ref().filter(|host| !self.knows(host.host())) {
            let name = host.host();
            return Err(foreign(format!(
                "requests for host {name:?} are not allowed; use 127.0.0.1 or localhost, or start the agent with \
                 --allow-host {name}"
            )));
        }
        let Some(origin) = asked.headers.get(header::ORIGIN) else { return Ok(None) };
        let text = origin.to_str().unwrap_or("");
        if host.is_some_and(|host| is_own(text, &host)) {
            return Ok(None);
        }
        if self.origins.iter().any(|known| known.eq_ignore_ascii_case(text)) {
            return Ok(Some(origin.clone()));
        }
        Err(foreign(format!(
            "web pages of {text:?} may not call this API; to allow it, start the agent with --allow-origin {text}"
        )))
    }

    fn knows(&self, name: &str) -> bool {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        bare.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(bare))
    }
}

fn foreign(reason: String) -> Refusal {
    Refusal(StatusCode::FORBIDDEN, reason)
}

/// The host that is asked for. Clients of HTTP/1.0 need not say it.
fn host(asked: &Parts) -> Result<Option<Authority>, Refusal> {
    if let Some(authority) = asked.uri.authority() {
        return Ok(Some(authority.clone()));
    }
    let mut said = asked.headers.get_all(header::HOST).iter();
    match (said.next(), said.next()) {
        (None, _) if asked.version == Version::HTTP_10 => Ok(None),
        (Some(host), None) => {
            let host = Authority::try_from(host.as_bytes()).ok().filter(|host| !host.as_str().contains('@'));
            host.map(Some).ok_or_else(|| bad("the Host header names no host".into()))
        }
        _ => Err(bad("a request of HTTP/1.1 has one Host header".into())),
    }
}

/// Whether a page came from this very API.
fn is_own(origin: &str, host: &Authority) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(80);
    origin.scheme_str() == Some("http")
        && origin
            .authority()
            .is_some_and(|from| from.host().eq_ignore_ascii_case(host.host()) && port(from) == port(host))
}

/// Whether a browser asks what a page may send.
pub(super) fn is_preflight(asked: &Parts) -> bool {
    asked.method == Method::OPTIONS && asked.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that.
pub(super) fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED_S),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Lets the page of another origin read the answer.
pub(super) fn let_read(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn asked(uri: &str, version: Version, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn status(access: &AccessRules, headers: &[(&str, &str)]) -> u16 {
        let asked = asked("/v2", Version::HTTP_11, headers);
        access.admit(&asked).map_or_else(|refused| refused.0.as_u16(), |_| 200)
    }

    fn access() -> AccessRules {
        let listen = "127.0.0.1:0".parse().unwrap();
        AccessRules::at(&listen, &["edge.local".into()], &["http://dashboard.local:3000".into()])
    }

    #[test]
    fn the_machine_itself_may_ask_under_any_of_its_names() {
        for host in ["127.0.0.1:8080", "localhost", "LocalHost:1", "[::1]:8080", "127.8.9.1", "edge.local:80"]
        {
            assert_eq!(status(&access(), &[("host", host)]), 200, "{host}");
        }
        for host in
            ["evil.example", "evil.example:8080", "10.0.0.1", "0.0.0.0", "localhost.evil.example", "[::2]"]
        {
            assert_eq!(status(&access(), &[("host", host)]), 403, "{host}");
        }
        for hosts in
            [&[][..], &[("host", "")], &[("host", "a@localhost")], &[("host", "localhost"), ("host", "evil")]]
        {
            assert_eq!(status(&access(), hosts), 400, "{hosts:?}");
        }
        let old = asked("/v2", Version::HTTP_10, &[]);
        assert!(access().admit(&old).is_ok(), "HTTP/1.0 has no Host");
        let absolute = asked("http://evil.example/v2", Version::HTTP_11, &[("host", "localhost")]);
        assert!(access().admit(&absolute).is_err());
    }

    #[test]
    fn pages_of_elsewhere_may_not_ask_unless_they_are_named() {
        let from = |host, origin| status(&access(), &[("host", host), ("origin", origin)]);
        assert_eq!(from("127.0.0.1:8080", "http://127.0.0.1:8080"), 200);
        assert_eq!(from("localhost", "http://localhost"), 200);
        assert_eq!(from("127.0.0.1:8080", "http://dashboard.local:3000"), 200);
        for origin in ["https://evil.example", "http://127.0.0.1:3000", "https://127.0.0.1:8080", "null", ""]
        {
            assert_eq!(from("127.0.0.1:8080", origin), 403, "{origin}");
        }
        let named = asked(
            "/v2",
            Version::HTTP_11,
            &[("host", "localhost"), ("origin", "http://dashboard.local:3000")],
        );
        assert_eq!(access().admit(&named).ok().flatten().unwrap(), "http://dashboard.local:3000");
    }

    #[test]
    fn a_unix_socket_is_asked_as_anything() {
        let listen = "unix:/run/agent.sock".parse().unwrap();
        assert_eq!(status(&AccessRules::at(&listen, &[], &[]), &[("host", "whatever")]), 200);
    }
}
