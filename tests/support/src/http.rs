//! A plain HTTP request to a server on this machine, one for each connection.

use std::io::{Error, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Sends a request; the answer's status and body. Status 0: the server ended the connection without an answer.
///
/// # Errors
/// When nobody listens, or the answer does not come.
pub fn request(
    address: impl ToSocketAddrs,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, String), Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut answer = String::new();
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    // A server that refuses early may close before all is sent; what it has answered counts.
    let _ = sent.and_then(|()| stream.read_to_string(&mut answer).map(drop));
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Ok((status, body.unwrap_or_default()))
}

/// The body that `path` of a server on 127.0.0.1 answers with status 200.
///
/// # Errors
/// What there was instead.
pub fn get(port: u16, path: &str) -> Result<String, String> {
    match request(("127.0.0.1", port), "GET", path, "") {
        Ok((200, body)) => Ok(body),
        Ok((status, body)) => Err(format!("{status}: {body}")),
        Err(error) => Err(error.to_string()),
    }
}
