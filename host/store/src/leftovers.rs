//! Finds rows that are left over: versions of cache entries whose entry is gone, or was written anew by a program that
//! knows nothing of versions; and sets of labels that no run has any more.
//!
//! Nothing marks such rows, so all of them are looked at in turn, a page at a time.

use std::sync::atomic::{AtomicI64, Ordering};

/// Versions that are looked at at a time.
pub(crate) const PAGE: usize = 512;

/// Sets of labels that are looked at at a time. PostgreSQL looks for the runs of each in the partitions of all days.
pub(crate) const SETS: usize = 64;

/// The last row that was looked at since the store was opened, of `N` at a time.
#[derive(Debug, Default)]
pub(crate) struct Leftovers<const N: usize>(AtomicI64);

impl<const N: usize> Leftovers<N> {
    /// Returns the number of the row after which the next page begins.
    pub(crate) fn after(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns those that are left over of a `page` of rows, each with whether it is, and goes on to the next page.
    /// After the last one all begins anew.
    pub(crate) fn take(&self, page: &[(i64, bool)]) -> Vec<i64> {
        let last = page.last().filter(|_| page.len() >= N);
        self.0.store(last.map_or(0, |(row, _)| *row), Ordering::Relaxed);
        page.iter().filter(|(_, left_over)| *left_over).map(|(row, _)| *row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_versions_are_looked_at_in_turn() {
        let leftovers = Leftovers::<PAGE>::default();
        let full: Vec<_> = (1..).take(PAGE).map(|version| (version, version % 200 == 0)).collect();

        assert_eq!((leftovers.after(), leftovers.take(&full)), (0, vec![200, 400]));
        assert_eq!((leftovers.after(), leftovers.take(&[(600, false), (700, true)])), (512, vec![700]));
        assert_eq!((leftovers.after(), leftovers.take(&[])), (0, vec![]));
        assert_eq!(leftovers.after(), 0);
    }
}
