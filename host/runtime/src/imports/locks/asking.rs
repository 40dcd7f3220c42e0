//! Takes locks for attempts: the same way for guests, which ask by the import, and for the host, which takes the lock of
//! a task before there is a guest.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::attempt::{Interrupt, RunEnd, Usage};
use crate::imports::Services;
use sexton_domain::run::{ClaimKey, RunId};
use sexton_store::{self as store, LockMode, LockName, LockTaken};

use super::graph::Deadlock;
use super::held::Held;
use super::waits::{Place, WaitingRun};

/// The time after which the first in a queue asks the store again without a hint. A hint from another host may get
/// lost, so a release may be noticed this late; with a shorter time the store has more transactions.
const POLL: Duration = Duration::from_millis(500);

/// The longest time for which a run without patience lets others ask that were before it. It is much longer than the
/// store takes to answer, and bounds the delay of a run that wants no delay.
const OTHERS_ASK: Duration = Duration::from_secs(1);

/// The answer to a request for a lock.
#[derive(Debug)]
pub(super) enum LockResponse {
    /// The attempt has the lock, with this fence.
    Taken(u64),
    /// The lock was not free until the wait was over. Names the run that had it, or that was before this one; `None` if
    /// the store was not asked, because other runs of this host were before this one.
    Held(Option<RunId>),
    /// The wait would have closed a circle.
    Deadlock(Deadlock),
}

/// An attempt that asks for locks.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub(super) services: &'a Services,
    pub(super) claim: ClaimKey,
    /// Ends the wait together with the attempt.
    pub(super) until: &'a RunEnd,
    /// The locks that the attempt has, if any.
    pub(super) held: Option<&'a Held>,
    /// The name of the wait, for those that watch the attempt.
    pub(super) call: &'static str,
}

impl Asking<'_> {
    /// Takes `lock`, waiting for up to `wait`.
    ///
    /// If the future is dropped while it waits, the run leaves the queue. If it is dropped while the store is asked, the
    /// run may have the lock without knowing it. That is harmless, because only the end of the attempt drops the
    /// future, and that releases all its locks.
    pub(super) async fn take(
        &self,
        lock: &Arc<LockName>,
        mode: LockMode,
        wait: Duration,
    ) -> Result<store::Result<LockResponse>, Interrupt> {
        // A wait that would outlast the attempt ends with the attempt, in a trap, and not with `held` a moment before.
        let patience = self.until.now().checked_add(wait).filter(|end| *end < self.until.deadline());
        self.until.wait_until_ended(self.call, Some(&lock.name), self.in_turn(lock, mode, patience)).await
    }

    async fn in_turn(
        &self,
        lock: &Arc<LockName>,
        mode: LockMode,
        patience: Option<Instant>,
    ) -> store::Result<LockResponse> {
        let store = &self.services.store;
        let at_end = || patience.is_some_and(|end| end <= self.until.now());
        // A run without patience enters the queue, too: a lock that is free for a blink between two holders is for those
        // that wait.
        let place = self.services.lock_waits.enter(Arc::clone(lock), mode);
        let mut wait = None;
        if !place.is_first() && !at_end() {
            wait = match self.begin_wait(&place) {
                Ok(begun) => Some(begun),
                Err(circle) => return Ok(LockResponse::Deadlock(circle)),
            };
            self.until.within(patience, place.turn()).await;
        }
        if !place.is_first() {
            // Runs before it that do not wait are gone in a moment, and may not have got the lock.
            let moment = self.until.now() + OTHERS_ASK;
            self.until.within(Some(moment), place.turn_unless_waited()).await;
            if !place.is_first() {
                return Ok(LockResponse::Held(None));
            }
        }
        let hint = store.locks_hint();
        let leave = async || store.leave_lock_queue(LockName::clone(lock), self.claim).await;
        let mut queued = false;
        loop {
            // The notification is registered before the store is asked, so that a release in between is not missed.
            let mut freed = pin!(hint.notified());
            freed.as_mut().enable();
            let (last, now) = (at_end(), self.services.clock.now());
            let asked = match last {
                true => store.acquire_lock(LockName::clone(lock), mode, self.claim, now).await?,
                false => store.wait_for_lock(LockName::clone(lock), mode, self.claim, now).await?,
            };
            let by = match asked {
                LockTaken::Yes { fence } => return Ok(LockResponse::Taken(fence)),
                LockTaken::HeldBy(by) => by,
            };
            if last {
                if queued {
                    leave().await?;
                }
                return Ok(LockResponse::Held(Some(by)));
            }
            queued = true;
            if wait.is_none() {
                wait = match self.begin_wait(&place) {
                    Ok(begun) => Some(begun),
                    Err(circle) => {
                        leave().await?;
                        return Ok(LockResponse::Deadlock(circle));
                    }
                };
            }
            // In virtual time no other host uses the store, and no hint gets lost.
            let next_look = (!self.until.is_virtual()).then(|| Instant::now() + POLL);
            let next_look = patience.into_iter().chain(next_look).min();
            // The store is asked again in either case, at the end of the patience for the last time.
            self.until.within(next_look, freed).await;
        }
    }

    /// Makes known that the run waits at `place`, unless that closes a circle.
    fn begin_wait(&self, place: &Place) -> Result<Wait<'_>, Deadlock> {
        place.wait(WaitingRun {
            run: self.claim.run,
            task: self.until.task().task.clone(),
            since: self.services.clock.now(),
            holds: self
                .held
                .into_iter()
                .flat_map(|held| &held.0)
                .map(|(lock, mode)| (Arc::clone(lock), *mode))
                .collect(),
        })?;
        Ok(Wait { usage: &self.until.handle().usage, since: Instant::now() })
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
