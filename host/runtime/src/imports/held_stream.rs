//! Charges the buffers of a guest's output streams to its run.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::{Resource, ResourceTable, ResourceTableError};
use wasmtime_wasi::p2::pipe::ClosedOutputStream;
use wasmtime_wasi::p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::attempt::Ledger;

/// An output stream. The bytes written to it are charged until they are dropped.
struct HeldOutput {
    stream: DynOutputStream,
    ledger: Arc<Ledger>,
}

impl HeldOutput {
    fn charged(&self, bytes: Bytes) -> StreamResult<Bytes> {
        self.ledger.charged(bytes).map_err(|no_room| StreamError::Trap(no_room.into()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for HeldOutput {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for HeldOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let bytes = self.charged(bytes)?;
        self.stream.write(bytes)
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        let bytes = self.charged(bytes)?;
        self.stream.blocking_write_and_flush(bytes).await
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.stream.check_write()
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

/// Charges all that is written to `stream` to `ledger`.
///
/// # Errors
///
/// `table` has no such stream.
pub(crate) fn hold_output(
    table: &mut ResourceTable,
    stream: &Resource<DynOutputStream>,
    ledger: Arc<Ledger>,
) -> Result<(), ResourceTableError> {
    let place = table.get_mut(stream)?;
    let stream = std::mem::replace(place, Box::new(ClosedOutputStream));
    *place = Box::new(HeldOutput { stream, ledger });
    Ok(())
}
