//! A lock to which a guest holds a handle.

use std::sync::Arc;

use crate::store::LockName;

/// A lock of a run.
#[derive(Debug)]
pub struct HeldLock {
    pub(super) lock: Arc<LockName>,
    pub(super) fence: u64,
}
