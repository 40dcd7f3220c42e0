//! Provides the handle and the order of an attempt for unit tests, beside the fixtures of `sexton-testkit`.

use std::sync::Arc;

use sexton_domain::run::ClaimKey;
use sexton_domain::task::{Task, TaskKey};
use sexton_domain::time::Timestamp;
pub(crate) use sexton_store::testkit::*;
pub(crate) use sexton_testkit::fixtures::*;

use crate::attempt::{Order, RunHandle};

/// Returns the handle of an attempt that keeps no log.
pub(crate) fn handle(claim: ClaimKey, task: TaskKey) -> Arc<RunHandle> {
    Arc::new(RunHandle::new(claim, task, 0))
}

/// Returns the order to carry out a run of `task` that was due and claimed at `now`.
pub(crate) fn order(key: ClaimKey, task: &Arc<Task>, now: Timestamp) -> Order {
    Order {
        claim: Arc::new(claim(key, task, now)),
        task: Arc::clone(task),
        handle: Arc::new(RunHandle::new(key, task.key.clone(), task.limits.log)),
    }
}
