//! Asks the host to add, list and delete schedules for a guest, and translates what guests send and are told.

use std::sync::Arc;
use std::time::Duration;

use crate::attempt::Refusal;
use crate::imports::bindings::AddingError;
use crate::imports::bindings::sexton::task::schedule::{Added, Recurrence, Recurring, ScheduleError as Error};
use crate::imports::call_error::store_failure;
use crate::imports::{Caller, ImportsCtx, ScheduleRefused, ScheduleRequest, State};
use sexton_domain::schedule::Definition;
use sexton_domain::schedule::request::Request;
use sexton_domain::time::Timestamp;
use sexton_store::added::ScheduleInfo;

/// The longest crontab or zone that is read, in bytes; a manifest's are far shorter.
const LONGEST_TEXT: usize = 256;

const ADD: &str = "schedule.add-schedule";
const LIST: &str = "schedule.list-schedules";
const DELETE: &str = "schedule.delete-schedule";

impl From<Error> for AddingError {
    fn from(error: Error) -> Self {
        Self::Guest(error)
    }
}

/// The number of schedules that an attempt has asked to add.
struct Count(u32);

impl State for Count {
    fn begin(_: &ImportsCtx) -> Self {
        Self(0)
    }
}

impl ImportsCtx {
    /// Adds a schedule. Returns whether anything was changed.
    pub(super) async fn add_schedule(
        &mut self,
        key: String,
        mut schedule: Recurring,
        replace: bool,
    ) -> Result<bool, AddingError> {
        let by = self.caller();
        let data = schedule.input.take();
        let bytes = data.as_ref().map_or(0, Vec::len);
        let asked_before = self.state::<Count>().0;
        let task = std::mem::take(&mut schedule.task);
        let asked = ScheduleRequest { key, task, request: request(schedule)?, data, replace, asked_before };
        let added = self.services.schedule_requests.request_schedule(&by, asked);
        let added = self.until.run_until_ended(ADD, added).await?;
        if added.as_ref().map_or_else(ScheduleRefused::counts, |_| true) {
            self.state::<Count>().0 = asked_before.saturating_add(1);
            self.handle.usage.add_sent(bytes);
        }
        if added.is_ok() {
            self.handle.usage.acts(); // also without an input
        }
        added.map_err(|refused| self.schedule_refused(refused, ADD))
    }

    /// Returns the schedules that tasks have added, of tasks that are granted, by key.
    pub(super) async fn list_schedules(&mut self) -> Result<Vec<Added>, AddingError> {
        let by = self.caller();
        let found = self.services.schedule_requests.requested_schedules(&by);
        let found = self.until.run_until_ended(LIST, found).await?;
        let found = found.map_err(|refused| self.schedule_refused(refused, LIST))?;
        let now = self.services.clock.now();
        let added: Vec<Added> = found.iter().map(|info| shown(info, now)).collect();
        self.handle.usage.add_received(added.iter().map(|one| one.key.len() + one.task.len()).sum());
        Ok(added)
    }

    /// Deletes a schedule that a task has added. Returns whether there was one.
    pub(super) async fn delete_schedule(&mut self, key: String) -> Result<bool, AddingError> {
        let by = self.caller();
        let deleted = self.services.schedule_requests.delete_requested(&by, &key);
        let deleted = self.until.run_until_ended(DELETE, deleted).await?;
        deleted.map_err(|refused| self.schedule_refused(refused, DELETE))
    }

    /// Returns the task of this attempt as one that asks the host for something.
    pub(super) fn caller(&self) -> Caller {
        Caller { task: Arc::clone(&self.task), claim: self.claim }
    }

    /// Returns the guest's error for a request that was refused. The run's log says which grant is missing, or which
    /// bound was reached.
    fn schedule_refused(&mut self, refused: ScheduleRefused, in_call: &'static str) -> AddingError {
        match refused {
            ScheduleRefused::NotGranted(task) => {
                self.refuses(Refusal::Task(&task));
                Error::AccessDenied.into()
            }
            ScheduleRefused::NoTask => Error::NotFound.into(),
            ScheduleRefused::TooLarge => Error::TooLarge.into(),
            ScheduleRefused::Bad(why) => Error::BadSchedule(why).into(),
            ScheduleRefused::Taken => Error::AlreadyExists.into(),
            ScheduleRefused::Full(why) => {
                self.warn(format!("no schedule was added: {why}"));
                Error::TooLarge.into()
            }
            ScheduleRefused::Changed => {
                Error::Other("others changed the schedule at the same moment".to_owned()).into()
            }
            ScheduleRefused::Store(error) => store_failure(error, in_call, Error::Other),
        }
    }
}

/// Returns what a guest asks for as people ask for it.
fn request(schedule: Recurring) -> Result<Request, AddingError> {
    let Recurring { recurrence, zone, delay, start, end, first, times, .. } = schedule;
    let mut request = Request {
        zone,
        delay: (delay > 0).then(|| milliseconds(delay)),
        start: start.map(|ms| instant("start", ms)).transpose()?,
        end: end.map(|ms| instant("end", ms)).transpose()?,
        first: first.map(|ms| instant("first", ms)).transpose()?,
        times,
        ..Request::default()
    };
    match recurrence {
        Recurrence::Cron(crontab) => request.cron = Some(crontab),
        Recurrence::Every(ms) => request.every = Some(milliseconds(ms)),
    }
    let texts = [("cron", &request.cron), ("zone", &request.zone)];
    let long = texts.into_iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.len() > LONGEST_TEXT));
    match long {
        Some((field, _)) => Err(Error::BadSchedule(format!("`{field}` has more than {LONGEST_TEXT} bytes")).into()),
        None => Ok(request),
    }
}

fn milliseconds(ms: u64) -> String {
    format!("{ms}ms")
}

/// Writes an instant as people write it.
fn instant(field: &str, ms: u64) -> Result<String, AddingError> {
    // The year 9999 is the last that is written with four digits, and far beyond what a request may name.
    const LAST: u64 = 253_402_300_799_999;
    match i64::try_from(ms) {
        Ok(at) if ms <= LAST => Ok(Timestamp::from_millis(at).to_string()),
        _ => Err(Error::BadSchedule(format!("`{field}`: {ms} ms is after the year 9999")).into()),
    }
}

/// Returns a schedule as guests see it.
fn shown(info: &ScheduleInfo, now: Timestamp) -> Added {
    let definition = Definition::read(&info.definition).ok().filter(|_| info.finished_at.is_none());
    let from = info.cursor.max(now.minus(Duration::from_millis(1)));
    let next = definition.and_then(|definition| definition.next_after(from));
    Added {
        key: info.key.key.to_string(),
        task: info.target.name().to_string(),
        next: next.map(|at| u64::try_from(at.as_millis()).unwrap_or(0)),
        fired: info.fired,
    }
}
