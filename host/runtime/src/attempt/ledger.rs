//! Counts the memory of one attempt: its guest's own, and what the host holds for the guest.
//!
//! A guest that cannot grow its own memory can still have the host keep things: bodies that are never sent, field
//! lists, values, listings, handles. All of it counts against the task's memory limit, in one of three ways:
//!
//! - linear memory, tables and core instances, as wasmtime asks for them (`limits`);
//! - a [`Charge`] for everything that the host makes or wraps itself, given back wherever the thing is dropped;
//! - counting for what lies in the table of handles and cannot carry a charge ([`Ledger::expect_handles`],
//!   [`Ledger::set_handle_bytes`]): each call says how much it may add at most, and once that is a lot, the table is counted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::all_memory::AllMemory;

/// Bytes that calls may add to the table of handles before it is counted: little compared with any memory limit, and
/// much compared with what one call adds.
const UNSEEN: u64 = 256 << 10;

/// A large table is counted only when this part of it may be new, so that counting costs each call the same.
const UNSEEN_PART: u64 = 8;

/// The reason why a guest gets no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChargeError {
    /// The task's own limit is reached.
    Task {
        /// In bytes.
        limit: u64,
        /// Bytes that the host held for the guest at that time.
        held: u64,
    },
    /// The task's own limit has no room for the tables and core instances of its component.
    State {
        /// In bytes.
        limit: u64,
        /// Bytes that they need.
        needed: u64,
    },
    /// The limit of all runs of the host together is reached.
    Host {
        /// In bytes.
        limit: u64,
    },
}

impl fmt::Display for ChargeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task { limit, held: 0 } => write!(f, "asked for more than its {limit} bytes of memory"),
            Self::Task { limit, held } => write!(
                f,
                "asked for more than its {limit} bytes of memory, of which the host held {held} for it in handles, \
                 requests, streams, values, tables and core instances"
            ),
            Self::State { limit, needed } => write!(
                f,
                "asked for more than its {limit} bytes of memory: the host would hold {needed} for it in tables and core \
                 instances"
            ),
            Self::Host { limit } => write!(
                f,
                "asked for memory when the runs of this host together held all {limit} bytes that they may have"
            ),
        }
    }
}

impl std::error::Error for ChargeError {}

impl ChargeError {
    /// Returns the reason for a guest whose tables and core instances need so many bytes.
    pub(crate) fn for_state(self, needed: u64) -> Self {
        match self {
            Self::Task { limit, .. } => Self::State { limit, needed },
            other => other,
        }
    }
}

/// The account of one attempt.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit: u64,
    all: Arc<AllMemory>,
    /// Linear memory and what the host holds, in bytes.
    total: AtomicU64,
    peak: AtomicU64,
    /// The part of `total` that is linear memory.
    linear: AtomicU64,
    /// The part of `total` that the table of handles held when it was last counted.
    table: AtomicU64,
    /// Bytes that calls may have added to the table since then.
    unseen: AtomicU64,
}

