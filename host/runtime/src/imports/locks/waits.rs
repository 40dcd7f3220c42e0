//! Keeps the runs of this host that wait for each lock, in their order of arrival.
//!
//! The store gives a free lock to the first run that asks for it. So that this is not luck, only the runs in front of a
//! lock's queue ask: the first, and with it the next ones if all of them share. The queue grants nothing and holds
//! nothing. Leaving it (by a drop, wherever the guest was ended) lets the next runs ask.
//!
//! A run that really waits says so ([`Place::wait`]), with its identity and the locks that it holds. That is all that
//! [`graph`] needs to find a circle; a run that gets a lock at once has no part in it.
//!
//! [`graph`]: super::graph

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::graph::{self, Deadlock};
use sexton_domain::run::RunId;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use sexton_store::{LockMode, LockName, LockWait};

/// The queues of all locks that runs of this host wait for.
#[derive(Debug, Default)]
pub struct LockWaits {
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
pub(super) struct Queues {
    next_ticket: u64,
    pub(super) by_lock: HashMap<Arc<LockName>, BTreeMap<u64, Waiter>>,
    /// The waiting runs that hold each lock.
    pub(super) held: HashMap<Arc<LockName>, Vec<Holder>>,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) mode: LockMode,
    in_front: bool,
    /// Notified when `in_front` becomes true; and when a run before this one begins to wait, unless this one waits.
    fronted: Arc<Notify>,
    /// Set once the run waits. A run that has just been let in to ask, or that has no patience, does not wait.
    pub(super) waits: Option<WaitingRun>,
}

/// A run that waits, and what it holds.
#[derive(Clone, Debug)]
pub struct WaitingRun {
    /// The run's id.
    pub run: RunId,
    /// The run's task.
    pub task: Name,
    /// When the wait began.
    pub since: Timestamp,
    /// The locks that the run holds, and continues to hold while it waits.
    pub holds: Vec<(Arc<LockName>, LockMode)>,
}

/// A run that waits and holds a lock.
#[derive(Debug)]
pub(super) struct Holder {
    /// The run's ticket in the queue that it waits in.
    pub(super) ticket: u64,
    /// The mode in which the run holds the lock.
    pub(super) mode: LockMode,
    /// The lock that the run waits for.
    pub(super) waits_for: Arc<LockName>,
}

/// A place in the queue of a lock. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Place {
    waits: Arc<LockWaits>,
    lock: Arc<LockName>,
    ticket: u64,
    fronted: Arc<Notify>,
}

impl LockWaits {
    /// Joins the queue of `lock`.
    pub fn enter(self: &Arc<Self>, lock: Arc<LockName>, mode: LockMode) -> Place {
        let mut queues = self.queues();
        let ticket = queues.next_ticket;
        queues.next_ticket += 1;
        let fronted = Arc::new(Notify::new());
        let queue = queues.by_lock.entry(Arc::clone(&lock)).or_default();
        queue.insert(ticket, Waiter { mode, in_front: false, fronted: Arc::clone(&fronted), waits: None });
        notify_front(queue);
        drop(queues);
        Place { waits: Arc::clone(self), lock, ticket, fronted }
    }

    /// Returns the length of the queue of `lock`, including runs that are asking for the lock right now.
    pub fn waiting(&self, lock: &LockName) -> usize {
        self.queues().by_lock.get(lock).map_or(0, BTreeMap::len)
    }

    /// Returns the runs of a tenant that wait for locks, by lock, in the order in which they will be served.
    pub fn list(&self, tenant: &Name) -> Vec<LockWait> {
        let mut waits = Vec::new();
        for (lock, queue) in self.queues().by_lock.iter().filter(|(lock, _)| lock.tenant == *tenant) {
            let waiting = queue.values().filter_map(|waiter| Some((waiter.mode, waiter.waits.as_ref()?)));
            waits.extend(waiting.zip(1..).map(|((mode, who), place)| LockWait {
                lock: LockName::clone(lock),
                mode,
                run: who.run,
                task: who.task.clone(),
                since: who.since,
                place,
            }));
        }
        waits.sort_by(|a, b| (&a.lock.name, a.place).cmp(&(&b.lock.name, b.place)));
        waits
    }

