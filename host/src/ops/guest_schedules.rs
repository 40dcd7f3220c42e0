//! Decides about the schedules that running tasks add, list and delete. A schedule is read as those of people are, by
//! [`Request::read`](sexton_domain::schedule::request::Request::read). A task changes schedules of tasks that it is
//! granted, and none that a person has added.

use async_trait::async_trait;
use tracing::debug;

use super::requests::is_granted;
use super::{Ops, Principal};
use sexton_domain::schedule::request::Requested;
use sexton_domain::schedule::routes::Target;
use sexton_domain::task::{BadName, Name, TaskKey};
use sexton_runtime::imports::{Caller, LARGEST_VALUE, ScheduleRefused, ScheduleRequest, ScheduleRequests};
use sexton_store::StoreError;
use sexton_store::added::{
    AddSchedule, Added, GuestSchedule, ScheduleError, ScheduleFilter, ScheduleInfo, ScheduleKey,
};

/// The schedules that one attempt may add: as many as the runs that it may enqueue.
const MOST_ADDED: u32 = 100;

/// The schedules of a tenant that tasks may have added. Each lasts until it is deleted, so without a bound the store
/// would grow without end.
const MOST_OF_TENANT: u64 = 1000;

/// The times that a deletion is tried while others change the schedule.
const MOST_TRIES: u32 = 3;

#[async_trait]
impl ScheduleRequests for Ops {
    async fn request_schedule(&self, by: &Caller, asked: ScheduleRequest) -> Result<bool, ScheduleRefused> {
        let ScheduleRequest { key, task, request, data, replace, asked_before } = asked;
        let key = key_of(by, &key).map_err(|why| ScheduleRefused::Bad(format!("`key`: {why}")))?;
        let task = self.granted(by, &task)?;
        if data.as_ref().map_or(0, Vec::len) > LARGEST_VALUE || asked_before >= MOST_ADDED {
            return Err(ScheduleRefused::TooLarge);
        }
        let now = self.clock.now();
        let requested = request.read(&format!("{task}/{}", key.key), now)?;
        let found = self.store.schedule(key.clone()).await?;
        if found.as_ref().is_some_and(|found| !is_granted(by, found.target.name().as_str())) {
            return Err(ScheduleRefused::Taken);
        }
        if let Err(over) = requested.is_ahead(now) {
            // A further attempt at the same run adds what the first one has added.
            let same = |found: &ScheduleInfo| is_same(found, &task.task, &requested);
            return if found.as_ref().is_some_and(same) { Ok(false) } else { Err(over.into()) };
        }
        let add = AddSchedule {
            key: key.clone(),
            target: Target::Task(task.task),
            definition: requested.definition.text(),
            data,
            cursor: requested.cursor(now),
            replace,
            // The schedule whose task was checked is replaced, and no other.
            version: found.filter(|_| replace).map(|found| found.version),
            guest: Some(GuestSchedule {
                task: by.task.key.task.clone(),
                claim: by.claim,
                most: MOST_OF_TENANT,
                bytes: self.tenants.backlog(&by.task.key.tenant).tenant,
            }),
            now,
        };
        if let Added::Existing(_) = self.store.add_schedule(add).await.map_err(not_added)? {
            return Ok(false);
        }
        debug!(schedule.key = %key.key, principal = %Principal::of(by), "Added a schedule, which a task asked for");
        Ok(true)
    }

    async fn requested_schedules(&self, by: &Caller) -> Result<Vec<ScheduleInfo>, ScheduleRefused> {
        let filter = ScheduleFilter {
            tenant: by.task.key.tenant.clone(),
            task: None,
            by_tasks: true,
            after: None,
            limit: usize::try_from(MOST_OF_TENANT).unwrap_or(usize::MAX),
        };
        let mut found = self.store.schedules(filter).await?;
        found.retain(|info| is_granted(by, info.target.name().as_str()));
        Ok(found)
    }

    async fn delete_requested(&self, by: &Caller, key: &str) -> Result<bool, ScheduleRefused> {
        let Ok(key) = key_of(by, key) else { return Ok(false) };
        for _ in 0..MOST_TRIES {
            let found = self.store.schedule(key.clone()).await?;
            let Some(found) = found.filter(|found| found.added_by.is_some()) else { return Ok(false) };
            self.granted(by, found.target.name().as_str())?;
            let now = self.clock.now();
            match self.store.delete_schedule(key.clone(), Some(found.version), Some(by.claim), now).await {
                Ok(_) => {
                    debug!(schedule.key = %key.key, principal = %Principal::of(by), "Deleted a schedule for a task");
                    return Ok(true);
                }
                Err(StoreError::Schedule(ScheduleError::NotFound(_))) => return Ok(false),
                Err(StoreError::Schedule(ScheduleError::Preempted { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ScheduleRefused::Changed)
    }
}

impl Ops {
    /// Returns the task that a schedule of `by` may have.
    fn granted(&self, by: &Caller, task: &str) -> Result<TaskKey, ScheduleRefused> {
        if !is_granted(by, task) {
            return Err(ScheduleRefused::NotGranted(task.to_owned()));
        }
        self.known(by, task).ok_or(ScheduleRefused::NoTask)
    }
}

fn key_of(by: &Caller, key: &str) -> Result<ScheduleKey, BadName> {
    Ok(ScheduleKey { tenant: by.task.key.tenant.clone(), key: Name::new(key)? })
}

fn is_same(found: &ScheduleInfo, task: &Name, requested: &Requested) -> bool {
    found.target == Target::Task(task.clone()) && found.definition == requested.definition.text()
}

/// Returns why the store did not add a schedule.
fn not_added(error: StoreError) -> ScheduleRefused {
    match error {
        StoreError::Schedule(ScheduleError::AlreadyExists(_) | ScheduleError::AlreadyFinished { .. }) => {
            ScheduleRefused::Taken
        }
        StoreError::Schedule(full @ ScheduleError::Full { .. }) => ScheduleRefused::Full(full.to_string()),
        StoreError::Schedule(ScheduleError::Preempted { .. } | ScheduleError::NotFound(_)) => ScheduleRefused::Changed,
        error => error.into(),
    }
}

#[cfg(test)]
mod tests;