impl Ledger {
    /// Creates the account of an attempt that may have `limit` bytes, and shares `all` with the other attempts.
    pub(crate) fn new(limit: u64, all: &Arc<AllMemory>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            all: Arc::clone(all),
            total: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            linear: AtomicU64::new(0),
            table: AtomicU64::new(0),
            unseen: AtomicU64::new(0),
        })
    }

    /// Returns the attempt's memory now, in bytes.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Returns the most memory that the attempt had at any time, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Returns what the host holds now, in bytes.
    pub(crate) fn held(&self) -> u64 {
        self.total().saturating_sub(self.linear.load(Ordering::Relaxed))
    }

    /// Returns the error for a guest that asks for more than its limit.
    pub(crate) fn no_room(&self) -> ChargeError {
        ChargeError::Task { limit: self.limit, held: self.held() }
    }

    fn take(&self, bytes: u64) -> Result<(), ChargeError> {
        let fits = |total: u64| total.checked_add(bytes).filter(|total| *total <= self.limit);
        let before = self.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| self.no_room())?;
        if !self.all.take(bytes) {
            self.total.fetch_sub(bytes, Ordering::Relaxed);
            return Err(ChargeError::Host { limit: self.all.limit() });
        }
        self.peak.fetch_max(before + bytes, Ordering::Relaxed);
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.total.fetch_sub(bytes, Ordering::Relaxed);
        self.all.give_back(bytes);
    }

    /// Adds `bytes` of linear memory, which shrinks only at the end of the attempt.
    pub(crate) fn grow(&self, bytes: u64) -> Result<(), ChargeError> {
        self.take(bytes)?;
        self.linear.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Adds `bytes` that the host holds for the guest until the end of the attempt.
    ///
    /// # Errors
    ///
    /// [`ChargeError`] if that is more than the attempt may have.
    pub(crate) fn keep(&self, bytes: u64) -> Result<(), ChargeError> {
        self.take(bytes)
    }

    /// Charges `bytes` that the host holds for the guest, until the charge is dropped.
    ///
    /// # Errors
    ///
    /// [`ChargeError`] if that is more than the attempt may have.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charge, ChargeError> {
        let mut charge = Charge { ledger: Arc::clone(self), bytes: 0 };
        charge.grow(bytes)?;
        Ok(charge)
    }

    /// Wraps `bytes` so that they are charged while any part of them exists.
    ///
    /// # Errors
    ///
    /// As [`Ledger::charge`].
    pub(crate) fn charged(self: &Arc<Self>, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<Bytes, ChargeError> {
        let charge = self.charge(bytes.as_ref().len() + size_of::<Charged<Vec<u8>>>())?;
        Ok(Bytes::from_owner(Charged { bytes, _charge: charge }))
    }

    /// Notes that a call may add up to `bytes` to the table of handles.
    pub(crate) fn expect_handles(&self, bytes: usize) {
        self.unseen.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns whether calls may have added so much to the table that it must be counted again.
    pub(crate) fn is_due(&self) -> bool {
        let table = self.table.load(Ordering::Relaxed);
        self.unseen.load(Ordering::Relaxed) > UNSEEN.max(table / UNSEEN_PART)
    }

    /// Records that the table of handles holds `bytes` now.
    ///
    /// # Errors
    ///
    /// [`ChargeError`] if that is more than the attempt may have; the attempt must end then.
    pub(crate) fn set_handle_bytes(&self, bytes: u64) -> Result<(), ChargeError> {
        let before = self.table.load(Ordering::Relaxed);
        match bytes.checked_sub(before) {
            Some(more) => self.take(more)?,
            None => self.give_back(before - bytes),
        }
        self.table.store(bytes, Ordering::Relaxed);
        self.unseen.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Charges hold a reference to the ledger. The rest is linear memory and the table, which were dropped before
        // it.
        self.all.give_back(self.total());
    }
}

/// Bytes that the host holds for a guest. Dropping the charge gives them back.
#[derive(Debug)]
pub(crate) struct Charge {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Charge {
    /// Adds `bytes` to the charge.
    ///
    /// # Errors
    ///
    /// [`ChargeError`] if that is more than the attempt may have. The charge stays as it was.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), ChargeError> {
        self.ledger.take(bytes as u64)?;
        self.bytes += bytes as u64;
        Ok(())
    }

    /// Takes `bytes` off the charge.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = self.bytes.min(bytes as u64);
        self.bytes -= bytes;
        self.ledger.give_back(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.ledger.give_back(self.bytes);
    }
}

/// Holds bytes together with their charge.
struct Charged<T> {
    bytes: T,
    _charge: Charge,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Charged<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(limit: u64, all: u64) -> (Arc<Ledger>, Arc<AllMemory>) {
        let all = Arc::new(AllMemory::of(all));
        (Ledger::new(limit, &all), all)
    }

    #[test]
    fn linear_memory_and_what_the_host_holds_share_one_limit() {
        let (ledger, _) = ledger(1000, 5000);
        ledger.grow(600).unwrap();

        let body = ledger.charge(300).unwrap();

        assert_eq!(ledger.charge(101).unwrap_err(), ChargeError::Task { limit: 1000, held: 300 });
        assert_eq!(ledger.grow(101), Err(ChargeError::Task { limit: 1000, held: 300 }));
        drop(body);
        assert_eq!((ledger.total(), ledger.held(), ledger.peak()), (600, 0, 900));
        ledger.grow(400).unwrap();
    }

    #[test]
    fn kept_bytes_count_until_the_end_of_the_attempt() {
        let (ledger, all) = ledger(1000, 1000);
        ledger.keep(700).unwrap();

        assert_eq!(ledger.held(), 700);
        assert_eq!(ledger.keep(301), Err(ChargeError::Task { limit: 1000, held: 700 }));
        assert_eq!(ledger.grow(301), Err(ChargeError::Task { limit: 1000, held: 700 }));
        drop(ledger);

        assert!(all.take(1000));
    }

    #[test]
    fn bytes_are_charged_while_any_part_of_them_exists() {
        let (ledger, _) = ledger(1000, 5000);

        let mut bytes = ledger.charged(vec![b'x'; 500]).unwrap();
        let part = bytes.split_to(10);
        drop(bytes);
        assert!(ledger.held() >= 500);
        drop(part);

        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn all_attempts_together_stay_within_the_limit_of_the_host() {
        let (first, all) = ledger(1000, 1500);
        let second = Ledger::new(1000, &all);
        first.grow(1000).unwrap();
        second.grow(500).unwrap();

        assert_eq!(second.grow(1), Err(ChargeError::Host { limit: 1500 }));
        assert_eq!(second.total(), 500);
        drop(first);
        second.grow(500).unwrap();
    }

    #[test]
    fn the_table_is_counted_again_when_it_may_have_grown_by_much() {
        let (ledger, _) = ledger(64 << 20, 64 << 20);

        ledger.expect_handles(256 << 10);
        assert!(!ledger.is_due());
        ledger.expect_handles(1);
        assert!(ledger.is_due());
        ledger.set_handle_bytes(16 << 20).unwrap();
        assert_eq!((ledger.held(), ledger.is_due()), (16 << 20, false));

        ledger.expect_handles(2 << 20);
        assert!(!ledger.is_due(), "an eighth of what there is");
        ledger.expect_handles(1);
        assert!(ledger.is_due());
        ledger.set_handle_bytes(0).unwrap();
        assert_eq!(ledger.held(), 0);
        assert_eq!(ledger.set_handle_bytes(65 << 20), Err(ChargeError::Task { limit: 64 << 20, held: 0 }));
    }

    #[test]
    fn a_charge_that_outlives_its_attempt_counts_until_it_is_dropped() {
        let (ledger, all) = ledger(1000, 1000);
        ledger.grow(100).unwrap();
        let sent = ledger.charge(200).unwrap();

        drop(ledger);
        assert!(!all.take(701));
        drop(sent);

        assert!(all.take(1000));
    }
}
