//! A small artifact server that can be told to misbehave, and questions to the local API.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use modelfleet_test_support::http;

/// How the server behaves.
#[derive(Clone, Copy, Default)]
pub struct Manners {
    /// Whether it ignores ranges.
    pub no_range: bool,
    /// The first answers end after so many bytes.
    pub cut: Option<(usize, usize)>,
    /// Answers every question with this status.
    pub status: Option<u16>,
    /// Sends elsewhere so many times.
    pub redirects: usize,
    /// Answers with a web page.
    pub web_page: bool,
}

pub struct Server {
    pub url: String,
    /// Offsets that were asked for.
    pub asked: Arc<Mutex<Vec<u64>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub fn start(files: HashMap<String, Vec<u8>>, manners: Manners) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (cuts, moved) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (files, log, over) = (Arc::new(files), asked.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (files, log, cuts, moved) = (files.clone(), log.clone(), cuts.clone(), moved.clone());
                std::thread::spawn(move || answer(stream, &files, manners, &log, &cuts, &moved));
            }
        });
        Server { url, asked, stop }
    }

    pub fn requests(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, which then lets go of the port.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

fn answer(
    mut stream: TcpStream,
    files: &HashMap<String, Vec<u8>>,
    manners: Manners,
    log: &Mutex<Vec<u64>>,
    cuts: &AtomicUsize,
    moved: &AtomicUsize,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut offset) = (String::new(), 0_u64);
    reader.read_line(&mut line).unwrap_or(0);
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) <= 2 {
            break;
        }
        if let Some(range) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
            offset = range.split('-').next().unwrap().parse().unwrap();
        }
    }
    if line.is_empty() {
        return;
    }
    log.lock().unwrap().push(offset);
    let mut head = |text: String| stream.write_all(text.as_bytes());
    if let Some(status) = manners.status {
        let _ = head(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"));
        return;
    }
    if moved.fetch_add(1, Ordering::Relaxed) < manners.redirects {
        let _ = head(format!("HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\n\r\n"));
        return;
    }
    if manners.web_page {
        let page = "<html>log in</html>";
        let length = page.len();
        let _ = head(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}"
        ));
        return;
    }
    let Some(file) = files.get(&path) else {
        let _ = head("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into());
        return;
    };
    let start = if manners.no_range { 0 } else { usize::try_from(offset).unwrap().min(file.len()) };
    let body = &file[start..];
    let length = body.len();
    let _ = if offset > 0 && !manners.no_range {
        let (last, total) = (file.len() - 1, file.len());
        head(format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{last}/{total}\r\nContent-Length: {length}\r\n\r\n"
        ))
    } else {
        head(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"))
    };
    let send = match manners.cut {
        Some((after, times)) if cuts.fetch_add(1, Ordering::Relaxed) < times => after.min(body.len()),
        _ => body.len(),
    };
    let _ = stream.write_all(&body[..send]);
}

/// One request on one connection; status and JSON body. Status 0: nobody answers.
pub fn request(address: &str, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
    let (status, body) = http::request(address, method, path, body).unwrap_or_default();
    (status, serde_json::from_str(&body).unwrap_or_default())
}
