//! Charges the buffers of streams to the run of their guest.
//!
//! Bytes that a guest writes stay in the host until they are sent or on disk, and bytes that are read ahead stay there
//! until the guest takes them. A stream is wrapped where it is made, so that its charge is dropped with it.

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable, ResourceTableError};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::types::{ErrorCode, Host, HostDescriptor};
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsResult, InputStream, Pollable, StreamResult};

use crate::attempt::Charge;
use crate::imports::held_stream::hold_output;

use super::guest::Guest;

/// The interface as `wasmtime-wasi` links it: another version would be added beside its functions instead of replacing
/// them.
const INTERFACE: &str = "wasi:filesystem/types@0.2.12";

/// The most bytes that a stream reads ahead from a file.
const READ_AHEAD: usize = 64 << 10;

/// An input stream, whose charge covers what it reads ahead.
struct HeldInput {
    stream: DynInputStream,
    _charge: Charge,
}

#[wasmtime_wasi::async_trait]
impl Pollable for HeldInput {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for HeldInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.stream.read(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.stream.blocking_read(size).await
    }

    fn skip(&mut self, size: usize) -> StreamResult<usize> {
        self.stream.skip(size)
    }

    async fn blocking_skip(&mut self, size: usize) -> StreamResult<usize> {
        self.stream.blocking_skip(size).await
    }

    async fn cancel(&mut self) {
        self.stream.cancel().await;
    }
}

fn hold_input(
    table: &mut ResourceTable,
    stream: &Resource<DynInputStream>,
    charge: Charge,
) -> Result<(), ResourceTableError> {
    let place = table.get_mut(stream)?;
    let stream = std::mem::replace(place, Box::new(ClosedInputStream));
    *place = Box::new(HeldInput { stream, _charge: charge });
    Ok(())
}

/// Charges the streams of files. It must be called after WASI is linked.
pub(super) fn count(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type At = (Resource<Descriptor>, u64);
    linker.allow_shadowing(true);
    let mut types = linker.instance(INTERFACE)?;
    types.func_wrap(
        "[method]descriptor.read-via-stream",
        |mut guest: StoreContextMut<'_, Guest>, (file, offset): At| {
            let guest = guest.data_mut();
            let Ok(charge) = guest.ledger().charge(READ_AHEAD) else {
                return Ok((Err(ErrorCode::InsufficientMemory),));
            };
            let opened = guest.filesystem_view().read_via_stream(file, offset);
            if let Ok(stream) = &opened {
                hold_input(guest.filesystem().table, stream, charge)?;
            }
            answer(guest, opened)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.write-via-stream",
        |mut guest: StoreContextMut<'_, Guest>, (file, offset): At| {
            let opened = guest.data_mut().filesystem_view().write_via_stream(file, offset);
            held(guest.data_mut(), opened)
        },
    )?;
    types.func_wrap(
        "[method]descriptor.append-via-stream",
        |mut guest: StoreContextMut<'_, Guest>, (file,): (Resource<Descriptor>,)| {
            let opened = guest.data_mut().filesystem_view().append_via_stream(file);
            held(guest.data_mut(), opened)
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

type Answer<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

fn held(guest: &mut Guest, opened: FsResult<Resource<DynOutputStream>>) -> Answer<Resource<DynOutputStream>> {
    if let Ok(stream) = &opened {
        let ledger = guest.ledger();
        hold_output(guest.filesystem().table, stream, ledger)?;
    }
    answer(guest, opened)
}

fn answer<T>(guest: &mut Guest, opened: FsResult<T>) -> Answer<T> {
    Ok((match opened {
        Ok(opened) => Ok(opened),
        Err(error) => Err(guest.filesystem().convert_error_code(error)?),
    },))
}
