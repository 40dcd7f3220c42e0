//! Links the host calls in which guests mostly wait, so that operators can see where a guest waits.
//!
//! A guest's stack can be taken where it enters a host call, which costs microseconds: far too much for every call, but
//! nothing beside a wait. Sleeping, HTTP and streams all wait in `wasi:io/poll`. `locks` itself shows where a guest
//! waits for other runs. For other calls `guest` takes stacks as its budget allows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::Poll;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::bindings::io::poll::{Host, HostPollable};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::attempt::{Sleeper, sleep_while};

use super::guest::Guest;

/// The call that is shown for a guest that waits for pollables.
const POLL: &str = "wasi:io/poll";

/// Number of pollables below which a call takes no more memory than other calls do.
const FEW: usize = 64;

/// Bytes that the host takes for each pollable while it waits.
const EACH: usize = 128;

/// The interface as `wasmtime-wasi` links it: another version would be added beside its functions instead of replacing
/// them.
const INTERFACE: &str = "wasi:io/poll@0.2.12";

/// Shows waits for pollables. It must be called after WASI is linked.
pub(super) fn show_polls(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut poll = linker.instance(INTERFACE)?;
    poll.func_wrap_async("poll", |mut guest: StoreContextMut<'_, Guest>, (list,): (Vec<Resource<DynPollable>>,)| {
        Box::new(async move {
            // A long list exists several times over while the guest waits.
            let _held = match list.len() {
                0..FEW => None,
                many => Some(guest.data().ledger().charge(many * EACH)?),
            };
            let again = list.iter().map(|pollable| Resource::new_borrow(pollable.rep())).collect();
            let things = list.iter().map(Resource::rep).collect::<BTreeSet<_>>().len();
            // Most calls ask for pollables that are ready already.
            let now = guest.data_mut().ctx().table.poll(list);
            if let Poll::Ready(ready) = futures_util::poll!(std::pin::pin!(now)) {
                return Ok((ready?,));
            }
            let handle = Guest::rests(&mut guest);
            let _shown = handle.usage.waits(POLL, None);
            let table = guest.data_mut().ctx().table;
            let ready = table.poll(again);
            Ok((sleep_while(handle.sleeper(), things, ready).await?,))
        })
    })?;
    poll.func_wrap_async(
        "[method]pollable.block",
        |mut guest: StoreContextMut<'_, Guest>, (pollable,): (Resource<DynPollable>,)| {
            Box::new(async move {
                let again = Resource::new_borrow(pollable.rep());
                let now = guest.data_mut().ctx().table.block(pollable);
                if let Poll::Ready(ready) = futures_util::poll!(std::pin::pin!(now)) {
                    return ready;
                }
                let handle = Guest::rests(&mut guest);
                let _shown = handle.usage.waits(POLL, None);
                let table = guest.data_mut().ctx().table;
                let ready = table.block(again);
                sleep_while(handle.sleeper(), 1, ready).await
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The interface as `wasmtime-wasi` links it.
const CLOCK: &str = "wasi:clocks/monotonic-clock@0.2.12";

/// A wait for an instant of the virtual time.
struct VirtualSleep {
    sleeper: Arc<Sleeper>,
    /// Nanoseconds since the start.
    until: u64,
}

#[wasmtime_wasi::async_trait]
impl Pollable for VirtualSleep {
    async fn ready(&mut self) {
        self.sleeper.wait_within(self.sleeper.sleep(self.until), None).await;
    }
}

/// Lets guests sleep in virtual time. It must be called after WASI is linked.
pub(super) fn sleep_in_virtual_time(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut clock = linker.instance(CLOCK)?;
    clock.func_wrap("subscribe-instant", |guest: StoreContextMut<'_, Guest>, (until,): (u64,)| {
        subscribe_to(guest, |_| until)
    })?;
    clock.func_wrap("subscribe-duration", |guest: StoreContextMut<'_, Guest>, (time,): (u64,)| {
        subscribe_to(guest, |sleeper| sleeper.in_nanos(time))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

fn subscribe_to(
    mut guest: StoreContextMut<'_, Guest>,
    until: impl Fn(&Sleeper) -> u64,
) -> wasmtime::Result<(Resource<DynPollable>,)> {
    let sleeper = guest.data_mut().sleeper().expect("linked for guests in virtual time only");
    let until = until(&sleeper);
    let table = guest.data_mut().ctx().table;
    let sleep = table.push(VirtualSleep { sleeper, until })?;
    Ok((subscribe(table, sleep)?,))
}
