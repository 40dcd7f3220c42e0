//! Keeps what a guest prints up to a limit, and passes it on to the run's log line by line.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamResult};

use crate::attempt::{LogLine, RunHandle};
use sexton_domain::run::CappedText;
use sexton_domain::time::Clock;

/// Longer lines are logged in pieces, so that a guest that never ends a line is not buffered for ever.
const LONGEST_LINE: usize = 8 << 10;

/// The most bytes of one write. There is always room: bytes beyond the limit are dropped, and the guest goes on.
const WRITE: usize = 64 << 10;

/// Receives a guest's stdout or stderr.
#[derive(Clone)]
pub(super) struct Capture(Arc<Mutex<Captured>>);

struct Captured {
    bytes: Vec<u8>,
    limit: usize,
    cut: bool,
    line: Vec<u8>,
    level: &'static str,
    handle: Arc<RunHandle>,
    clock: Arc<dyn Clock>,
}

impl Capture {
    /// Keeps up to `limit` bytes, and passes lines on to `handle` with `level`.
    pub(super) fn new(limit: u64, level: &'static str, handle: Arc<RunHandle>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Mutex::new(Captured {
            bytes: Vec::new(),
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            cut: false,
            line: Vec::new(),
            level,
            handle,
            clock,
        })))
    }

    /// Takes what was printed, and whether there was more. Logs a last line that did not end.
    pub(super) fn take(&self) -> (Vec<u8>, bool) {
        let mut captured = self.lock();
        captured.end_line();
        (std::mem::take(&mut captured.bytes), captured.cut)
    }

    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the first `limit` bytes that were printed, as text.
pub(super) fn kept(bytes: &[u8], cut: bool, limit: u64) -> CappedText {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(limit)]).into_owned();
    CappedText { text, cut: cut || bytes.len() > limit }
}

impl Captured {
    fn write(&mut self, bytes: &[u8]) {
        self.handle.usage.add_sent(bytes.len());
        let room = self.limit - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.cut |= bytes.len() > room;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
            if piece.ends_with(b"\n") || self.line.len() >= LONGEST_LINE {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let message = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        self.handle.log(LogLine { at: self.clock.now(), level: self.level.into(), message });
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lock().write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE)
    }
}

impl AsyncWrite for Capture {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A plain program's stdin: the run's input.
pub(super) struct Input(pub(super) MemoryInputPipe);

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Input {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.0.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{TestClock, first_claim, task_key};
    use sexton_domain::time::Timestamp;

    /// Noon of the first day of the Unix epoch.
    const NOON: Timestamp = Timestamp::from_millis(43_200_000);

    fn capture(limit: u64) -> (Capture, Arc<RunHandle>) {
        let handle = Arc::new(RunHandle::new(first_claim(1), task_key("talker"), 1 << 20));
        (Capture::new(limit, "stdout", Arc::clone(&handle), TestClock::at(NOON)), handle)
    }

    fn logged(handle: &RunHandle) -> Vec<String> {
        handle.lines(0).0.into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn output_printed_in_pieces_is_logged_in_lines() {
        let (mut capture, handle) = capture(100);

        for piece in ["on", "e\ntwo\n\nth", "ree"] {
            OutputStream::write(&mut capture, Bytes::from(piece)).unwrap();
        }
        let whole_lines = logged(&handle);
        let printed = capture.take();

        assert_eq!(whole_lines, ["one", "two"]);
        assert_eq!(logged(&handle), ["one", "two", "three"]);
        assert_eq!(printed, (b"one\ntwo\n\nthree".to_vec(), false));
        assert_eq!(handle.lines(0).0[0].level, "stdout");
    }

    #[test]
    fn output_over_the_limit_is_cut_and_the_guest_continues() {
        let (mut capture, _handle) = capture(5);

        for _ in 0..3 {
            OutputStream::write(&mut capture, Bytes::from("abc")).unwrap();
        }
        let (bytes, cut) = capture.take();

        assert_eq!((bytes.as_slice(), cut), (b"abcab".as_slice(), true));
        assert_eq!(kept(&bytes, cut, 3), CappedText { text: "abc".into(), cut: true });
        assert_eq!(kept(b"abc", false, 3), CappedText { text: "abc".into(), cut: false });
        assert_eq!(capture.check_write().unwrap(), WRITE);
    }

    #[test]
    fn a_line_that_never_ends_is_logged_in_pieces() {
        let (mut capture, handle) = capture(10);

        for _ in 0..5 {
            OutputStream::write(&mut capture, Bytes::from(vec![b'x'; LONGEST_LINE])).unwrap();
        }

        assert_eq!(logged(&handle).len(), 5);
        assert!(capture.lock().line.is_empty());
    }
}
