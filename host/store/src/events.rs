//! Defines events: each tells one change of a run, a task, a schedule, a plugin or a host, for readers that follow
//! them.
//!
//! The transaction that makes a change writes its event, too, so that there is one exactly if the change is there. Ids
//! grow in the order in which readers see the events: an event that is committed later never has a lower id than one
//! that a reader has had. A store keeps events only after [`Events::record_events`] has switched them on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::Result;
use sexton_domain::run::{Outcome, RunId, RunState};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// The kind of change that an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A run was made, and waits for its first attempt.
    RunQueued,
    /// A run was made and cancelled at once, because another run of its task was not over.
    RunSkipped,
    /// A host has claimed a run.
    RunStarted,
    /// An attempt has ended, and the run waits for the next one: for a retry, or because it was deferred.
    RunWaiting,
    /// A run has succeeded or failed.
    RunFinished,
    /// A run was cancelled.
    RunCancelled,
    /// A task was paused, by a request or because its runs failed; or a tenant's tasks, or all tasks.
    TaskPaused,
    /// The same has been resumed.
    TaskResumed,
    /// A schedule was added.
    ScheduleAdded,
    /// An added schedule was replaced.
    ScheduleChanged,
    /// An added schedule was deleted.
    ScheduleDeleted,
    /// A plugin, or another version of it, was published for all hosts.
    PluginPublished,
    /// A published plugin was withdrawn.
    PluginWithdrawn,
    /// A host has started.
    HostJoined,
    /// A host has stopped.
    HostLeft,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::RunQueued,
        Self::RunSkipped,
        Self::RunStarted,
        Self::RunWaiting,
        Self::RunFinished,
        Self::RunCancelled,
        Self::TaskPaused,
        Self::TaskResumed,
        Self::ScheduleAdded,
        Self::ScheduleChanged,
        Self::ScheduleDeleted,
        Self::PluginPublished,
        Self::PluginWithdrawn,
        Self::HostJoined,
        Self::HostLeft,
    ];

    /// Returns the kind as texts have it: `run.queued`. These words do not change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunQueued => "run.queued",
            Self::RunSkipped => "run.skipped",
            Self::RunStarted => "run.started",
            Self::RunWaiting => "run.waiting",
            Self::RunFinished => "run.finished",
            Self::RunCancelled => "run.cancelled",
            Self::TaskPaused => "task.paused",
            Self::TaskResumed => "task.resumed",
            Self::ScheduleAdded => "schedule.added",
            Self::ScheduleChanged => "schedule.changed",
            Self::ScheduleDeleted => "schedule.deleted",
            Self::PluginPublished => "plugin.published",
            Self::PluginWithdrawn => "plugin.withdrawn",
            Self::HostJoined => "host.joined",
            Self::HostLeft => "host.left",
        }
    }

    /// Returns the kinds that `text` names: the one with this word, or all whose word begins with it (`run`).
    pub fn named(text: &str) -> Vec<Self> {
        let is_meant = |kind: &Self| match kind.as_str().strip_prefix(text) {
            Some(rest) => rest.is_empty() || rest.starts_with('.'),
            None => false,
        };
        Self::ALL.into_iter().filter(is_meant).collect()
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An event, as readers get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number of the event, greater than those of all events that became visible before it.
    pub id: u64,
    /// When it happened, by the clock of the host that wrote it.
    pub at: Timestamp,
    pub kind: EventKind,
    /// `None` if it is about all tenants.
    pub tenant: Option<Name>,
    pub task: Option<Name>,
    pub run: Option<RunId>,
    /// The number of the attempt, of a run that has begun.
    pub attempt: Option<u32>,
    /// The state that the run has entered.
    pub state: Option<RunState>,
    /// The outcome of the attempt that has ended.
    pub outcome: Option<Outcome>,
    /// The host that has or had the run, or that the event is about.
    pub host: Option<String>,
    /// The key of the added schedule, or the name of the plugin.
    pub name: Option<Name>,
}

/// Selects events. Each part that is there must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Selects the events of a tenant, and those that are about all tenants.
    pub tenant: Option<Name>,
    /// Selects the events of a task, and those of its runs.
    pub task: Option<Name>,
    /// Selects events of these kinds; all kinds if it is empty.
    pub kinds: Vec<EventKind>,
}

impl EventFilter {
    /// Returns whether the filter selects `event`.
    pub fn admits(&self, event: &Event) -> bool {
        let of_tenant = |tenant: &Name| event.tenant.as_ref().is_none_or(|other| other == tenant);
        self.tenant.as_ref().is_none_or(of_tenant)
            && self.task.as_ref().is_none_or(|task| event.task.as_ref() == Some(task))
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
    }
}

/// A piece of the events after an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// The events that the filter selects, in the order of their ids.
    pub events: Vec<Event>,
    /// The id after which to read on: that of the last event that was looked at.
    pub until: u64,
    /// Whether there may be more at once.
    pub more: bool,
    /// Set if events after the id are no longer kept, or if the store has never given the id out. The page is empty
    /// then, and `until` is the newest id.
    pub lost: bool,
}

/// The events that are kept. The limit that is reached first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRetention {
    /// The number of latest events, rounded up to whole transactions. 0: none are recorded.
    pub events: u64,
    /// The age up to which they are kept.
    pub age: Duration,
}

/// Keeps events for readers.
#[async_trait]
pub trait Events: Send + Sync {
    /// Sets whether this host's changes are recorded from now on. A store that was just opened records nothing.
    fn record_events(&self, on: bool);

    /// Returns whether this host's changes are recorded.
    fn records_events(&self) -> bool;

    /// Returns the next events after the id `after` that `filter` selects, at most `limit`. 0 stands for the first
    /// event that is kept. Looks at a bounded number of events; [`EventPage::more`] tells whether to ask again.
    async fn events(&self, after: u64, filter: EventFilter, limit: usize) -> Result<EventPage>;

    /// Returns the id of the newest event; 0 if there was none.
    async fn newest_event(&self) -> Result<u64>;

    /// Deletes some of the oldest events that `keep` does not keep. Returns a number that is 0 when there are no more.
    async fn prune_events(&self, keep: EventRetention, now: Timestamp) -> Result<u64>;

    /// Returns the hint that there are new events; it works like [`Store::runs_hint`](crate::Store::runs_hint).
    fn events_hint(&self) -> Arc<Notify>;
}
