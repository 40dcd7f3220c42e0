//! Adds, deletes and resets added schedules.

use tracing::info;

use super::{OpError, Ops, Principal, Result};
use sexton_domain::schedule::request::{Request, Requested};
use sexton_domain::schedule::routes::Target;
use sexton_domain::task::TaskKey;
use sexton_store::StoreError;
use sexton_store::added::{AddSchedule, Added, Reset, ScheduleError, ScheduleInfo, ScheduleKey};

/// A schedule to be added.
#[derive(Clone, Debug)]
pub struct NewSchedule {
    /// The tenant, and the key of the schedule.
    pub key: ScheduleKey,
    /// The task whose runs it makes, or its type.
    pub target: Target,
    /// The instants at which it is due.
    pub request: Request,
    /// The input of its runs; `None` for that of their task.
    pub data: Option<Vec<u8>>,
    /// Whether it replaces an existing schedule with the key.
    pub replace: bool,
    /// The version that an existing schedule must have to be replaced.
    pub version: Option<u64>,
}

/// A schedule that was added, or existed.
#[derive(Clone, Debug)]
pub struct ScheduleAdded {
    /// The schedule, and what was done for it.
    pub added: Added,
    /// A line for each deviation from what was written.
    pub notes: Vec<String>,
}

impl Ops {
    /// Adds a schedule for `by`. A repeated request finds its schedule, even if it could not be added now.
    ///
    /// # Errors
    ///
    /// [`OpError::BadSchedule`]; [`OpError::NoTask`] if no plugin offers the task; the store's errors.
    pub async fn add_schedule(&self, by: &Principal, new: NewSchedule) -> Result<ScheduleAdded> {
        let now = self.clock.now();
        let owner = TaskKey { tenant: new.key.tenant.clone(), task: new.target.name().clone() };
        let mut requested = new.request.read(&format!("{owner}/{}", new.key.key), now)?;
        let add = AddSchedule {
            key: new.key,
            target: new.target,
            definition: requested.definition.text(),
            data: new.data,
            cursor: requested.cursor(now),
            replace: new.replace,
            version: new.version,
            guest: None,
            now,
        };
        if let Err(why) = self.catalog.routes().task_of(&owner.tenant, &add.target) {
            requested.notes.push(format!("{why}, so nothing is made until there is one"));
        }
        let added = match self.refusal(&owner, &requested, &add) {
            None => self.store.add_schedule(add).await?,
            Some(refusal) => self.existing_schedule(&add).await?.ok_or(refusal)?,
        };
        if let Added::New(info) | Added::Replaced(info) = &added {
            let key = &info.key.key;
            info!(schedule.key = %key, task.name = %info.target, principal = %by, "Added schedule `{key}` for `{}`", info.target);
        }
        Ok(ScheduleAdded { added, notes: requested.notes })
    }

    /// Deletes a schedule, which must have `version` if that is given. Returns what it was.
    ///
    /// # Errors
    ///
    /// The store's errors.
    pub async fn delete_schedule(
        &self,
        by: &Principal,
        key: ScheduleKey,
        version: Option<u64>,
    ) -> Result<ScheduleInfo> {
        let was = self.store.delete_schedule(key, version, None, self.clock.now()).await?;
        info!(schedule.key = %was.key.key, task.name = %was.target, principal = %by, "Deleted schedule `{}`", was.key.key);
        Ok(was)
    }

    /// Lets a schedule that is ahead of the clock go on from now.
    ///
    /// # Errors
    ///
    /// The store's errors.
    pub async fn reset_schedule(&self, by: &Principal, key: ScheduleKey) -> Result<Reset> {
        let reset = self.store.reset_schedule(key, self.clock.now()).await?;
        if let Reset::Moved(info) = &reset {
            info!(schedule.key = %info.key.key, task.name = %info.target, principal = %by, "Reset schedule `{}`", info.key.key);
        }
        Ok(reset)
    }

    /// Returns why a well-formed schedule is not added: it would do nothing. A type without a route is no reason: the
    /// schedule waits for one.
    fn refusal(&self, owner: &TaskKey, requested: &Requested, add: &AddSchedule) -> Option<OpError> {
        let over = requested.is_ahead(add.now).err().map(OpError::from);
        let is_missing = || add.target.kind().is_none() && self.catalog.get(owner).is_none();
        over.or_else(|| is_missing().then(|| OpError::NoTask(owner.clone())))
    }

    /// Returns the existing schedule if adding `add` would change nothing.
    async fn existing_schedule(&self, add: &AddSchedule) -> Result<Option<Added>> {
        let Some(found) = self.store.schedule(add.key.clone()).await? else { return Ok(None) };
        if found.target != add.target || found.definition != add.definition {
            return Ok(None);
        }
        match self.store.add_schedule(AddSchedule { replace: false, ..add.clone() }).await {
            Ok(existing) => Ok(Some(existing)),
            Err(StoreError::Schedule(ScheduleError::NotFound(_))) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}
