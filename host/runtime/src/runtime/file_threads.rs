//! Provides threads for the file operations of guests, which the system offers as blocking calls.
//!
//! Such a call may block for good: on a network filesystem whose server is gone it outlasts the run that made it, and
//! cannot be ended. So the threads form small pools, and all runs of a task use the same pool: a task whose files hang
//! can fill its own pool, but not those of other tasks.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Builder, Runtime};

use sexton_domain::task::TaskKey;

use super::RuntimeError;

/// Pools of a host. When more tasks than this use files at the same time, some of them share a pool.
const POOLS: usize = 32;

/// Threads of a pool. A call takes some ten microseconds unless its disk is slow, so a few threads serve many runs.
const THREADS: usize = 4;

/// The pools of a host.
#[derive(Debug)]
pub(super) struct FileThreads {
    pools: Vec<Arc<Pool>>,
    /// The pool that each task uses. An entry is kept while any part of its pool is in use, so that a task whose calls
    /// hang does not get fresh threads with its next run.
    assigned: Mutex<HashMap<TaskKey, usize>>,
}

impl FileThreads {
    /// Makes the pools. Their threads start when they are needed.
    pub(super) fn new() -> Result<Self, RuntimeError> {
        let pools = (0..POOLS).map(|_| Pool::new(THREADS).map(Arc::new)).collect::<std::io::Result<_>>();
        Ok(Self { pools: pools.map_err(RuntimeError::Thread)?, assigned: Mutex::default() })
    }

    /// Returns the pool of `task`.
    pub(super) fn of(&self, task: &TaskKey) -> Arc<Pool> {
        // The map is whole whenever the lock is free.
        let mut assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        let n = assigned.get(task).copied().unwrap_or_else(|| {
            assigned.retain(|_, n| self.pools[*n].in_use() > 0);
            let quietest = (0..self.pools.len()).min_by_key(|n| self.pools[*n].in_use()).unwrap_or_default();
            assigned.insert(task.clone(), quietest);
            quietest
        });
        Arc::clone(&self.pools[n])
    }
}

/// A few threads on which calls may block.
pub(super) struct Pool {
    /// Only its threads for blocking calls are used; it is never driven. `None` once the pool is dropped.
    runtime: Option<Runtime>,
    threads: Arc<AtomicUsize>,
}

impl Pool {
    fn new(most: usize) -> std::io::Result<Self> {
        let threads = Arc::<AtomicUsize>::default();
        let (started, stopped) = (Arc::clone(&threads), Arc::clone(&threads));
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(most)
            .thread_name("sexton-files")
            .on_thread_start(move || {
                started.fetch_add(1, Ordering::Relaxed);
            })
            .on_thread_stop(move || {
                stopped.fetch_sub(1, Ordering::Relaxed);
            })
            .build()?;
        Ok(Self { runtime: Some(runtime), threads })
    }

    /// Counts the runs that use the pool and the threads that it has.
    fn in_use(self: &Arc<Self>) -> usize {
        (Arc::strong_count(self) - 1) + self.threads.load(Ordering::Relaxed)
    }

    /// Does `work` with this pool's runtime as the current one, so that its blocking calls run on the pool's threads.
    pub(super) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.as_ref().map(Runtime::enter);
        work()
    }

    /// Waits for `future`, which is polled inside of [`Self::enter`].
    pub(super) async fn within<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| self.enter(|| future.as_mut().poll(cx))).await
    }

    /// Does `work` on one of the threads. Dropping the future gives up work that has not begun.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.enter(|| wasmtime_wasi::runtime::spawn_blocking(work)).await
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Does not wait, because a call that hangs would hang the host.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{FileThreads, POOLS, THREADS};
    use sexton_domain::task::{Name, TaskKey};

    fn task(n: usize) -> TaskKey {
        TaskKey { tenant: Name::default_tenant(), task: Name::new(&format!("task-{n}")).unwrap() }
    }

    /// Starts calls that block until the sender is dropped, for runs of `task` that are given up at once.
    fn hang(threads: &FileThreads, task: &TaskKey, calls: usize) -> mpsc::Sender<()> {
        let (free, blocked) = mpsc::channel::<()>();
        let blocked = std::sync::Arc::new(std::sync::Mutex::new(blocked));
        let (begun, begins) = mpsc::channel();
        for _ in 0..calls {
            let (blocked, begun) = (std::sync::Arc::clone(&blocked), begun.clone());
            let call = threads.of(task).enter(|| {
                tokio::task::spawn_blocking(move || {
                    let _ = begun.send(());
                    drop(blocked.lock().map(|blocked| blocked.recv()));
                })
            });
            drop(call);
        }
        for _ in 0..calls.min(THREADS) {
            begins.recv().unwrap();
        }
        free
    }

    #[tokio::test]
    async fn a_task_whose_calls_hang_does_not_block_the_files_of_others() {
        let threads = FileThreads::new().unwrap();
        let hung = hang(&threads, &task(0), 100);

        for n in 1..=3 * POOLS {
            assert_eq!(threads.of(&task(n)).run(move || n).await, n);
        }

        // The next run of the hung task finds no fresh threads, however many tasks have come and gone.
        let pool = threads.of(&task(0));
        let waits = tokio::time::timeout(Duration::from_millis(50), pool.run(|| ())).await;
        assert!(waits.is_err(), "it was given more than its share");
        drop((hung, waits));
        pool.run(|| ()).await;
    }

    #[tokio::test]
    async fn tasks_are_spread_over_the_pools() {
        let threads = FileThreads::new().unwrap();

        let pools: Vec<_> = (0..POOLS).map(|n| threads.of(&task(n))).collect();

        for (n, pool) in pools.iter().enumerate() {
            assert!(pools[..n].iter().all(|other| !std::sync::Arc::ptr_eq(pool, other)), "{n} shares one");
        }
    }
}
