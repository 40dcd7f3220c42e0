//! The `locks` import: named locks, shared by every host on the same store.
//!
//! The store decides which run holds a lock, and which of the first waiting runs of each host is next. [`LockWaits`]
//! keeps the order of the runs that wait on this host, and refuses a wait that would close a circle.

mod asking;
mod for_task;
mod graph;
mod held;
mod waits;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};

pub use for_task::take_for_task;
pub use graph::{Deadlock, Member};
pub use held::HeldLock;
pub use waits::{LockWaits, Place, WaitingRun};

use asking::{Asking, LockResponse};
use held::Held;

use crate::attempt::{Refusal, sleep_while};
use crate::imports::bindings::LocksError;
use crate::imports::bindings::sexton::task::locks::{self, Error, Host, HostLock, Mode};
use sexton_domain::task::{Grants, Task};
use sexton_store::{LockKind, LockMode, LockName};

use super::call_error::store_failure;
use super::capability::{Capability, Interface, of_sexton};
use super::{Imports, ImportsCtx, ImportsCtxView, ImportsView, is_granted, is_name};

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
        let asking = Asking {
            services: &self.ctx.services,
            claim: self.ctx.claim,
            until: &self.ctx.until,
            held: self.ctx.known_state(),
            call: ACQUIRE,
        };
        let asked = asking.take(&lock, mode, Duration::from_millis(wait)).await?;
        match asked {
            Ok(LockResponse::Taken(fence)) => {
                self.ctx.handle.usage.acts();
                self.ctx.state::<Held>().0.insert(Arc::clone(&lock), mode);
                // With a full table this is a trap, and the end of the run releases the lock.
                Ok(self.table.push(HeldLock { lock, fence })?)
            }
            Ok(LockResponse::Held(_)) => Err(Error::Held.into()),
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

impl ImportsCtx {
    /// Writes the circle into the run's log, because the guest's error does not name its members.
    fn log_deadlock(&self, circle: &Deadlock) {
        self.warn(format!("deadlock: {circle}; this run gets the error, because it began to wait last"));
    }
}

#[cfg(test)]
mod tests;
