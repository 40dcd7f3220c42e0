//! What this host is there for: it takes runs, or it is being drained and finishes those it has, or another process has its
//! name and it has to end. The store says which (`announcer`); who takes runs heeds it. Forgotten with the process.
//!
//! Unlike a [pause](super::host_pause) it keeps nothing from being made: other hosts take what is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

use crate::run::HeldBack;

/// What a host is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duty {
    /// It takes runs.
    #[default]
    Up,
    /// It takes none, and finishes those it has.
    Draining,
    /// Another process has its name: it takes none, and ends.
    Replaced,
}

/// The duty of a host, shared by those who learn it and those who heed it.
#[derive(Debug, Default)]
pub struct HostDuty {
    duty: watch::Sender<Duty>,
    /// Claims that are on their way, and attempts until their place is given back.
    busy: Arc<AtomicUsize>,
    /// Told when the store is to be asked at once.
    asked: Notify,
}

/// A claim that is on its way, or an attempt, until this is dropped.
#[derive(Debug)]
pub struct Busy(Arc<AtomicUsize>);

impl HostDuty {
    /// What it is now.
    pub fn now(&self) -> Duty {
        *self.duty.borrow()
    }

    /// For those who heed it.
    pub fn changes(&self) -> watch::Receiver<Duty> {
        self.duty.subscribe()
    }

    /// It is `duty` from now on; a host that was replaced stays so. Returns whether it was another.
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
        // An error would say that this is gone, and it is borrowed.
        drop(changes.wait_for(|duty| *duty == Duty::Replaced).await);
    }

    /// Something is on its way that a host which drains has to finish. To be said before its duty is looked at: then either
    /// the duty is seen, or this is counted.
    pub fn busy(&self) -> Busy {
        self.busy.fetch_add(1, Ordering::SeqCst);
        Busy(Arc::clone(&self.busy))
    }

    /// How much is on its way: nothing, once a host that drains is done.
    pub fn under_way(&self) -> usize {
        self.busy.load(Ordering::SeqCst)
    }

    /// Have the store asked at once what it wants of this host.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// Completes when the store is to be asked at once.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Why nothing starts here, if that is why.
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
    fn what_is_on_its_way_is_counted_until_it_is_over() {
        let duty = HostDuty::default();

        let (claim, attempt) = (duty.busy(), duty.busy());
        assert_eq!(duty.under_way(), 2);
        drop(claim);
        drop(attempt);

        assert_eq!(duty.under_way(), 0);
    }
}
