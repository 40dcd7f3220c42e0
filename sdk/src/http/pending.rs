//! Handles requests that were sent and have no complete response yet.

use std::time::{Duration, Instant};

use wasip2::clocks::monotonic_clock;
use wasip2::http::types as wasi;
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};

use super::{Error, Response};
use crate::cancellation::{self, Reason};
use crate::request::nanoseconds;

/// The number of bytes that one read asks for.
const READ: u64 = 64 << 10;

/// A request under way. Dropping it aborts it.
#[derive(Debug)]
#[must_use = "dropping this aborts the request"]
pub struct Pending {
    phase: Phase,
    upload: Upload,
    deadline: Option<Instant>,
    max_body: usize,
}

/// The progress of the response. Fields are in the order in which they must be dropped: a stream before its parent.
#[derive(Debug)]
enum Phase {
    Head(wasi::FutureIncomingResponse),
    Body { stream: InputStream, _parent: wasi::IncomingBody, response: Response },
    Done(Result<Response, Error>),
}

/// The progress of the request's body.
#[derive(Debug)]
enum Upload {
    Sending { stream: OutputStream, body: wasi::OutgoingBody, bytes: Vec<u8>, sent: usize },
    Over,
}

impl Pending {
    pub(super) fn new(
        response: wasi::FutureIncomingResponse,
        body: wasi::OutgoingBody,
        bytes: Vec<u8>,
        timeout: Option<Duration>,
        max_body: usize,
    ) -> Self {
        let upload = match body.write() {
            Ok(stream) if !bytes.is_empty() => Upload::Sending { stream, body, bytes, sent: 0 },
            Ok(stream) => {
                drop(stream);
                finish_upload(body)
            }
            // Only a second call to `write` fails. The request then has no body, and the remote will report that.
            Err(()) => Upload::Over,
        };
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut pending = Self { phase: Phase::Head(response), upload, deadline, max_body };
        pending.advance();
        pending
    }

    /// Waits for the whole response.
    ///
    /// # Errors
    ///
    /// As [`Error`] says.
    pub fn finish(mut self) -> Result<Response, Error> {
        loop {
            if let Phase::Done(result) = self.phase {
                return result;
            }
            wait_any([&mut self], Duration::MAX);
        }
    }

    /// Returns whether the whole response is there, or it has failed, so that `finish` will not wait.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done(_))
    }

    /// Advances as far as possible without waiting.
    fn advance(&mut self) {
        self.send();
        while let Some(next) = self.receive() {
            self.phase = next;
        }
        if !self.is_done() && self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            self.phase = Phase::Done(Err(Error::Timeout));
        }
        if self.is_done() {
            self.upload = Upload::Over;
        }
    }

    /// Sends as much of the body as the stream takes.
    fn send(&mut self) {
        let Upload::Sending { stream, bytes, sent, .. } = &mut self.upload else { return };
        while *sent < bytes.len() {
            let Ok(room) = stream.check_write() else {
                // The remote stopped reading. It may have responded nevertheless, so the response decides.
                self.upload = Upload::Over;
                return;
            };
            let rest = &bytes[*sent..];
            let part = &rest[..rest.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
            if part.is_empty() {
                return;
            }
            if stream.write(part).is_err() {
                self.upload = Upload::Over;
                return;
            }
            *sent += part.len();
        }
        if let Upload::Sending { stream, body, .. } = std::mem::replace(&mut self.upload, Upload::Over) {
            // Finishing flushes what is still under way; an error of the flush shows in the response.
            drop(stream.flush());
            drop(stream);
            self.upload = finish_upload(body);
        }
    }

    /// Receives as much as is there. Returns the next phase when this one is over.
    fn receive(&mut self) -> Option<Phase> {
        match &mut self.phase {
            Phase::Head(future) => {
                let head = future.get()?;
                Some(match head {
                    Ok(Ok(head)) => begin_body(&head).unwrap_or_else(|error| Phase::Done(Err(error))),
                    Ok(Err(code)) => Phase::Done(Err(code.into())),
                    Err(()) => Phase::Done(Err(Error::Protocol("the response was taken before".into()))),
                })
            }
            Phase::Body { stream, response, .. } => loop {
                match stream.read(READ) {
                    Ok(bytes) if bytes.is_empty() => return None,
                    Ok(bytes) if bytes.len() > self.max_body - response.body.len() => {
                        return Some(Phase::Done(Err(Error::TooLarge)));
                    }
                    Ok(bytes) => response.body.extend_from_slice(&bytes),
                    Err(StreamError::Closed) => {
                        let empty = Response { status: 0, headers: Vec::new(), body: Vec::new() };
                        return Some(Phase::Done(Ok(std::mem::replace(response, empty))));
                    }
                    Err(StreamError::LastOperationFailed(error)) => {
                        let error = wasi::http_error_code(&error)
                            .map_or_else(|| Error::Protocol(error.to_debug_string()), Error::from);
                        return Some(Phase::Done(Err(error)));
                    }
                }
            },
            Phase::Done(_) => None,
        }
    }

    /// Collects the pollables to wait for.
    fn subscribe(&self, to: &mut Vec<Pollable>) {
        match &self.phase {
            Phase::Head(future) => to.push(future.subscribe()),
            Phase::Body { stream, .. } => to.push(stream.subscribe()),
            Phase::Done(_) => return,
        }
        if let Upload::Sending { stream, .. } = &self.upload {
            to.push(stream.subscribe());
        }
    }
}

