//! Who waits for which lock on this host, in the order they came.
//!
//! The store gives a free lock to whoever asks first. So that this is not luck, only those in front of a name's queue
//! ask: the first, and with it those right behind it if all of them share. The queue grants nothing and holds nothing;
//! leaving it (by drop, wherever a guest was ended) is what lets the next ones ask.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::store::{LockMode, LockName};

/// The queues of all locks that are waited for on this host.
#[derive(Debug, Default)]
pub struct LockWaits {
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    next_ticket: u64,
    by_lock: HashMap<LockName, BTreeMap<u64, Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    mode: LockMode,
    in_front: bool,
    /// Told once, when `in_front` becomes true.
    fronted: Arc<Notify>,
}

/// A place in the queue of a lock. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Place {
    waits: Arc<LockWaits>,
    lock: LockName,
    ticket: u64,
    fronted: Arc<Notify>,
}

impl LockWaits {
    /// Queue up for `lock`.
    pub fn enter(self: &Arc<Self>, lock: LockName, mode: LockMode) -> Place {
        let mut queues = self.queues();
        let ticket = queues.next_ticket;
        queues.next_ticket += 1;
        let fronted = Arc::new(Notify::new());
        let queue = queues.by_lock.entry(lock.clone()).or_default();
        queue.insert(ticket, Waiter { mode, in_front: false, fronted: Arc::clone(&fronted) });
        bring_forward(queue);
        drop(queues);
        Place { waits: Arc::clone(self), lock, ticket, fronted }
    }

    /// How many wait for `lock`, those who are asking for it right now included.
    pub fn waiting(&self, lock: &LockName) -> usize {
        self.queues().by_lock.get(lock).map_or(0, BTreeMap::len)
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
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.waits.queues();
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
        let places = [Exclusive, Exclusive, Shared].map(|mode| waits.enter(named("a"), mode));
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
        let places = [Shared, Shared, Exclusive, Shared].map(|mode| waits.enter(named("a"), mode));
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
        let places = [Shared, Exclusive, Shared].map(|mode| waits.enter(named("a"), mode));

        let [first, second, third] = places;
        drop(second);

        assert!(first.in_front() && third.in_front());
    }

    #[test]
    fn queues_of_other_locks_and_left_queues_take_no_part() {
        let waits = Arc::new(LockWaits::default());
        let first = waits.enter(named("a"), Exclusive);
        let other = waits.enter(named("b"), Exclusive);
        assert!(first.in_front() && other.in_front());

        drop(first);
        drop(other);

        assert_eq!(waits.waiting(&named("a")), 0);
        assert!(waits.queues().by_lock.is_empty(), "a queue that nobody stands in takes memory");
    }

    #[tokio::test]
    async fn who_waits_is_told_of_its_turn() {
        let waits = Arc::new(LockWaits::default());
        let first = waits.enter(named("a"), Exclusive);
        let second = waits.enter(named("a"), Exclusive);
        assert!(futures_util::poll!(std::pin::pin!(second.turn())).is_pending());

        let told = tokio::spawn(async move { second.turn().await });
        drop(first);

        soon(told).await.unwrap();
    }
}
