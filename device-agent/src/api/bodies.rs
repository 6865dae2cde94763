//! What requests bring and answers carry: bounded before it is read, while it is read, and while it is written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use serde::Serialize;

use super::connection_limit::{Busy, ConnectionPermit};
use super::{Refusal, bad};
use crate::tensor::ANSWER_BYTES_MAX;

/// Most bytes of a request.
pub(super) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Longest that a request's body may take to arrive.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// The bytes of a request, if they come as something that is read here, there are not too many, they do not take too long,
/// and there is room for them and for the work that they ask for.
pub(super) async fn body(request: Request) -> Result<Bytes, Refusal> {
    plain(request.headers())?;
    of_a_type_that_is_read(request.headers())?;
    let told = request.headers().get(header::CONTENT_LENGTH);
    let told = told.and_then(|length| length.to_str().ok()).and_then(|length| length.parse::<u64>().ok());
    if told.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let permit = request.extensions().get::<Arc<ConnectionPermit>>().cloned();
    let read = tokio::time::timeout(BODY_TIMEOUT, read(request, permit.as_deref())).await;
    let bytes = read.unwrap_or_else(|_| {
        let seconds = BODY_TIMEOUT.as_secs();
        Err(Refusal(StatusCode::REQUEST_TIMEOUT, format!("the request body took more than {seconds} s")))
    })?;
    if let Some(permit) = permit {
        permit.work().map_err(|Busy| {
            let reason = "as many requests as can be are being answered; ask again in a moment";
            Refusal(StatusCode::SERVICE_UNAVAILABLE, reason.into())
        })?;
    }
    Ok(bytes)
}

/// Whether a body comes as it is. What is packed would have to be bounded once more when it is unpacked.
fn plain(headers: &HeaderMap) -> Result<(), Refusal> {
    let packed = headers.get(header::CONTENT_ENCODING).filter(|packed| *packed != "identity");
    packed.map_or(Ok(()), |packed| {
        let reason = format!("content-encoding {packed:?} is not supported; send the request without it");
        Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason))
    })
}

/// Whether a body says that it is JSON, or bytes (as clients say that send tensors behind the JSON), or does not say. A form of
/// a web page, which a browser sends to any address without asking, says something else.
fn of_a_type_that_is_read(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(told) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = told.to_str().unwrap_or("");
    let essence = text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let is_json = essence == "application/json" || essence.ends_with("+json");
    if is_json || essence == "application/octet-stream" {
        return Ok(());
    }
    let reason = format!(
        "content-type {told:?} is not supported; send the request with content-type: application/json, or application/octet-stream \
         if tensors follow as bytes"
    );
    Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason))
}

async fn read(request: Request, permit: Option<&ConnectionPermit>) -> Result<Bytes, Refusal> {
    let mut body = request.into_body();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| bad(format!("the request body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        if let Some(permit) = permit {
            permit.hold(bytes.len() + data.len()).await.map_err(no_room)?;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

fn too_large() -> Refusal {
    let reason = format!("a request may have at most {BODY_BYTES_MAX} bytes; send fewer rows at once");
    Refusal(StatusCode::PAYLOAD_TOO_LARGE, reason)
}

pub(super) fn no_room(_: Busy) -> Refusal {
    let reason = "other requests and answers take the memory that there is for them; ask again in a moment";
    Refusal(StatusCode::SERVICE_UNAVAILABLE, reason.into())
}

/// An answer as JSON. One that is too large is given up while it is written.
///
/// # Errors
/// When it is too large.
pub(super) fn written(answer: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    let mut written = Bounded { bytes: Vec::new(), most: ANSWER_BYTES_MAX };
    match serde_json::to_writer(&mut written, answer) {
        Ok(()) => Ok(written.bytes),
        Err(_) => {
            let most = ANSWER_BYTES_MAX;
            Err(bad(format!("the answer has more than {most} bytes; send fewer rows at once")))
        }
    }
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > self.most {
            return Err(io::Error::other("more bytes than an answer may have"));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use axum::body::Body;
    use axum::http::HeaderName;
    use hyper::body::Frame;
    use serde_json::{Value, json};

    use super::*;

    /// A body of so many bytes, of which nothing comes after them.
    struct Parts {
        left: usize,
        asked: Arc<AtomicUsize>,
        ends: bool,
    }

    impl hyper::body::Body for Parts {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.left > 0 {
                let some = self.left.min(1000);
                self.left -= some;
                return Poll::Ready(Some(Ok(Frame::data(vec![b'1'; some].into()))));
            }
            if self.ends { Poll::Ready(None) } else { Poll::Pending }
        }
    }

    /// What becomes of such a body: the status, 200 where it was read, and how often it was asked for more.
    async fn status(left: usize, ends: bool, length: Option<usize>) -> (u16, usize) {
        let asked = Arc::new(AtomicUsize::new(0));
        let mut request = Request::new(Body::new(Parts { left, asked: asked.clone(), ends }));
        if let Some(length) = length {
            request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        let status = body(request).await.map_or_else(|refused| refused.0.as_u16(), |_| 200);
        (status, asked.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_bounded_in_bytes_and_time() {
        assert_eq!(status(BODY_BYTES_MAX, true, Some(BODY_BYTES_MAX)).await.0, 200);
        assert_eq!(
            status(BODY_BYTES_MAX, true, Some(BODY_BYTES_MAX + 1)).await,
            (413, 0),
            "not begun to read"
        );
        assert_eq!(status(BODY_BYTES_MAX + 1, true, None).await.0, 413, "though it told no length");
        let start = tokio::time::Instant::now();
        assert_eq!(status(1, false, Some(2)).await.0, 408);
        assert_eq!(start.elapsed(), BODY_TIMEOUT);
    }

    fn refused(
        check: fn(&HeaderMap) -> Result<(), Refusal>,
        name: HeaderName,
        value: Option<&'static str>,
    ) -> Option<(u16, String)> {
        let headers = value.map(|value| (name, value.parse().unwrap())).into_iter().collect();
        check(&headers).err().map(|Refusal(status, reason)| (status.as_u16(), reason))
    }

    #[test]
    fn a_packed_request_is_told_to_come_as_it_is() {
        let refused = |encoding| refused(plain, header::CONTENT_ENCODING, encoding);
        assert_eq!((refused(None), refused(Some("identity"))), (None, None));
        let (status, reason) = refused(Some("gzip")).unwrap();
        assert!(status == 415 && reason.contains("gzip") && reason.contains("without"), "{status} {reason}");
    }

    #[test]
    fn what_no_client_of_the_protocol_sends_is_told_which_type_is_read() {
        let refused = |told| refused(of_a_type_that_is_read, header::CONTENT_TYPE, told);
        for told in [
            None,
            Some("application/json"),
            Some("Application/JSON; charset=utf-8"),
            Some("application/vnd.example+json"),
            Some("application/octet-stream"),
        ] {
            assert_eq!(refused(told), None, "{told:?}");
        }
        for told in
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", ""]
        {
            let (status, reason) = refused(Some(told)).unwrap();
            assert!(status == 415 && reason.contains("content-type: application/json"), "{told:?}: {reason}");
        }
    }

    #[test]
    fn an_answer_that_is_too_large_is_given_up_while_it_is_written() {
        assert!(written(&json!({"a": 1})).is_ok());
        let row = Value::from(vec![1; 1000]);
        let large = Value::from(vec![row; ANSWER_BYTES_MAX / 1000]);
        assert_eq!(written(&large).err().map(|refused| refused.0.as_u16()), Some(400));
    }
}
