//! Provides a stream into a file below a directory with a quota.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::room::{ChangeError, DirectoryLock, Place};
use super::{Grant, answer};
use crate::runtime::file_threads::Pool;

/// Bytes that are taken at once: as many as streams of files without a quota take.
const AT_ONCE: usize = 64 << 10;

/// A stream whose writes go one after another to the task's own threads, each charged first.
pub(in crate::runtime) struct Output {
    file: Arc<File>,
    place: Place,
    grant: Arc<Grant>,
    pool: Arc<Pool>,
    state: State,
}

enum State {
    Ready,
    Writing(oneshot::Receiver<Result<usize, ChangeError>>),
    Failed(ChangeError),
    Closed,
}

impl Output {
    pub(in crate::runtime) fn new(file: &Arc<File>, place: Place, grant: Arc<Grant>, pool: &Arc<Pool>) -> Self {
        Self { file: Arc::clone(file), place, grant, pool: Arc::clone(pool), state: State::Ready }
    }

    fn begin(&mut self, bytes: Bytes) {
        let (file, place, pool) = (Arc::clone(&self.file), self.place, Arc::clone(&self.pool));
        let write = self
            .grant
            .begin(move |mut room| async move { pool.run(move || write_all(&mut room, &file, &bytes, place)).await });
        self.state = State::Writing(write);
    }

    fn ended(&mut self, done: Result<usize, ChangeError>) {
        self.state = match done {
            Ok(written) => {
                if let Place::At(offset) = &mut self.place {
                    *offset += written as u64;
                }
                State::Ready
            }
            Err(denied) => State::Failed(denied),
        };
    }

    /// Returns the error of the last write, once.
    fn check(&mut self) -> StreamResult<()> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Failed(denied) => Err(StreamError::LastOperationFailed(denied.into())),
            State::Closed => Err(StreamError::Closed),
            state => {
                self.state = state;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        if let State::Writing(write) = &mut self.state {
            let done = answer(write).await;
            self.ended(done);
        }
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match self.state {
            State::Ready => self.begin(bytes),
            State::Closed => return Err(StreamError::Closed),
            State::Writing(_) | State::Failed(_) => {
                return Err(StreamError::trap("write not permitted: check_write not called first"));
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.check()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.check()?;
        Ok(if matches!(self.state, State::Ready) { AT_ONCE } else { 0 })
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.ready().await;
        self.check()?;
        self.begin(bytes);
        self.ready().await;
        self.check()
    }

    async fn cancel(&mut self) {
        self.ready().await;
        self.state = State::Closed;
    }
}

fn write_all(room: &mut DirectoryLock, file: &File, bytes: &[u8], place: Place) -> Result<usize, ChangeError> {
    let mut written = 0;
    while written < bytes.len() {
        let place = match place {
            Place::At(offset) => Place::At(offset.saturating_add(written as u64)),
            Place::End => Place::End,
        };
        written += match room.write(file, &bytes[written..], place)? {
            0 => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
            more => more,
        };
    }
    Ok(written)
}
