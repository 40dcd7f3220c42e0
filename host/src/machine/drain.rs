//! Holds the duty of this host: it takes runs, or it drains and finishes those it has, or another process has its name
//! and it must end. The store decides (`membership`), and every part that takes runs obeys. The duty is forgotten with
//! the process.
//!
//! Unlike a [pause](super::host_pause), a drain does not keep due runs from being made: other hosts take them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

use sexton_domain::run::HeldBack;

/// The duty of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duty {
    /// The host takes runs.
    #[default]
    Up,
    /// The host takes no runs, and finishes those it has.
    Draining,
    /// Another process has the host's name. The host takes no runs, and ends.
    Replaced,
}

/// Shares the duty of a host between the part that learns it and those that obey it.
#[derive(Debug, Default)]
pub struct HostDuty {
    duty: watch::Sender<Duty>,
    /// The number of claims on their way, and of attempts until their slot is released.
    busy: Arc<AtomicUsize>,
    /// Notified when the store must be asked at once.
    asked: Notify,
}

/// Counts a claim on its way, or an attempt, until this is dropped.
#[derive(Debug)]
pub struct Busy(Arc<AtomicUsize>);

impl HostDuty {
    /// Returns the current duty.
    pub fn now(&self) -> Duty {
        *self.duty.borrow()
    }

    /// Returns a receiver of changes.
    pub fn changes(&self) -> watch::Receiver<Duty> {
        self.duty.subscribe()
    }

    /// Sets the duty. A host that was replaced stays replaced. Returns whether the duty changed.
    pub fn set(&self, duty: Duty) -> bool {
        self.duty.send_if_modified(|now| {
            let another = *now != duty && *now != Duty::Replaced;
            if another {
                *now = duty;
            }
            another
        })
    }

    /// Completes when another process has the host's name.
    pub async fn replaced(&self) {
        let mut changes = self.changes();
        // An error would mean that the sender is gone, but it is borrowed here.
        drop(changes.wait_for(|duty| *duty == Duty::Replaced).await);
    }

    /// Counts work that a draining host has to finish. Callers must call this before they read the duty: then either
    /// they see the new duty, or the drain sees this count.
    pub fn busy(&self) -> Busy {
        self.busy.fetch_add(1, Ordering::SeqCst);
        Busy(Arc::clone(&self.busy))
    }

    /// Returns the amount of counted work. It is zero once a draining host is done.
    pub fn under_way(&self) -> usize {
        self.busy.load(Ordering::SeqCst)
    }

    /// Has the store asked at once what it wants of this host.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// Completes when the store must be asked at once.
    pub async fn look_requested(&self) {
        self.asked.notified().await;
    }

    /// Returns the reason why no runs start here, if the duty is one.
    pub fn held_back(&self) -> Option<HeldBack> {
        let reason = match self.now() {
            Duty::Up => return None,
            Duty::Draining => "this host is draining and takes no runs",
            Duty::Replaced => "another process has the name of this host, which ends",
        };
        Some(HeldBack { reason: reason.to_owned(), until: None })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_was_replaced_stays_so() {
        let duty = HostDuty::default();

        assert!(!duty.set(Duty::Up) && duty.set(Duty::Draining) && duty.set(Duty::Up));
        assert_eq!(duty.held_back(), None);
        assert!(duty.set(Duty::Replaced) && !duty.set(Duty::Up) && !duty.set(Duty::Replaced));

        assert_eq!(duty.now(), Duty::Replaced);
    }

    #[test]
    fn claims_and_attempts_are_counted_until_they_end() {
        let duty = HostDuty::default();

        let (claim, attempt) = (duty.busy(), duty.busy());
        assert_eq!(duty.under_way(), 2);
        drop(claim);
        drop(attempt);

        assert_eq!(duty.under_way(), 0);
    }
}
