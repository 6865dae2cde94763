//! The connections of the local API: few, and none for ever.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::access::{self, AccessRules};
use super::bodies::no_room;
use super::connection_limit::{At, ConnectionLimit, ConnectionPermit};
use super::tracked_stream::TrackedStream;

/// Requests that are under way at the stop get this time.
const DRAIN: Duration = Duration::from_secs(3);
/// Bytes that are read ahead of a connection at most; a head must fit in.
const READ_BYTES_MAX: usize = 64 * 1024;

/// What connections are served with.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) router: Router,
    pub(super) access: Arc<AccessRules>,
}

/// Serves connections until `stop`, and those that are open then a little longer.
pub(super) async fn serve<L: Listener>(mut listener: L, service: Service, stop: CancellationToken) {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let connections = Arc::new(ConnectionLimit::within(files));
    let mut open = JoinSet::new();
    loop {
        let next = async {
            let stream = listener.accept().await.0;
            (stream, connections.take().await)
        };
        let (stream, permit) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        open.spawn(connection(stream, permit, service.clone(), stop.clone()));
        while open.try_join_next().is_some() {}
    }
    drop(listener);
    let all = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        debug!("some connections were still open at the end");
    }
}

async fn connection<S>(stream: S, permit: Arc<ConnectionPermit>, service: Service, stop: CancellationToken)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let answering = service_fn(|request| answer(request, permit.clone(), service.clone()));
    let mut http = http1::Builder::new();
    // A client that has said everything may close its half and still wait for the answer.
    http.max_buf_size(READ_BYTES_MAX).half_close(true);
    let served =
        http.serve_connection(TokioIo::new(TrackedStream { stream, permit: permit.clone() }), answering);
    let mut served = pin!(served);
    let mut stopped = false;
    let outcome = loop {
        tokio::select! {
            // In this order: what the connection is at changes while it is served.
            biased;
            outcome = &mut served => break outcome,
            () = overdue(&permit) => return debug!("closed a connection of the local API that took too long"),
            () = permit.told_to_close() => return debug!("closed a connection of the local API to make room for a new one"),
            () = stop.cancelled(), if !stopped => {
                stopped = true;
                served.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = outcome {
        debug!(error = %crate::log::chain(&error), "connection of the local API failed");
    }
}

/// Waits until what the connection is at has taken too long. That is looked up whenever the connection has moved.
async fn overdue(permit: &ConnectionPermit) {
    let mut sleep = pin!(tokio::time::sleep_until(Instant::now()));
    std::future::poll_fn(|cx| {
        let Some(deadline) = permit.deadline() else { return Poll::Pending };
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    })
    .await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    permit: Arc<ConnectionPermit>,
    service: Service,
) -> Result<Response, Infallible> {
    permit.enter(At::Body);
    let (asked, body) = request.into_parts();
    let (mut answer, reader) = match service.access.admit(&asked) {
        Err(refused) => (refused.into_response(), None),
        Ok(reader) if reader.is_some() && access::is_preflight(&asked) => (access::preflight(), reader),
        Ok(reader) => {
            let mut request = Request::from_parts(asked, Body::new(body));
            request.extensions_mut().insert(permit.clone());
            let Ok(answer) = TowerToHyperService::new(service.router).call(request).await;
            (answer, reader)
        }
    };
    let bytes = usize::try_from(answer.body().size_hint().lower()).unwrap_or(usize::MAX);
    if let Err(busy) = permit.hold(bytes).await {
        answer = no_room(busy).into_response();
    }
    if let Some(origin) = reader {
        access::let_read(answer.headers_mut(), origin);
    }
    permit.enter(At::Answer);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::*;
    use crate::api::bodies::body;

    const CROWD: usize = 200;
    const SOON: Duration = Duration::from_secs(1);
    /// More than the system keeps of a connection that is not read from.
    const LARGE_BYTES: usize = 8 * 1024 * 1024;

    fn service() -> Service {
        let router = Router::new()
            .route("/", get(|| async { "answered" }))
            .route("/large", get(|| async { vec![b'x'; LARGE_BYTES] }))
            .route("/echo", post(|request: Request| async { body(request).await }))
            .route("/work", post(work));
        Service { router, access: Arc::default() }
    }

    async fn work(request: Request) -> Result<(), crate::api::Refusal> {
        body(request).await?;
        std::future::pending().await
    }

    /// Says `text` and reads until the connection is closed; what came, and after how long.
    async fn ask(text: &str, stop: CancellationToken) -> (String, Duration) {
        let (mut client, server) = duplex(4096);
        let start = Instant::now();
        let permit = Arc::new(ConnectionLimit::within(None)).take().await;
        let served = tokio::spawn(connection(server, permit, service(), stop));
        client.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // What is not read here stays where it is.
        if text.contains("/large") {
            served.await.unwrap();
            return (answer, start.elapsed());
        }
        client.read_to_string(&mut answer).await.unwrap();
        served.await.unwrap();
        (answer, start.elapsed())
    }

    // Time stands still in these tests, and jumps to the next moment that somebody waits for.

    #[tokio::test(start_paused = true)]
    async fn nothing_is_waited_for_long() {
        let limits = [
            ("", 10, ""),
            ("GET / HTTP/1.1\r\nHost:", 3, ""),
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 10, "answered"),
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\n", 10, "answered"),
            ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1", 5, "408"),
            ("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n", 5, ""),
        ];
        for (text, seconds, part) in limits {
            let (answer, took) = ask(text, CancellationToken::new()).await;
            assert!(answer.contains(part) && part.is_empty() == answer.is_empty(), "{text:?}: {answer}");
            assert_eq!(took.as_secs(), seconds, "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn old_and_hasty_clients_are_answered() {
        let (answer, took) = ask("GET / HTTP/1.0\r\n\r\n", CancellationToken::new()).await;
        assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("answered"), "{answer}");
        assert_eq!(took, Duration::ZERO, "and the connection is closed");
        let (answer, _) = ask("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", CancellationToken::new()).await;
        assert!(answer.contains("200") && !answer.contains("answered"), "{answer}");
        let three = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3);
        let (answer, _) = ask(&three, CancellationToken::new()).await;
        assert_eq!(answer.matches("answered").count(), 3, "one after the other: {answer}");
        let foreign = "POST /echo HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1\r\n\r\n1";
        assert!(ask(foreign, CancellationToken::new()).await.0.contains("403"));
    }

    async fn listen(stop: &CancellationToken) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (address, tokio::spawn(serve(listener, service(), stop.clone())))
    }

    /// What the agent says to this on a connection of its own, and within which time.
    async fn say(address: std::net::SocketAddr, text: &str) -> (String, Duration) {
        let (start, mut answer) = (Instant::now(), Vec::new());
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut some = [0; 1024];
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut some).await.unwrap() {
                0 => break,
                read => answer.extend_from_slice(&some[..read]),
            }
        }
        (String::from_utf8_lossy(&answer).into_owned(), start.elapsed())
    }

    async fn check_crowd(opening: &str) {
        let stop = CancellationToken::new();
        let (address, served) = listen(&stop).await;
        let mut crowd = Vec::new();
        for _ in 0..CROWD {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            // One that was sent away hears of it now.
            let _ = stream.write_all(opening.as_bytes()).await;
            crowd.push(stream);
        }
        for request in [
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1",
            "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ] {
            let (answer, took) = say(address, request).await;
            assert!(answer.contains("200 OK") && took < SOON, "{opening:?}: {answer} after {took:?}");
        }
        served.abort();
    }

    #[tokio::test]
    async fn a_crowd_that_keeps_the_agent_waiting_keeps_nobody_else_waiting() {
        let lines = "Host: localhost\r\nContent-Length: 1000000\r\n\r\n";
        check_crowd("").await;
        check_crowd("GET / HTTP/1.1\r\nHo").await;
        check_crowd(&format!("POST /echo HTTP/1.1\r\n{lines}1")).await;
        check_crowd(&format!("POST /echo HTTP/1.1\r\n{lines}{}", "1".repeat(900_000))).await;
        check_crowd("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    }

    #[tokio::test]
    async fn with_all_hands_at_work_health_is_told_and_more_work_refused() {
        let stop = CancellationToken::new();
        let (address, served) = listen(&stop).await;
        let request = "POST /work HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1";
        let mut crowd = Vec::new();
        for _ in 0..CROWD {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            crowd.push(stream);
        }
        let (answer, took) = say(address, request).await;
        assert!(answer.contains("503") && took < SOON, "{answer} after {took:?}");
        let (answer, took) = say(address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.contains("200 OK") && took < SOON, "{answer} after {took:?}");
        let start = Instant::now();
        stop.cancel();
        served.await.unwrap();
        assert!(start.elapsed() < DRAIN + SOON);
    }
}
