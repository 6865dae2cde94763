//! Frames between the agent and a worker: a length of eight bytes, little-endian, and as many bytes. Requests and replies
//! take turns, so a connection never holds more than one frame.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Bytes of the length.
const HEADER: usize = 8;
/// What is kept for the next frame; larger buffers are given back.
const KEPT_BYTES: usize = 64 * 1024;

/// Why a frame did not go through.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The other side has closed the connection, as a process does that ends.
    #[error("the connection was closed")]
    Closed,
    /// Nothing came, or nothing was taken, in time.
    #[error("no answer within {} ms", after.as_millis())]
    Late {
        /// How long it had.
        after: Duration,
    },
    /// More bytes than allowed, or than were asked for.
    #[error("a frame of {bytes} bytes, at most {most} are allowed")]
    Large {
        /// How many came, or were announced.
        bytes: usize,
        /// How many are allowed.
        most: usize,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
}

/// One end of a connection.
pub(super) struct Frames {
    stream: UnixStream,
    time_limit: Option<Duration>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl Frames {
    pub(super) fn over(stream: UnixStream) -> Frames {
        Frames { stream, time_limit: None, outgoing: Vec::new(), incoming: Vec::new() }
    }

    /// How long the other side may take from here on for a frame in either direction; `None`: any time.
    pub(super) fn set_time_limit(&mut self, time_limit: Option<Duration>) -> Result<(), FrameError> {
        if time_limit != self.time_limit {
            // Zero would be refused.
            let least = time_limit.map(|limit| limit.max(Duration::from_millis(1)));
            self.stream.set_read_timeout(least).map_err(FrameError::Broken)?;
            self.stream.set_write_timeout(least).map_err(FrameError::Broken)?;
            self.time_limit = time_limit;
        }
        Ok(())
    }

    /// Sends what `write` adds to a buffer, and `more` behind it.
    pub(super) fn send(&mut self, write: impl FnOnce(&mut Vec<u8>), more: &[u8]) -> Result<(), FrameError> {
        self.outgoing.clear();
        self.outgoing.shrink_to(KEPT_BYTES);
        self.outgoing.extend_from_slice(&[0; HEADER]);
        write(&mut self.outgoing);
        let length = (self.outgoing.len() - HEADER).saturating_add(more.len());
        self.outgoing[..HEADER].copy_from_slice(&(length as u64).to_le_bytes());
        let sent = self.stream.write_all(&self.outgoing).and_then(|()| self.stream.write_all(more));
        sent.map_err(|error| self.failed(error))
    }

    /// The next frame, of at most `most` bytes.
    pub(super) fn receive(&mut self, most: usize) -> Result<&[u8], FrameError> {
        self.incoming.truncate(KEPT_BYTES);
        self.incoming.shrink_to(KEPT_BYTES);
        self.incoming.resize(KEPT_BYTES, 0);
        let until = self.time_limit.map(|limit| Instant::now() + limit);
        let (mut have, mut need) = (0, HEADER);
        while have < need {
            if need > self.incoming.len() {
                self.incoming.resize(need, 0);
            }
            match self.stream.read(&mut self.incoming[have..]) {
                Ok(0) => return Err(FrameError::Closed),
                Ok(read) => have += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
            if let (HEADER, Some(length)) = (need, self.incoming[..have].first_chunk::<HEADER>()) {
                let bytes = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
                if bytes > most {
                    return Err(FrameError::Large { bytes, most });
                }
                need = HEADER + bytes;
            }
            // One that sends a byte now and then is late as well.
            if let (Some(until), Some(after)) = (until, self.time_limit)
                && have < need
                && Instant::now() > until
            {
                return Err(FrameError::Late { after });
            }
        }
        if have > need {
            return Err(FrameError::Large { bytes: have - HEADER, most: need - HEADER });
        }
        Ok(&self.incoming[HEADER..need])
    }

    fn failed(&self, error: io::Error) -> FrameError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                FrameError::Late { after: self.time_limit.unwrap_or_default() }
            }
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => FrameError::Closed,
            _ => FrameError::Broken(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Frames, Frames) {
        let (a, b) = UnixStream::pair().unwrap();
        (Frames::over(a), Frames::over(b))
    }

    #[test]
    fn frames_of_any_size_come_whole_and_in_turn() {
        let (mut agent, mut worker) = pair();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..3 {
                    let echo = worker.receive(usize::MAX - HEADER).unwrap().to_vec();
                    worker.send(|out| out.extend_from_slice(&echo), b"!").unwrap();
                }
            });
            for size in [0, 1, 3 * KEPT_BYTES] {
                agent.send(|out| out.extend(std::iter::repeat_n(7, size)), b"").unwrap();
                let answer = agent.receive(size + 1).unwrap();
                assert_eq!((answer.len(), answer.last()), (size + 1, Some(&b'!')));
            }
        });
    }

    #[test]
    fn what_is_late_closed_or_too_much_is_told_apart() {
        let (mut agent, mut worker) = pair();
        agent.set_time_limit(Some(Duration::from_millis(5))).unwrap();
        assert!(matches!(agent.receive(10), Err(FrameError::Late { .. })));
        worker.send(|out| out.extend_from_slice(&[0; 11]), b"").unwrap();
        assert!(matches!(agent.receive(10), Err(FrameError::Large { bytes: 11, most: 10 })));
        let (mut agent, mut worker) = pair();
        worker.send(|out| out.push(1), b"").unwrap();
        worker.send(|out| out.push(2), b"").unwrap();
        assert!(matches!(agent.receive(10), Err(FrameError::Large { .. })), "a reply without a request");
        drop(worker);
        assert!(matches!(agent.receive(10), Err(FrameError::Closed)));
        assert!(matches!(agent.send(|_| (), b"x"), Err(FrameError::Closed)));
    }

    #[test]
    fn a_reader_that_takes_nothing_does_not_block_the_writer() {
        let (mut agent, _worker) = pair();
        agent.set_time_limit(Some(Duration::from_millis(5))).unwrap();
        assert!(matches!(agent.send(|_| (), &vec![0; 16 << 20]), Err(FrameError::Late { .. })));
    }
}
