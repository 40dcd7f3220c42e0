//! Decides about the runs that running tasks ask for.

use async_trait::async_trait;
use tracing::debug;

use super::{Ops, Principal};
use sexton_domain::run::RunId;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::tenant::BacklogLimits;
use sexton_runtime::imports::{Caller, LARGEST_VALUE, RunRefused, RunRequest, RunRequests};
use sexton_store::NewRun;
use sexton_store::backlog::Waiting;
use sexton_store::rules::runs::Request;

/// The runs that one attempt may enqueue: enough to fan out, too few to flood the store.
const MOST_RUNS: u32 = 100;

/// The runs of one task that may wait while tasks enqueue more of them. Without a bound, a task that enqueues two of
/// itself each time would let the store grow without end; behind a thousand, a run does not start soon anyway.
const MOST_WAITING: u64 = 1000;

#[async_trait]
impl RunRequests for Ops {
    async fn request_run(&self, by: &Caller, asked: RunRequest) -> Result<RunId, RunRefused> {
        let RunRequest { task, due_at, input, key, asked_before } = asked;
        if !is_granted(by, &task) {
            return Err(RunRefused::NotGranted);
        }
        let task = self.known(by, &task).ok_or(RunRefused::NoTask)?;
        let labels = self.catalog.get(&task).map(|task| task.labels.clone()).unwrap_or_default();
        let caller = &by.task.key;
        if input.len() > LARGEST_VALUE {
            return Err(RunRefused::TooLarge);
        }
        if asked_before >= MOST_RUNS {
            return Err(RunRefused::TooMany);
        }
        let now = self.clock.now();
        let limits = self.tenants.backlog(&task.tenant);
        let due_at = due_at.unwrap_or(now);
        if due_at.since(now) > limits.horizon {
            return Err(RunRefused::TooFarAhead(limits.horizon));
        }
        let waiting = self.store.waiting(task.clone()).await.map_err(RunRefused::Store)?;
        if let Some(message) = full(waiting, &task, input.len(), limits) {
            return Err(RunRefused::Full { message, lasts: waiting.runs >= MOST_WAITING });
        }
        let (caller, parent) = (caller.task.clone(), by.claim.run);
        let request = Request { task, due_at, input, key, caller, parent, labels };
        let run = NewRun::requested(request, now);
        let made = self.store.enqueue(vec![run], now).await.map_err(RunRefused::Store)?;
        let run = made.first().expect("a store answers for each run it is given").run();
        let principal = Principal::of(by);
        debug!(run.id = %run, %principal, "Made run {run}, which a task asked for");
        Ok(run)
    }
}

/// Returns whether the manifest of `by` grants it the task.
pub(super) fn is_granted(by: &Caller, task: &str) -> bool {
    by.task.grants.schedule.iter().any(|pattern| pattern.matches(task))
}

impl Principal {
    /// Returns a running task as the caller of an operation.
    pub(super) fn of(by: &Caller) -> Self {
        Self::Task(by.task.key.clone(), by.claim.run)
    }
}

impl Ops {
    /// Returns the task that `by` names, if a plugin of its tenant offers it. A pattern of grants may cover texts that
    /// are not names of tasks.
    pub(super) fn known(&self, by: &Caller, task: &str) -> Option<TaskKey> {
        let key = TaskKey { tenant: by.task.key.tenant.clone(), task: Name::new(task).ok()? };
        self.catalog.get(&key).map(|_| key)
    }
}

/// Returns why no further run of `task` with an input of `bytes` may wait, if that is so. Attempts that ask at the same
/// moment may each add one more.
fn full(waiting: Waiting, task: &TaskKey, bytes: usize, limits: BacklogLimits) -> Option<String> {
    let name = &task.task;
    if waiting.runs >= MOST_WAITING {
        return Some(format!("no further run of `{name}` was made: {MOST_WAITING} runs wait, which is the limit"));
    }
    let sums = [
        (waiting.bytes, limits.task, format!("of runs of `{name}`"), "task"),
        (waiting.tenant_bytes, limits.tenant, format!("of the runs of tenant `{}`", task.tenant), "tenant"),
    ];
    sums.into_iter().filter(|_| bytes > 0).find_map(|(used, most, whose, key)| {
        (used.saturating_add(bytes as u64) > most).then(|| {
            let most = bytesize::ByteSize::b(most).display().iec();
            format!(
                "no further run of `{name}` was made: the inputs {whose} that tasks requested and that wait may take {most} \
                 together (`[enqueued] {key}`)"
            )
        })
    })
}

#[cfg(test)]
mod tests;