    /// Returns whether there are neither queues nor holders.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let queues = self.queues();
        queues.by_lock.is_empty() && queues.held.is_empty()
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        // Every change is one insertion or removal, so the maps are whole even after a panic with the guard held.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns whether it is this place's turn to ask.
    pub fn is_first(&self) -> bool {
        let queues = self.waits.queues();
        queues.by_lock.get(&self.lock).and_then(|queue| queue.get(&self.ticket)).is_some_and(|waiter| waiter.in_front)
    }

    /// Returns whether a run before this place waits, rather than asking just now.
    fn follows_a_waiting_run(&self) -> bool {
        let queues = self.waits.queues();
        queues
            .by_lock
            .get(&self.lock)
            .is_some_and(|queue| queue.range(..self.ticket).any(|(_, before)| before.waits.is_some()))
    }

    /// Completes when it is this place's turn to ask, or as soon as a run before it waits.
    pub async fn turn_unless_waited(&self) {
        while !self.is_first() && !self.follows_a_waiting_run() {
            self.fronted.notified().await;
        }
    }

    /// Completes when it is this place's turn to ask. May be dropped and called again.
    pub async fn turn(&self) {
        while !self.is_first() {
            // The permit that `notify_one` leaves behind makes a notification between the check and the wait safe.
            self.fronted.notified().await;
        }
    }

    /// Notes that the run of `who` waits here from now on. Called once for a place.
    ///
    /// # Errors
    ///
    /// [`Deadlock`] if that closes a circle of runs that wait for one another; the run does not wait then.
    ///
    /// The error goes to the run that began to wait last. The locks that a waiting run holds and the runs before it
    /// stay the same until its wait ends, so a circle closes only when its last member begins to wait.
    pub fn wait(&self, who: WaitingRun) -> Result<(), Deadlock> {
        let mut queues = self.waits.queues();
        let Queues { by_lock, held, .. } = &mut *queues;
        let Some(waiter) = by_lock.get_mut(&self.lock).and_then(|queue| queue.get_mut(&self.ticket)) else {
            return Ok(());
        };
        for (lock, mode) in &who.holds {
            let holder = Holder { ticket: self.ticket, mode: *mode, waits_for: Arc::clone(&self.lock) };
            held.entry(Arc::clone(lock)).or_default().push(holder);
        }
        waiter.waits = Some(who);
        if let Some(queue) = by_lock.get(&self.lock) {
            // Those that wait themselves take no notice of it.
            let impatient = queue.range(self.ticket + 1..).filter(|(_, after)| after.waits.is_none());
            impatient.for_each(|(_, after)| after.fronted.notify_one());
        }
        match graph::circle(&queues, &self.lock, self.ticket) {
            None => Ok(()),
            Some(circle) => {
                queues.end_wait(&self.lock, self.ticket);
                Err(circle)
            }
        }
    }
}

