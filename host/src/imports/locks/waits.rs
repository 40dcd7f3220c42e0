//! Who waits for which lock on this host, in the order they came.
//!
//! The store gives a free lock to whoever asks first. So that this is not luck, only those in front of a name's queue
//! ask: the first, and with it those right behind it if all of them share. The queue grants nothing and holds nothing;
//! leaving it (by drop, wherever a guest was ended) is what lets the next ones ask.
//!
//! Those who really wait say so ([`Place::wait`]): who they are, and what they hold meanwhile. That is all that [`graph`]
//! needs to find a circle, and who gets a lock at once has no part in it.
//!
//! [`graph`]: super::graph

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::graph::{self, Deadlock};
use crate::run::RunId;
use crate::store::{LockMode, LockName, LockWait};
use crate::task::Name;
use crate::time::Timestamp;

/// The queues of all locks that are waited for on this host.
#[derive(Debug, Default)]
pub struct LockWaits {
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
pub(super) struct Queues {
    next_ticket: u64,
    pub(super) by_lock: HashMap<Arc<LockName>, BTreeMap<u64, Waiter>>,
    /// What those who wait hold meanwhile, by lock.
    pub(super) held: HashMap<Arc<LockName>, Vec<Holder>>,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) mode: LockMode,
    in_front: bool,
    /// Told once, when `in_front` becomes true.
    fronted: Arc<Notify>,
    /// Set once it waits. Who was only just let in to ask, or has no patience, does not.
    pub(super) waits: Option<Waits>,
}

/// A run that waits.
#[derive(Clone, Debug)]
pub struct Waits {
    /// Which.
    pub run: RunId,
    /// Of which task.
    pub task: Name,
    /// Since when.
    pub since: Timestamp,
    /// What it holds, and goes on to hold for as long as it waits.
    pub holds: Vec<(Arc<LockName>, LockMode)>,
}

/// A run that waits and holds a lock.
#[derive(Debug)]
pub(super) struct Holder {
    /// Its ticket where it waits.
    pub(super) ticket: u64,
    /// How it holds it.
    pub(super) mode: LockMode,
    /// What it waits for.
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
    /// Queue up for `lock`.
    pub fn enter(self: &Arc<Self>, lock: Arc<LockName>, mode: LockMode) -> Place {
        let mut queues = self.queues();
        let ticket = queues.next_ticket;
        queues.next_ticket += 1;
        let fronted = Arc::new(Notify::new());
        let queue = queues.by_lock.entry(Arc::clone(&lock)).or_default();
        queue.insert(ticket, Waiter { mode, in_front: false, fronted: Arc::clone(&fronted), waits: None });
        bring_forward(queue);
        drop(queues);
        Place { waits: Arc::clone(self), lock, ticket, fronted }
    }

    /// How many stand in the queue of `lock`, those who are asking for it right now included.
    pub fn waiting(&self, lock: &LockName) -> usize {
        self.queues().by_lock.get(lock).map_or(0, BTreeMap::len)
    }

    /// The runs of a tenant that wait for locks, by lock, in the order they will be served.
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

    /// Whether nothing is known of anybody.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let queues = self.queues();
        queues.by_lock.is_empty() && queues.held.is_empty()
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        // Whoever panicked while it held the guard left whole maps: every change is one insertion or removal.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether it is this one's turn to ask.
    pub fn in_front(&self) -> bool {
        let queues = self.waits.queues();
        queues.by_lock.get(&self.lock).and_then(|queue| queue.get(&self.ticket)).is_some_and(|waiter| waiter.in_front)
    }

    /// Completes when it is this one's turn to ask. May be dropped and called again.
    pub async fn turn(&self) {
        while !self.in_front() {
            // The permit that `notify_one` leaves behind makes this safe between the look and the wait.
            self.fronted.notified().await;
        }
    }

    /// From now on the run of `who` waits here. Said once for a place.
    ///
    /// # Errors
    ///
    /// [`Deadlock`] if that closes a circle of runs that wait for one another; nobody waits here then.
    ///
    /// Who is told is the last to begin to wait, the youngest: what holds of one that waits (what it holds, who is before
    /// it) is the same until it ceases to wait, so that a circle closes only when its last member begins to wait.
    pub fn wait(&self, who: Waits) -> Result<(), Deadlock> {
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
        match graph::circle(&queues, &self.lock, self.ticket) {
            None => Ok(()),
            Some(circle) => {
                queues.ceases(&self.lock, self.ticket);
                Err(circle)
            }
        }
    }
}

impl Queues {
    /// The one with `ticket` does not wait any more; it may still stand in the queue.
    fn ceases(&mut self, lock: &LockName, ticket: u64) {
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
        queues.ceases(&self.lock, self.ticket);
        if let Some(queue) = queues.by_lock.get_mut(&self.lock) {
            queue.remove(&self.ticket);
            if queue.is_empty() {
                queues.by_lock.remove(&self.lock);
            } else {
                bring_forward(queue);
            }
        }
    }
}

/// Tell those whose turn it has become.
fn bring_forward(queue: &mut BTreeMap<u64, Waiter>) {
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
    fn those_who_wait_come_to_the_front_in_the_order_they_came() {
        let waits = Arc::new(LockWaits::default());
        let places = [Exclusive, Exclusive, Shared].map(|mode| waits.enter(Arc::new(named("a")), mode));
        assert_eq!(places.each_ref().map(Place::in_front), [true, false, false]);

        let [first, second, third] = places;
        drop(first);
        assert!(second.in_front() && !third.in_front());

        drop(second);
        assert!(third.in_front());
    }

    #[test]
    fn those_who_share_come_to_the_front_together_but_do_not_overtake() {
        let waits = Arc::new(LockWaits::default());
        let places = [Shared, Shared, Exclusive, Shared].map(|mode| waits.enter(Arc::new(named("a")), mode));
        assert_eq!(places.each_ref().map(Place::in_front), [true, true, false, false]);

        let [first, second, third, fourth] = places;
        drop(first);
        assert!(second.in_front() && !third.in_front());
        drop(second);
        assert!(third.in_front() && !fourth.in_front());
    }

    #[test]
    fn who_leaves_from_the_middle_is_stepped_over() {
        let waits = Arc::new(LockWaits::default());
        let places = [Shared, Exclusive, Shared].map(|mode| waits.enter(Arc::new(named("a")), mode));

        let [first, second, third] = places;
        drop(second);

        assert!(first.in_front() && third.in_front());
    }

    #[test]
    fn queues_of_other_locks_and_left_queues_take_no_part() {
        let waits = Arc::new(LockWaits::default());
        let first = waits.enter(Arc::new(named("a")), Exclusive);
        let other = waits.enter(Arc::new(named("b")), Exclusive);
        assert!(first.in_front() && other.in_front());

        drop(first);
        drop(other);

        assert_eq!(waits.waiting(&named("a")), 0);
        assert!(waits.is_empty(), "a queue that nobody stands in takes memory");
    }

    #[tokio::test]
    async fn who_waits_is_told_of_its_turn() {
        let waits = Arc::new(LockWaits::default());
        let first = waits.enter(Arc::new(named("a")), Exclusive);
        let second = waits.enter(Arc::new(named("a")), Exclusive);
        assert!(futures_util::poll!(std::pin::pin!(second.turn())).is_pending());

        let told = tokio::spawn(async move { second.turn().await });
        drop(first);

        soon(told).await.unwrap();
    }
}
