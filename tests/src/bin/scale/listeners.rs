//! Thousands of connected devices, as far as the broker can tell: each subscribes to a plan and acknowledges what it is
//! sent. They speak just enough MQTT 3.1.1 (OASIS standard, sections 3.1 to 3.8), so that what is measured is the broker.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use modelfleet_test_support::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_mins(2);
/// Connections that are set up at a time: more fill the broker's backlog.
const AT_ONCE: usize = 64;
/// A topic that nobody else knows, for messages that only the broker has to do with.
const ALONE: &str = "the-broker-alone";

/// Connected clients that listen to a plan.
pub struct Listeners {
    /// Their connections live here.
    runtime: tokio::runtime::Runtime,
    heard: &'static Heard,
    count: u64,
    port: u16,
}

/// What all of them have received.
#[derive(Default)]
struct Heard {
    messages: AtomicU64,
    /// First and last since [`Listeners::start_anew`].
    times: Mutex<Option<(Instant, Instant)>>,
}

impl Heard {
    fn one(&self) {
        let now = Instant::now();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        *times = Some((times.map_or(now, |(first, _)| first), now));
        drop(times);
        self.messages.fetch_add(1, Ordering::Release);
    }
}

impl Listeners {
    /// Connects so many clients, each subscribed to `topic` at QoS 1.
    ///
    /// # Errors
    /// When the broker refuses one.
    pub fn connect(port: u16, topic: &str, count: u64) -> Result<Listeners> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let heard: &'static Heard = Box::leak(Box::default());
        let clients: Vec<u64> = (0..count).collect();
        for group in clients.chunks(AT_ONCE) {
            let tasks: Vec<_> = group
                .iter()
                .map(|client| runtime.spawn(subscribed(port, topic.to_owned(), *client)))
                .collect();
            for task in tasks {
                let stream = runtime.block_on(task)?.context("connect a listener")?;
                runtime.spawn(listen(stream, heard));
            }
        }
        Ok(Listeners { runtime, heard, count, port })
    }

    /// Forgets what was heard.
    pub fn start_anew(&self) {
        *self.heard.times.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.heard.messages.store(0, Ordering::Release);
    }

    /// Waits until each of them has heard a message; the time from the first of them to the last.
    ///
    /// # Errors
    /// When some hear nothing.
    pub fn all_heard(&self) -> Result<Duration> {
        until("every listener", LIMIT, || match self.heard.messages.load(Ordering::Acquire) {
            heard if heard >= self.count => Ok(()),
            heard => Err(format!("{heard} of {} heard it", self.count)),
        })?;
        let times = *self.heard.times.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = times.context("nobody heard anything")?;
        Ok(last - first)
    }

    /// The broker's own time for a message of so many bytes: from the first listener to the last.
    ///
    /// # Errors
    /// When the broker refuses it or some hear nothing.
    pub fn broker_alone(&self, bytes: usize) -> Result<Duration> {
        self.start_anew();
        let port = self.port;
        self.runtime.block_on(async move {
            let mut stream = connected(port, "one-that-speaks").await?;
            let mut body = Vec::new();
            body.extend((ALONE.len() as u16).to_be_bytes());
            body.extend(ALONE.as_bytes());
            body.extend([0, 1]);
            body.resize(body.len() + bytes, b'x');
            stream.write_all(&packet(0x32, &body)).await?;
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await?;
            stream.write_all(&[0xe0, 0]).await
        })?;
        self.all_heard()
    }
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut length = body.len();
    while length >= 128 {
        packet.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    packet.push(length as u8);
    packet.extend(body);
    packet
}

async fn connected(port: u16, client: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    // Protocol name and level 4, clean session, keep-alive off.
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0];
    body.extend((client.len() as u16).to_be_bytes());
    body.extend(client.as_bytes());
    stream.write_all(&packet(0x10, &body)).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    if answer != [0x20, 2, 0, 0] {
        return Err(std::io::Error::other(format!("the broker answers CONNECT with {answer:?}")));
    }
    Ok(stream)
}

async fn subscribed(port: u16, topic: String, client: u64) -> std::io::Result<TcpStream> {
    let mut stream = connected(port, &format!("listener-{client}")).await?;
    let mut body = vec![0, 1];
    for topic in [topic.as_str(), ALONE] {
        body.extend((topic.len() as u16).to_be_bytes());
        body.extend(topic.as_bytes());
        body.push(1);
    }
    stream.write_all(&packet(0x82, &body)).await?;
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await?;
    if answer != [0x90, 4, 0, 1, 1, 1] {
        return Err(std::io::Error::other(format!("the broker answers SUBSCRIBE with {answer:?}")));
    }
    Ok(stream)
}

/// Takes messages until the connection ends, and acknowledges each.
async fn listen(mut stream: TcpStream, heard: &'static Heard) {
    while let Ok(id) = received(&mut stream).await {
        heard.one();
        if stream.write_all(&[0x40, 2, id[0], id[1]]).await.is_err() {
            return;
        }
    }
}

/// The packet identifier of the next message at QoS 1.
async fn received(stream: &mut TcpStream) -> Result<[u8; 2]> {
    let kind = stream.read_u8().await?;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 || shift > 21 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let topic = usize::from(u16::from_be_bytes([*body.first().unwrap_or(&0), *body.get(1).unwrap_or(&0)]));
    match body.get(2 + topic..4 + topic) {
        Some(&[high, low]) if kind & 0xf6 == 0x32 => Ok([high, low]),
        _ => bail!("a packet of kind {kind:#x} is no message at QoS 1"),
    }
}
