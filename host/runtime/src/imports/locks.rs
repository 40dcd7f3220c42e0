//! The `locks` import: named locks, shared by every host on the same store.
//!
//! The store decides which run holds a lock, and which of the first waiting runs of each host is next. [`LockWaits`]
//! keeps the order of the runs that wait on this host, and refuses a wait that would close a circle.

mod graph;
mod held;
mod waits;

use std::any::Any;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};

pub use graph::{Deadlock, Member};
pub use held::HeldLock;
pub use waits::{LockWaits, Place, WaitingRun};

use crate::attempt::{Interrupt, Refusal, Usage, sleep_while};
use crate::imports::bindings::LocksError;
use crate::imports::bindings::sexton::task::locks::{self, Error, Host, HostLock, Mode};
use sexton_domain::task::{Grants, Task};
use sexton_store::{self as store, LockKind, LockMode, LockName, LockTaken};

use super::call_error::store_failure;
use super::capability::{Capability, Interface, of_sexton};
use super::{Imports, ImportsCtx, ImportsCtxView, ImportsView, State, is_granted, is_name};

/// The time after which the first in a queue asks the store again without a hint. A hint from another host may get
/// lost, so a release may be noticed this late; with a shorter time the store has more transactions.
const POLL: Duration = Duration::from_millis(500);

const ACQUIRE: &str = "locks.acquire";

/// Bytes that the host takes for a held lock besides its name, which the run's list of locks holds as well.
const HELD: usize = 256;

/// The capability to take named locks.
#[derive(Debug)]
pub struct Locks;

impl<T: ImportsView> Capability<T> for Locks {
    fn interfaces(&self) -> &'static [Interface] {
        const { &[of_sexton("locks")] }
    }

    fn is_granted(&self, grants: &Grants) -> bool {
        !grants.locks.is_empty()
    }

    fn manifest_line(&self, _: &Task) -> String {
        "locks = [\"*\"]".to_owned()
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        locks::add_to_linker::<T, Imports>(linker, T::imports)?;
        show_waits(linker)
    }

    fn held_by(&self, entry: &(dyn Any + Send)) -> usize {
        entry.downcast_ref::<HeldLock>().map_or(0, |held| HELD + held.lock.name.len())
    }
}

/// Links `acquire` again, so that the guest's stack is captured when it waits for a lock.
fn show_waits<T: ImportsView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("sexton:task/locks@0.1.0")?.func_wrap_async(
        "acquire",
        |mut guest: StoreContextMut<'_, T>, (name, mode, wait): (String, Mode, u64)| {
            Box::new(async move {
                // The call asks the store in any case, which costs a hundred times as much as capturing a stack.
                T::rests(&mut guest);
                let mut imports = guest.data_mut().imports();
                let sleeper = imports.ctx.handle.sleeper().cloned();
                let acquired = imports.acquire(name, mode, wait);
                Ok((match sleep_while(sleeper.as_ref(), 1, acquired).await {
                    Ok(lock) => Ok(lock),
                    Err(error) => Err(error.into_guest()?),
                },))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

impl From<Error> for LocksError {
    fn from(error: Error) -> Self {
        Self::Guest(error)
    }
}

/// The locks that the guest has handles to. If it asked for one of them again, it would wait for itself.
#[derive(Debug, Default)]
struct Held(HashMap<Arc<LockName>, LockMode>);

impl State for Held {
    fn begin(_: &ImportsCtx) -> Self {
        Self::default()
    }
}

impl Host for ImportsCtxView<'_> {
    async fn acquire(&mut self, name: String, mode: Mode, wait: u64) -> Result<Resource<HeldLock>, LocksError> {
        if !is_name(&name) {
            return Err(Error::BadName.into());
        }
        if !is_granted(&self.ctx.task.grants.locks, &name) {
            self.ctx.refuses(Refusal::Lock(&name));
            return Err(Error::AccessDenied.into());
        }
        let lock = Arc::new(self.ctx.lock_name(LockKind::Named, name));
        if self.ctx.state::<Held>().0.contains_key(&lock) {
            return Err(Error::Held.into());
        }
        let mode = match mode {
            Mode::Exclusive => LockMode::Exclusive,
            Mode::Shared => LockMode::Shared,
        };
        match take(self.ctx, &lock, mode, Duration::from_millis(wait)).await? {
            Ok(LockResponse::Taken(fence)) => {
                self.ctx.state::<Held>().0.insert(Arc::clone(&lock), mode);
                // With a full table this is a trap, and the end of the run releases the lock.
                Ok(self.table.push(HeldLock { lock, fence })?)
            }
            Ok(LockResponse::Held) => Err(Error::Held.into()),
            Ok(LockResponse::Deadlock(circle)) => {
                self.ctx.log_deadlock(&circle);
                Err(Error::Deadlock.into())
            }
            Err(error) => Err(store_failure(error, ACQUIRE, Error::Other)),
        }
    }

    fn convert_error(&mut self, error: LocksError) -> wasmtime::Result<Error> {
        error.into_guest()
    }
}

impl HostLock for ImportsCtxView<'_> {
    fn fence(&mut self, lock: Resource<HeldLock>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&lock)?.fence)
    }

    async fn drop(&mut self, lock: Resource<HeldLock>) -> wasmtime::Result<()> {
        const DROP: &str = "locks.[drop]lock";
        let held = self.table.delete(lock)?;
        let released = self.ctx.services.store.release_lock(LockName::clone(&held.lock), self.ctx.claim);
        match self.ctx.until.run_until_ended(DROP, released).await? {
            Ok(()) => {
                self.ctx.state::<Held>().0.remove(&held.lock);
            }
            // A drop has no error for the guest. The lock stays among those held, as it does in the store, until the
            // end of the run releases it.
            Err(error) => {
                store_failure(error, DROP, Error::Other).into_guest()?;
            }
        }
        Ok(())
    }
}

