//! The connections of the local API: few, and none for ever.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Connections at once; others wait to be accepted.
const OPEN_MAX: usize = 64;
/// Longest that a request's head may take to arrive, and that a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that are under way at the stop get this time.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves connections until `stop`, and those that are open then a little longer.
pub(super) async fn serve<L: Listener>(mut listener: L, router: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(OPEN_MAX));
    let mut open = JoinSet::new();
    loop {
        let next = async {
            let place = room.clone().acquire_owned().await;
            (listener.accept().await.0, place)
        };
        let (stream, place) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        let (router, stop) = (router.clone(), stop.clone());
        open.spawn(async move {
            let _place = place;
            connection(stream, router, stop).await;
        });
        while open.try_join_next().is_some() {}
    }
    drop(listener);
    let all = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        debug!("connections were open at the end");
    }
}

async fn connection<S>(stream: S, router: Router, stop: CancellationToken)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = pin!(served);
    let outcome = tokio::select! {
        outcome = &mut served => outcome,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        debug!(error = %crate::mqtt::chain(&error), "connection of the local API");
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    fn router() -> Router {
        Router::new().route("/", get(|| async { "answered" }))
    }

    /// Says `text` and reads until the connection is closed; what came, and after how long.
    async fn ask(text: &str, stop: CancellationToken) -> (String, Duration) {
        let (mut client, server) = duplex(4096);
        let start = Instant::now();
        let served = tokio::spawn(connection(server, router(), stop));
        client.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        served.await.unwrap();
        (answer, start.elapsed())
    }

    // Time stands still in these tests, and jumps to the next moment that somebody waits for.

    #[tokio::test(start_paused = true)]
    async fn a_head_that_never_ends_is_not_waited_for() {
        let (_, took) = ask("GET / HTTP/1.1\r\nHost:", CancellationToken::new()).await;
        assert_eq!(took, HEAD_TIMEOUT);
        let (answer, took) = ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n", CancellationToken::new()).await;
        assert!(answer.ends_with("answered"), "{answer}");
        assert_eq!(took, HEAD_TIMEOUT, "idle");
    }

    /// Clients that connect and say nothing, as many as are let in.
    struct Crowd {
        clients: Vec<DuplexStream>,
        accepted: Arc<AtomicUsize>,
    }

    impl Listener for Crowd {
        type Io = DuplexStream;
        type Addr = ();

        async fn accept(&mut self) -> (DuplexStream, ()) {
            let (client, server) = duplex(64);
            self.clients.push(client);
            self.accepted.fetch_add(1, Ordering::Relaxed);
            (server, ())
        }

        fn local_addr(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_few_and_end_with_the_agent() {
        let (accepted, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let crowd = Crowd { clients: Vec::new(), accepted: accepted.clone() };
        let served = tokio::spawn(serve(crowd, router(), stop.clone()));
        let start = Instant::now();
        tokio::time::sleep(HEAD_TIMEOUT / 2).await;
        assert_eq!(accepted.load(Ordering::Relaxed), OPEN_MAX);
        tokio::time::sleep(HEAD_TIMEOUT).await;
        assert_eq!(accepted.load(Ordering::Relaxed), 2 * OPEN_MAX, "silent ones make room");
        stop.cancel();
        served.await.unwrap();
        assert!(start.elapsed() <= HEAD_TIMEOUT * 2 + DRAIN);
    }
}