/// Waits until one of `pending` is done, and returns its index; `None` when `timeout` has passed first, or there is
/// none.
///
/// During the wait all of them make progress. If some are done already, the first of them is returned without waiting.
pub fn wait_any<'a>(pending: impl IntoIterator<Item = &'a mut Pending>, timeout: Duration) -> Option<usize> {
    let mut pending: Vec<&mut Pending> = pending.into_iter().collect();
    let until = Instant::now().checked_add(timeout);
    loop {
        if let Some(over) = advance_any(&mut pending, until, None) {
            return over;
        }
    }
}

/// Does the same as [`wait_any`], unless the run must end.
///
/// # Errors
///
/// The reason, as soon as there is one; a request that is done by then is returned first.
pub fn wait_any_unless_cancelled<'a>(
    pending: impl IntoIterator<Item = &'a mut Pending>,
    timeout: Duration,
) -> Result<Option<usize>, Reason> {
    let mut pending: Vec<&mut Pending> = pending.into_iter().collect();
    let until = Instant::now().checked_add(timeout);
    let told = cancellation::subscribe();
    loop {
        if let Some(over) = advance_any(&mut pending, until, Some(&told)) {
            return Ok(over);
        }
        if let Some(reason) = cancellation::cancelled() {
            return Err(reason);
        }
    }
}

/// Returns the result of a wait for one of `pending`, if it is over. Otherwise waits for a change, or for `told`.
fn advance_any(pending: &mut [&mut Pending], until: Option<Instant>, told: Option<&Pollable>) -> Option<Option<usize>> {
    pending.iter_mut().for_each(|pending| pending.advance());
    if let Some(done) = pending.iter().position(|pending| pending.is_done()) {
        return Some(Some(done));
    }
    let now = Instant::now();
    if pending.is_empty() || until.is_some_and(|until| until <= now) {
        return Some(None);
    }

    let mut pollables = Vec::new();
    pending.iter().for_each(|pending| pending.subscribe(&mut pollables));
    let next = pending.iter().filter_map(|pending| pending.deadline).chain(until).min();
    if let Some(next) = next {
        pollables.push(monotonic_clock::subscribe_duration(nanoseconds(next.saturating_duration_since(now))));
    }
    poll(&pollables.iter().chain(told).collect::<Vec<_>>());
    None
}

/// Ends the request's body. An error of that shows in the response.
fn finish_upload(body: wasi::OutgoingBody) -> Upload {
    drop(wasi::OutgoingBody::finish(body, None));
    Upload::Over
}

fn begin_body(head: &wasi::IncomingResponse) -> Result<Phase, Error> {
    let lost = |()| Error::Protocol("the answer has no body to read".into());
    let headers = head.headers().entries();
    let parent = head.consume().map_err(lost)?;
    let stream = parent.stream().map_err(lost)?;
    let response = Response { status: head.status(), headers, body: Vec::new() };
    Ok(Phase::Body { stream, _parent: parent, response })
}