impl Queues {
    /// Ends the wait of the run with `ticket`, which may still be in the queue.
    fn end_wait(&mut self, lock: &LockName, ticket: u64) {
        let waiter = self.by_lock.get_mut(lock).and_then(|queue| queue.get_mut(&ticket));
        let Some(who) = waiter.and_then(|waiter| waiter.waits.take()) else { return };
        for (lock, _) in &who.holds {
            if let Some(holders) = self.held.get_mut(lock) {
                holders.retain(|holder| holder.ticket != ticket);
                if holders.is_empty() {
                    self.held.remove(lock);
                }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.waits.queues();
        queues.end_wait(&self.lock, self.ticket);
        if let Some(queue) = queues.by_lock.get_mut(&self.lock) {
            queue.remove(&self.ticket);
            if queue.is_empty() {
                queues.by_lock.remove(&self.lock);
            } else {
                notify_front(queue);
            }
        }
    }
}

/// Notifies the runs whose turn it has become.
fn notify_front(queue: &mut BTreeMap<u64, Waiter>) {
    let mut all_share = true;
    for (position, waiter) in queue.values_mut().enumerate() {
        all_share &= waiter.mode == LockMode::Shared;
        if position > 0 && !all_share {
            break;
        }
        if !waiter.in_front {
            waiter.in_front = true;
            waiter.fronted.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::testing::{named, soon};

    use LockMode::{Exclusive, Shared};

    #[test]
    fn waiters_get_to_the_front_in_their_order_of_arrival() {
        let waits = Arc::new(LockWaits::default());
        let places = [Exclusive, Exclusive, Shared].map(|mode| waits.enter(Arc::new(named("a")), mode));
        assert_eq!(places.each_ref().map(Place::is_first), [true, false, false]);

        let [first, second, third] = places;
        drop(first);
        assert!(second.is_first() && !third.is_first());

        drop(second);
        assert!(third.is_first());
    }

    #[test]
    fn sharers_get_to_the_front_together_but_do_not_overtake() {
        let waits = Arc::new(LockWaits::default());
        let places = [Shared, Shared, Exclusive, Shared].map(|mode| waits.enter(Arc::new(named("a")), mode));
        assert_eq!(places.each_ref().map(Place::is_first), [true, true, false, false]);

        let [first, second, third, fourth] = places;
        drop(first);
        assert!(second.is_first() && !third.is_first());
        drop(second);
        assert!(third.is_first() && !fourth.is_first());
    }

    #[test]
    fn a_waiter_that_leaves_from_the_middle_is_stepped_over() {
        let waits = Arc::new(LockWaits::default());
        let places = [Shared, Exclusive, Shared].map(|mode| waits.enter(Arc::new(named("a")), mode));

        let [first, second, third] = places;
        drop(second);

        assert!(first.is_first() && third.is_first());
    }

    #[test]
    fn queues_of_other_locks_and_left_queues_do_not_count() {
        let waits = Arc::new(LockWaits::default());
        let first = waits.enter(Arc::new(named("a")), Exclusive);
        let other = waits.enter(Arc::new(named("b")), Exclusive);
        assert!(first.is_first() && other.is_first());

        drop(first);
        drop(other);

        assert_eq!(waits.waiting(&named("a")), 0);
        assert!(waits.is_empty(), "an empty queue takes memory");
    }

    #[tokio::test]
    async fn a_waiter_is_notified_of_its_turn() {
        let waits = Arc::new(LockWaits::default());
        let first = waits.enter(Arc::new(named("a")), Exclusive);
        let second = waits.enter(Arc::new(named("a")), Exclusive);
        assert!(futures_util::poll!(std::pin::pin!(second.turn())).is_pending());

        let told = tokio::spawn(async move { second.turn().await });
        drop(first);

        soon(told).await.unwrap();
    }

    #[tokio::test]
    async fn a_run_that_does_not_wait_learns_that_one_before_it_does() {
        let waits = Arc::new(LockWaits::default());
        let first = waits.enter(Arc::new(named("a")), Exclusive);
        let [second, third] = [Shared, Shared].map(|mode| waits.enter(Arc::new(named("a")), mode));
        let who = WaitingRun {
            run: RunId(1),
            task: crate::testkit::name("a"),
            since: Timestamp::from_millis(1),
            holds: Vec::new(),
        };
        let mut turn = std::pin::pin!(second.turn_unless_waited());
        assert!(futures_util::poll!(turn.as_mut()).is_pending(), "the first asks just now");

        first.wait(who).unwrap();
        soon(turn).await;
        assert!(!second.is_first());
        soon(third.turn_unless_waited()).await;

        drop(first);
        soon(third.turn_unless_waited()).await;
        assert!(third.is_first());
    }
}
