//! The locks that an attempt holds: those to which its guest has handles, and that of its task.

use std::collections::HashMap;
use std::sync::Arc;

use sexton_store::{LockKind, LockMode, LockName};

use super::super::{ImportsCtx, State};

/// A lock of a run.
#[derive(Debug)]
pub struct HeldLock {
    pub(super) lock: Arc<LockName>,
    pub(super) fence: u64,
}

/// The locks that the attempt holds. If its guest asked for one of them again, it would wait for itself.
#[derive(Debug, Default)]
pub(super) struct Held(pub(super) HashMap<Arc<LockName>, LockMode>);

impl State for Held {
    /// Begins with the lock of the task, which the host took before there was a guest.
    fn begin(ctx: &ImportsCtx) -> Self {
        let lock = ctx.task.lock.as_ref();
        Self(
            lock.map(|lock| (Arc::new(ctx.lock_name(LockKind::Named, lock.name.clone())), lock.mode))
                .into_iter()
                .collect(),
        )
    }
}
