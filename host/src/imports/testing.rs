//! What the tests of several imports need.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Until;
use crate::run::{ClaimKey, RunId};
use crate::runtime::RunHandle;
use crate::task::{Name, TaskKey};

/// How long a test waits for what must happen, before it calls it a failure.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

pub(crate) fn task_key(task: &str) -> TaskKey {
    TaskKey { tenant: Name::default_tenant(), task: Name::new(task).unwrap() }
}

pub(crate) fn handle() -> Arc<RunHandle> {
    let key = ClaimKey { run: RunId(1), attempt: 1, fence: 1 };
    Arc::new(RunHandle::new(key, task_key("caller"), 64 << 10))
}

/// The end of a run that has `left` to go.
pub(crate) fn until(left: Duration) -> Until {
    Until::new(handle(), Instant::now() + left)
}

/// `work`, which must be done within the bound.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, work).await.expect("this should have happened by now")
}
