//! Uploads to a server that keeps what is PUT, as a WebDAV server does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

const SECRET: &str = "Bearer geheim";

/// Answers HEAD and PUT, one request for each connection.
fn serve() -> (String, Files) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/models", listener.local_addr().unwrap());
    let files = Files::default();
    let kept = Arc::clone(&files);
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &kept)));
    (url, files)
}

fn answer(stream: TcpStream, files: &Files) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let header = |name: &str| {
        let found = head
            .iter()
            .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let request: Vec<&str> = head.first().map(|line| line.split(' ').collect()).unwrap_or_default();
    let [method, path, _] = request[..] else { return };
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let mut files = files.lock().unwrap();
    let present = files.get(path).map(Vec::len);
    let (status, length) = match (method, present) {
        _ if header("authorization") != SECRET => ("401 Unauthorized", 0),
        ("PUT", _) => {
            files.insert(path.to_owned(), body);
            ("201 Created", 0)
        }
        ("HEAD", Some(length)) => ("200 OK", length),
        _ => ("404 Not Found", 0),
    };
    let date = "Sat, 01 Aug 2026 12:00:00 GMT";
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nLast-Modified: {date}\r\nConnection: close\r\n\r\n"
    );
    reader.get_mut().write_all(text.as_bytes()).unwrap();
}

fn upload(store: &str, secret: &str) -> (bool, String, String) {
    let model =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/pumps/models/pump-anomaly-1.0.0.onnx");
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-modelfleet"))
        .args(["register", model.to_str().unwrap(), "--name", "pump-anomaly", "--version", "1.0.0"])
        .args(["--store", store, "--upload-only"])
        .env("MODELFLEET_STORE_AUTHORIZATION", secret)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_model_is_put_once_and_its_address_is_in_the_object() {
    let (url, files) = serve();
    let (good, yaml, notes) = upload(&url, SECRET);
    assert!(good && notes.contains("uploaded"), "{notes}");
    let kept = files.lock().unwrap().clone();
    let (path, bytes) = kept.first_key_value().unwrap();
    assert!(yaml.contains(&format!("uri: {}{path}", url.trim_end_matches("/models"))), "{yaml}");
    assert!(path.starts_with("/models/pump-anomaly/1.0.0/") && bytes.len() == 36_316);
    let (good, _, notes) = upload(&url, SECRET);
    assert!(good && notes.contains("was already there"), "{notes}");
}

#[test]
fn a_refusal_says_where_and_never_the_secret() {
    let (url, files) = serve();
    let (good, _, error) = upload(&url, "Bearer wrong-geheim");
    assert!(
        !good && error.contains(&url) && error.contains("401") && !error.contains("wrong-geheim"),
        "{error}"
    );
    assert!(files.lock().unwrap().is_empty());
    let (good, _, error) = upload("http://127.0.0.1:9", SECRET);
    assert!(!good && error.contains("http://127.0.0.1:9/"), "{error}");
}
