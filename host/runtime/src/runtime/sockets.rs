//! Refuses sockets and name look-ups, which no task is granted: a guest gets the error code that it would get anyway,
//! and its run's log says why.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::TcpSocket;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::{ip_name_lookup, udp};

use crate::attempt::Refusal;
use crate::imports::ImportsView;

use super::guest::Guest;

/// The interfaces as `wasmtime-wasi` links them: other versions would be added beside its functions instead of
/// replacing them.
const TCP: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const UDP: &str = "wasi:sockets/udp-create-socket@0.2.12";
const NAMES: &str = "wasi:sockets/ip-name-lookup@0.2.12";

/// Refuses all ways to the network except HTTP. It must be called after WASI is linked.
pub(super) fn refuse(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Made<T> = Result<Resource<T>, ErrorCode>;
    linker.allow_shadowing(true);
    linker.instance(TCP)?.func_wrap(
        "create-tcp-socket",
        |guest: StoreContextMut<'_, Guest>, _: (IpAddressFamily,)| -> wasmtime::Result<(Made<TcpSocket>,)> {
            note(guest, "a TCP socket");
            Ok((Err(ErrorCode::AccessDenied),))
        },
    )?;
    linker.instance(UDP)?.func_wrap(
        "create-udp-socket",
        |guest: StoreContextMut<'_, Guest>, _: (IpAddressFamily,)| -> wasmtime::Result<(Made<udp::UdpSocket>,)> {
            note(guest, "a UDP socket");
            Ok((Err(ErrorCode::AccessDenied),))
        },
    )?;
    type Asked = (Resource<Network>, String);
    type Answer = (Made<ip_name_lookup::ResolveAddressStream>,);
    linker.instance(NAMES)?.func_wrap(
        "resolve-addresses",
        |guest: StoreContextMut<'_, Guest>, _: Asked| -> wasmtime::Result<Answer> {
            note(guest, "the address of a name");
            Ok((Err(ErrorCode::PermanentResolverFailure),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn note(mut guest: StoreContextMut<'_, Guest>, what: &str) {
    guest.data_mut().imports().ctx.refuses(Refusal::Socket(what));
}
