use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use modelfleet_history::row::{Key, RAW, Value};
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::latency::LatencyHistogram;
use modelfleet_protocol::metric::Metric;

use super::*;

fn row() -> Row {
    let key = Key {
        namespace: "plant".into(),
        model: "m".into(),
        start_ms: 1_796_000_000_000,
        window_ms: 60_000,
        resolution: RAW.into(),
        version: "1.0.0".into(),
        arm: "canary".into(),
        stratum: String::new(),
    };
    Row {
        key,
        windows: 1,
        devices: 2,
        device_windows: 2,
        revision: 1,
        counters: Counters::default(),
        latency: LatencyHistogram::default(),
        values: BTreeMap::from([(Metric::ErrorRate, Value::new(7, 100))]),
    }
}

/// A receiver that answers each request in turn, and hands on the headers of what it got.
fn receiver(answers: &'static [&'static str]) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/write", listener.local_addr().unwrap());
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let (mut head, mut reader) = (String::new(), BufReader::new(stream));
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            head.make_ascii_lowercase();
            let length =
                head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().trim().to_owned();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            assert!(snap::raw::Decoder::new().decompress_vec(&body).unwrap().len() > 100);
            let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 3\r\n\r\nwhy");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            told.send(head).unwrap();
        }
    });
    (url, heard)
}

async fn sent(
    version: Version,
    answer: &'static [&'static str],
) -> (Result<usize, RemoteWriteError>, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (url, heard) = receiver(answer);
    let result = RemoteWrite::new(&url, None).unwrap().send(&[row()], version).await;
    (result, heard.recv().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_of_version_2_says_so() {
    let written = "204 No Content\r\nX-Prometheus-Remote-Write-Samples-Written: 3";
    let (result, head) = sent(Version::Two, Box::leak(Box::new([written]))).await;
    assert_eq!(result.unwrap(), 3, "devices, requests and errors");
    for header in [
        "content-type: application/x-protobuf;proto=io.prometheus.write.v2.request",
        "content-encoding: snappy",
        "x-prometheus-remote-write-version: 2.0.0",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    for other in ["204 No Content", "415 Unsupported Media Type", "400 Bad Request"] {
        let (result, _) = sent(Version::Two, Box::leak(Box::new([other]))).await;
        assert!(matches!(result, Err(RemoteWriteError::NotTwo)), "{other}: {result:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_refuses_for_good_is_told_from_what_it_takes_later() {
    let (result, head) = sent(Version::One, &["204 No Content"]).await;
    assert_eq!(result.unwrap(), 3);
    assert!(head.contains("x-prometheus-remote-write-version: 0.1.0"), "{head}");
    for later in ["503 Service Unavailable", "429 Too Many Requests", "401 Unauthorized", "404 Not Found"] {
        let (result, _) = sent(Version::One, Box::leak(Box::new([later]))).await;
        assert!(matches!(result, Err(RemoteWriteError::Later(_))), "{later}: {result:?}");
    }
    let (result, _) = sent(Version::One, &["400 Bad Request"]).await;
    let told = result.unwrap_err().to_string();
    assert_eq!(told, "the receiver of remote write refuses samples with 400 Bad Request: why");
}
