//! Runs the work of file streams on the threads of the task's own pool.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamResult};

use super::file_threads::Pool;

/// A stream that works with the pool as the current runtime.
pub(super) struct Pooled<S> {
    pub(super) stream: S,
    pub(super) pool: Arc<Pool>,
}

#[async_trait]
impl<S: Pollable> Pollable for Pooled<S> {
    async fn ready(&mut self) {
        self.pool.within(self.stream.ready()).await;
    }
}

#[async_trait]
impl InputStream for Pooled<DynInputStream> {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.pool.enter(|| self.stream.read(size))
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.pool.within(self.stream.blocking_read(size)).await
    }

    async fn cancel(&mut self) {
        self.pool.within(self.stream.cancel()).await;
    }
}

#[async_trait]
impl OutputStream for Pooled<DynOutputStream> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.pool.enter(|| self.stream.write(bytes))
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.pool.enter(|| self.stream.flush())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.stream.check_write()
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.pool.within(self.stream.blocking_write_and_flush(bytes)).await
    }

    async fn cancel(&mut self) {
        self.pool.within(self.stream.cancel()).await;
    }
}
