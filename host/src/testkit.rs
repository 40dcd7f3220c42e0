//! Provides the handle of an attempt for unit tests, beside the fixtures of `sexton-testkit` and of the store.

use std::sync::Arc;

use sexton_domain::run::ClaimKey;
use sexton_domain::task::TaskKey;
use sexton_runtime::attempt::RunHandle;
pub(crate) use sexton_store::testkit::*;
pub(crate) use sexton_testkit::fixtures::*;

/// Returns the handle of an attempt that keeps no log.
pub(crate) fn handle(claim: ClaimKey, task: TaskKey) -> Arc<RunHandle> {
    Arc::new(RunHandle::new(claim, task, 0))
}
