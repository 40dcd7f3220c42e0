//! A lock to which a guest holds a handle.

use std::sync::Arc;

use sexton_store::LockName;

/// A lock of a run.
#[derive(Debug)]
pub struct HeldLock {
    pub(super) lock: Arc<LockName>,
    pub(super) fence: u64,
}
