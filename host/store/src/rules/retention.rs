//! Bounds how much history every store looks at and keeps.

/// The number of retained runs after which a task's search for old runs stops. Runs end in nearly the order in which
/// they were made, and a run that is overlooked now is found when the ones before it have gone.
pub(crate) const LOOK_BEHIND: usize = 100;

/// The number of latest attempts at a run that are kept besides the first. A run may be deferred for ever.
pub(crate) const ATTEMPTS: u32 = 100;
