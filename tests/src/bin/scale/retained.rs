//! Fills a broker with what a large fleet has left there: presence, state and report of every device, retained.
//!
//! One connection that speaks just enough MQTT 3.1.1 (OASIS standard, sections 3.1 and 3.3) to publish at QoS 0: a client
//! library waits for each of millions of messages in turn.

use std::io::{BufWriter, Read as _, Write as _};
use std::net::TcpStream;

use modelfleet_protocol::generated::{Report, Tally, Window};
use modelfleet_protocol::ids::{DeviceId, Digest, Namespace};
use modelfleet_protocol::topic::device_root;
use prost::Message as _;
use serde_json::json;

/// Windows that each device's report holds.
const WINDOWS: u64 = 24;
/// Length of a window, milliseconds.
const WINDOW_MS: u64 = 3_600_000;
/// Objectives that a window is cut by.
const OBJECTIVES: usize = 4;

/// What every device of the fleet says.
pub struct Fleet<'a> {
    /// Its namespace.
    pub namespace: &'a Namespace,
    /// The model that all run.
    pub model: &'a str,
    /// Its version and digest.
    pub running: (&'a str, Digest),
    /// How many devices there are; every second one is offline.
    pub devices: u64,
    /// Now, milliseconds.
    pub now_ms: u64,
}

/// Publishes everything that a fleet retains; the number of bytes.
///
/// # Errors
/// When the broker refuses.
pub fn fill(port: u16, fleet: &Fleet<'_>) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    // CONNECT: protocol name and level 4, clean session, keep-alive off, client id.
    stream.write_all(&[0x10, 16, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 4, b'f', b'i', b'l', b'l'])?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    if answer != [0x20, 2, 0, 0] {
        return Err(std::io::Error::other(format!("the broker answers CONNECT with {answer:?}")));
    }
    let mut out = BufWriter::with_capacity(1 << 20, stream);
    let mut bytes = 0;
    for number in 0..fleet.devices {
        let id: DeviceId = format!("pump-{number:07}").parse().map_err(std::io::Error::other)?;
        let root = device_root(fleet.namespace, &id);
        let presence = json!({"online": number % 2 == 0, "since": fleet.now_ms, "connection": 1}).to_string();
        for (channel, payload) in [
            ("presence".to_owned(), presence.into_bytes()),
            ("state".to_owned(), state(fleet, &id)),
            (format!("report/{}", fleet.model), report(fleet, &id)),
        ] {
            bytes += publish(&mut out, &format!("{root}/{channel}"), &payload)?;
        }
    }
    // PINGREQ: its answer tells that everything before it was read.
    out.write_all(&[0xc0, 0])?;
    let mut stream = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    stream.read_exact(&mut answer[..2])?;
    stream.write_all(&[0xe0, 0])?;
    Ok(bytes)
}

fn publish(out: &mut impl std::io::Write, topic: &str, payload: &[u8]) -> std::io::Result<u64> {
    let mut length = 2 + topic.len() + payload.len();
    let mut head = vec![0x31];
    while length >= 128 {
        head.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    head.push(length as u8);
    head.extend((topic.len() as u16).to_be_bytes());
    out.write_all(&head)?;
    out.write_all(topic.as_bytes())?;
    out.write_all(payload)?;
    Ok(payload.len() as u64)
}

fn state(fleet: &Fleet<'_>, id: &DeviceId) -> Vec<u8> {
    let (version, digest) = &fleet.running;
    let kind = usize::from(id.as_str().as_bytes()[id.as_str().len() - 1] % 4);
    let (age, load) = (["new", "mid", "old", "worn"][kind], ["low", "high"][kind % 2]);
    let opsets = json!({"ai.onnx": 21, "ai.onnx.ml": 4});
    json!({
        "device": id, "sequence": 1, "at": fleet.now_ms, "agent": "0.1.0",
        "labels": {"age": age, "load": load, "site": "north"},
        "capabilities": {
            "engines": [{"name": "OnnxRuntime", "version": "1.31", "opsets": opsets}],
            "memoryBytes": 100_000_000, "arch": "aarch64",
        },
        "models": [{
            "model": fleet.model,
            "running": {"digest": digest, "version": version, "activated": 1_000, "confirmed": true},
        }],
    })
    .to_string()
    .into_bytes()
}

fn report(fleet: &Fleet<'_>, id: &DeviceId) -> Vec<u8> {
    let tally = Tally { known: vec![1; OBJECTIVES], bad: vec![0; OBJECTIVES] };
    let last = fleet.now_ms / WINDOW_MS;
    let window = |index| Window { index, span: 1, tally: Some(tally.clone()), ..Window::default() };
    let report = Report {
        device: id.to_string(),
        namespace: fleet.namespace.as_str().to_owned(),
        model: fleet.model.to_owned(),
        digest: fleet.running.1.0.to_vec(),
        sequence: 1,
        sent_at_ms: fleet.now_ms,
        window_ms: WINDOW_MS,
        observe_id: 1,
        windows: (last - WINDOWS..last).map(window).collect(),
        ..Report::default()
    };
    report.encode_to_vec()
}
