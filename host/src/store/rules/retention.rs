//! How much history is looked at and kept, in every store.

/// How many runs besides one that stays are looked at for those that are too old. Runs are over in nearly the order in which
/// they were made, and what is overlooked now is found when the ones before it have gone.
pub(in crate::store) const LOOK_BEHIND: usize = 100;

/// Attempts at a run that are kept besides the first: the latest ones. A run may be deferred for ever.
pub(in crate::store) const ATTEMPTS: u32 = 100;
