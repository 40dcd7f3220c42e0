//! Words the errors of streams for guests, without anything of the host's own.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView;

use super::guest::Guest;
use super::wording;

/// The interface as `wasmtime-wasi` links it: another version would be added beside its function instead of replacing
/// it.
const INTERFACE: &str = "wasi:io/error@0.2.12";

/// Shadows `to-debug-string`, which would give the guest the `Debug` form of the host's error: with `RUST_BACKTRACE`
/// set that includes the host's stack. It must be called after WASI is linked.
pub(super) fn word(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(INTERFACE)?.func_wrap(
        "[method]error.to-debug-string",
        |mut guest: StoreContextMut<'_, Guest>, (error,): (Resource<wasmtime::Error>,)| {
            let words = wording::of_error(guest.data_mut().ctx().table.get(&error)?);
            Ok((words,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
