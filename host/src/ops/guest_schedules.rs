//! Decides about the schedules that running tasks add, list and delete. A schedule is read as those of people are, by
//! [`Request::read`](sexton_domain::schedule::request::Request::read). A task changes schedules of tasks that it is
//! granted, and none that a person has added.

use std::time::Duration;

use async_trait::async_trait;
use tracing::debug;

use super::requests::is_granted;
use super::{Ops, Principal};
use sexton_domain::schedule::Trigger;
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

/// The shortest interval of a schedule that a task adds. A thousand shorter ones would keep a host busy with nothing but
/// them; a crontab is due once a second at most.
const SHORTEST: Duration = Duration::from_secs(1);

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
        let requested = request.parse(&format!("{task}/{}", key.key), now)?;
        if matches!(requested.definition.trigger, Trigger::Every(interval) if interval < SHORTEST) {
            return Err(ScheduleRefused::Bad("`every` is 1s or more in a schedule that a task adds".to_owned()));
        }
        let found = self.store.schedule(key.clone()).await?;
        if found.as_ref().is_some_and(|found| !is_granted(by, found.target.name().as_str())) {
            return Err(ScheduleRefused::Taken);
        }
        let same = found.as_ref().filter(|found| is_same(found, &task.task, &requested));
        if let Err(over) = requested.is_ahead(now).and_then(|()| requested.is_due_from(now)) {
            // A further attempt at the same run adds what the first one has added.
            let is_known = match same {
                Some(_) => self.store.schedule_data(key.clone(), LARGEST_VALUE).await? == data,
                None => false,
            };
            return if is_known { Ok(false) } else { Err(over.into()) };
        }
        let run_created_at = match same.filter(|found| replace && found.finished_at.is_some()) {
            Some(_) => self.store.run(by.claim.run).await?.map(|run| run.created_at),
            None => None,
        };
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
                run_created_at,
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
            // The task itself may be gone with its plugin.
            let task = found.target.name().as_str();
            if !is_granted(by, task) {
                return Err(ScheduleRefused::NotGranted(task.to_owned()));
            }
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
        StoreError::Schedule(full @ (ScheduleError::Full { .. } | ScheduleError::DeletedTooMany { .. })) => {
            ScheduleRefused::Full(full.to_string())
        }
        StoreError::Schedule(ScheduleError::Preempted { .. } | ScheduleError::NotFound(_)) => ScheduleRefused::Changed,
        error => error.into(),
    }
}

#[cfg(test)]
mod tests;
