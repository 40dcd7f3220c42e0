//! Lets tests that depend on the clock run alone, and all others together.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

static HOSTS: Mutex<Hosts> = Mutex::new(Hosts { in_company: 0, alone: false });
static CHANGED: Condvar = Condvar::new();

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

struct Hosts {
    in_company: usize,
    alone: bool,
}

/// While this is held, no other test has a host.
pub(crate) struct Alone(());

/// While this is held, no test is alone.
pub(crate) struct InCompany(());

/// Waits until no other test has a host, and keeps it so.
pub(crate) fn alone() -> Alone {
    let mut hosts = hosts();
    while hosts.alone || hosts.in_company > 0 {
        hosts = CHANGED.wait(hosts).unwrap_or_else(PoisonError::into_inner);
    }
    hosts.alone = true;
    ALONE.set(true);
    Alone(())
}

/// Waits until no other test is alone. Tests that wait to be alone are overtaken, because a test may have several
/// hosts.
pub(crate) fn in_company() -> Option<InCompany> {
    if ALONE.get() {
        return None;
    }
    let mut hosts = hosts();
    while hosts.alone {
        hosts = CHANGED.wait(hosts).unwrap_or_else(PoisonError::into_inner);
    }
    hosts.in_company += 1;
    Some(InCompany(()))
}

fn hosts() -> MutexGuard<'static, Hosts> {
    HOSTS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Alone {
    fn drop(&mut self) {
        ALONE.set(false);
        hosts().alone = false;
        CHANGED.notify_all();
    }
}

impl Drop for InCompany {
    fn drop(&mut self) {
        hosts().in_company -= 1;
        CHANGED.notify_all();
    }
}