/// The answer to a request for a lock.
enum LockResponse {
    /// The run has the lock, with this fence.
    Taken(u64),
    /// Another run held the lock until the wait was over.
    Held,
    /// The wait would have closed a circle.
    Deadlock(Deadlock),
}

/// Takes `lock` for the run, waiting for up to `wait`.
///
/// If the future is dropped while it waits, the run leaves the queue. If it is dropped while the store is asked, the
/// run may have the lock without knowing it. That is harmless, because only the end of the run drops the future, and
/// that releases all its locks.
async fn take(
    ctx: &ImportsCtx,
    lock: &Arc<LockName>,
    mode: LockMode,
    wait: Duration,
) -> Result<store::Result<LockResponse>, Interrupt> {
    // A wait that would outlast the run ends with the run, in a trap, and not with `held` a moment before.
    let patience = ctx.until.now().checked_add(wait).filter(|end| *end < ctx.until.deadline());
    ctx.until.wait_until_ended(ACQUIRE, Some(&lock.name), acquire_in_turn(ctx, lock, mode, patience)).await
}

async fn acquire_in_turn(
    ctx: &ImportsCtx,
    lock: &Arc<LockName>,
    mode: LockMode,
    patience: Option<Instant>,
) -> store::Result<LockResponse> {
    let store = &ctx.services.store;
    let at_end = || patience.is_some_and(|end| end <= ctx.until.now());
    // A run without patience enters the queue, too: a lock that is free for a blink between two holders is for those
    // that wait.
    let place = ctx.services.lock_waits.enter(Arc::clone(lock), mode);
    let mut wait = None;
    if !place.is_first() {
        if at_end() {
            return Ok(LockResponse::Held);
        }
        wait = match ctx.begin_wait(&place) {
            Ok(begun) => Some(begun),
            Err(circle) => return Ok(LockResponse::Deadlock(circle)),
        };
        if !ctx.until.within(patience, place.turn()).await {
            return Ok(LockResponse::Held);
        }
    }
    let hint = store.locks_hint();
    let leave = async || store.leave_lock_queue(LockName::clone(lock), ctx.claim).await;
    let mut queued = false;
    loop {
        // The notification is registered before the store is asked, so that a release in between is not missed.
        let mut freed = pin!(hint.notified());
        freed.as_mut().enable();
        let (last, now) = (at_end(), ctx.services.clock.now());
        let asked = match last {
            true => store.acquire_lock(LockName::clone(lock), mode, ctx.claim, now).await?,
            false => store.wait_for_lock(LockName::clone(lock), mode, ctx.claim, now).await?,
        };
        if let LockTaken::Yes { fence } = asked {
            return Ok(LockResponse::Taken(fence));
        }
        if last {
            if queued {
                leave().await?;
            }
            return Ok(LockResponse::Held);
        }
        queued = true;
        if wait.is_none() {
            wait = match ctx.begin_wait(&place) {
                Ok(begun) => Some(begun),
                Err(circle) => {
                    leave().await?;
                    return Ok(LockResponse::Deadlock(circle));
                }
            };
        }
        // In virtual time no other host uses the store, and no hint gets lost.
        let next_look = (!ctx.until.is_virtual()).then(|| Instant::now() + POLL);
        let next_look = patience.into_iter().chain(next_look).min();
        // The store is asked again in either case, at the end of the patience for the last time.
        ctx.until.within(next_look, freed).await;
    }
}

/// A wait for a lock. Its time is counted, however the wait ends.
struct Wait<'a> {
    usage: &'a Usage,
    since: Instant,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.usage.waited_for_lock(self.since.elapsed());
    }
}

impl ImportsCtx {
    /// Makes known that the run waits at `place`, unless that closes a circle.
    fn begin_wait(&self, place: &Place) -> Result<Wait<'_>, Deadlock> {
        place.wait(WaitingRun {
            run: self.claim.run,
            task: self.task.key.task.clone(),
            since: self.services.clock.now(),
            holds: self
                .known_state::<Held>()
                .into_iter()
                .flat_map(|held| &held.0)
                .map(|(lock, mode)| (Arc::clone(lock), *mode))
                .collect(),
        })?;
        Ok(Wait { usage: &self.handle.usage, since: Instant::now() })
    }

    /// Writes the circle into the run's log, because the guest's error does not name its members.
    fn log_deadlock(&self, circle: &Deadlock) {
        self.warn(format!("deadlock: {circle}; this run gets the error, because it began to wait last"));
    }
}

#[cfg(test)]
mod tests;
