//! Finds versions of cache entries that are left over: their entry is gone, or was written anew by a program that knows
//! nothing of versions.
//!
//! Nothing marks such versions, so all of them are looked at in turn, a page at a time.

use std::sync::atomic::{AtomicI64, Ordering};

/// Versions that are looked at at a time.
pub(crate) const PAGE: usize = 512;

/// The last version that was looked at since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(AtomicI64);

impl Leftovers {
    /// Returns the version after which the next page begins.
    pub(crate) fn after(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns those that are left over of a `page` of versions, each with whether it is, and goes on to the next page.
    /// After the last one all begins anew.
    pub(crate) fn take(&self, page: &[(i64, bool)]) -> Vec<i64> {
        let last = page.last().filter(|_| page.len() >= PAGE);
        self.0.store(last.map_or(0, |(version, _)| *version), Ordering::Relaxed);
        page.iter().filter(|(_, left_over)| *left_over).map(|(version, _)| *version).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_versions_are_looked_at_in_turn() {
        let leftovers = Leftovers::default();
        let full: Vec<_> = (1..).take(PAGE).map(|version| (version, version % 200 == 0)).collect();

        assert_eq!((leftovers.after(), leftovers.take(&full)), (0, vec![200, 400]));
        assert_eq!((leftovers.after(), leftovers.take(&[(600, false), (700, true)])), (512, vec![700]));
        assert_eq!((leftovers.after(), leftovers.take(&[])), (0, vec![]));
        assert_eq!(leftovers.after(), 0);
    }
}
