//! The JSON of tasks: in short, as lists have them, and whole.

use serde::{Deserialize, Serialize};

use super::following::Following;
use super::millis;
use super::schedule::MarkShape;
use super::timing::{self, Around};
use crate::lengths;
use crate::pause::{PausedBy, Pauses};
use crate::run::{HeldBack, Outcome, RunId, RunState};
use crate::schedule::{CatchUp, Cooldowns, Pace, Trigger, explain};
use crate::store::{LatestRuns, RunInfo, TaskState};
use crate::task::{Budget, Grants, Limits, Name, Overlap, Task};
use crate::time::Timestamp;

/// `GET /v1/tasks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tasks {
    /// By name.
    pub tasks: Vec<TaskSummary>,
}

/// A task, in short.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskSummary {
    /// Its name.
    pub name: Name,
    /// Whose.
    pub tenant: Name,
    /// The plugin whose component it runs.
    pub plugin: Name,
    /// One line for people.
    pub description: Option<String>,
    /// When it is due.
    pub trigger: TriggerShape,
    /// The zone that the trigger is read in.
    pub zone: String,
    /// What bounds that, and by how much its runs start later, for people: `3 times, delay 5s`; none if nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<String>,
    /// What of its schedule deviates from what is written in the manifest, a line each, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// The next instants it is due, earliest first; none for a trigger that has none.
    pub next: Vec<Due>,
    /// Why its schedule makes no more runs, for people: `ran 3 of 3 times`; none while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    /// What its schedule left out last because it was missed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Why its schedule makes no runs for a while, for people: the clock was set back. None while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_back: Option<String>,
    /// Nothing of it starts while set.
    pub paused: bool,
    /// Whether that pause is its own (`task`), its tenant's (`tenant`), or that of all (`all`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<PausedBy>,
    /// Since when it is paused, if that was written down.
    pub paused_at: Option<Timestamp>,
    /// Why it is paused; none if a person paused it and did not say.
    pub paused_why: Option<String>,
    /// Runs that ended as failed since the last one that succeeded.
    #[serde(default)]
    pub failures: u32,
    /// Attempts that crashed since the last one that ended as its guest wished.
    #[serde(default)]
    pub crashes: u32,
    /// Until when it is held back because of those; none if it is not.
    pub held_until: Option<Timestamp>,
    /// `skip`, `queue-one`, `queue-all`, `replace` or `allow(N)`.
    pub overlap: String,
    /// Labels, all of which a host must have to run it; none: every host may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs_on: Vec<Name>,
    /// Its latest run that has begun: the run with the greatest id of those that were ever started.
    pub last: Option<LastRun>,
    /// The run that starts next of those that wait and have not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingRun>,
    /// Why nothing of it starts: it is over a budget, its own or its tenant's, or no host is up that may run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
    /// What its schedule has come to, if that goes by how earlier runs went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub following: Option<Following>,
}

/// A trigger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TriggerShape {
    /// `demand`, `start`, `cron`, `every`, `at`, `after` or `pace`.
    pub kind: String,
    /// For people, such as `every 10s`.
    pub text: String,
}

/// An instant, in UTC and as a clock in the task's zone shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Due {
    /// In UTC.
    pub at: Timestamp,
    /// RFC 3339 with the zone's offset.
    pub local: String,
    /// What a change of the clock has to do with it; none if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<MarkShape>,
    /// When the run starts, if that is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
}

/// A run that waits for its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WaitingRun {
    /// Which.
    pub run: RunId,
    /// The instant it is due.
    pub due_at: Timestamp,
    /// When it starts at the earliest.
    pub run_at: Timestamp,
}

/// The latest run of a task that has begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastRun {
    /// Which.
    pub run: RunId,
    /// Where it is in its life.
    pub state: RunState,
    /// The instant it was due.
    pub due_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// How its last attempt ended.
    pub outcome: Option<Outcome>,
}

/// `GET /v1/tasks/{task}`: the summary and the rest of the definition. Of settings, environment and input, which may
/// hold secrets, only names and sizes are told.
#[derive(Clone, Debug, Serialize)]
pub struct TaskDetail {
    /// What the list of tasks has of it.
    #[serde(flatten)]
    pub summary: TaskSummary,
    /// When it is due, such as `at 02:30 every Monday`.
    pub words: String,
    /// `none`, `latest` or `all(N)`.
    pub catch_up: String,
    /// What bounds when it is due, and by how much its runs start later.
    pub around: Around,
    /// Runs that its schedule has made, those that were skipped included.
    pub fired: u64,
    /// How failed attempts are tried again.
    pub retry: Retry,
    /// After how many failed runs in a row it is paused; none: never.
    pub pause_after: Option<u32>,
    /// The longest that it is held back when it crashes again and again; none: not at all.
    pub brake_ms: Option<u64>,
    /// What one attempt may use.
    pub limits: LimitsShape,
    /// What all its runs together may use.
    pub budget: Budget,
    /// What the operator lets it reach.
    pub grants: Grants,
    /// Arguments of a plain program.
    pub args: Vec<String>,
    /// Names of its settings.
    pub settings: Vec<String>,
    /// Names in its environment.
    pub env: Vec<String>,
    /// Bytes of the input that a run gets unless it brings one.
    pub input_bytes: usize,
}

/// How failed attempts are tried again.
#[derive(Clone, Debug, Serialize)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// After the first failure.
    pub delay_ms: u64,
    /// What the delay is multiplied with after each further failure.
    pub factor: f64,
    /// The longest delay.
    pub max_delay_ms: u64,
    /// How much of the delay is left to chance, 0 to 1.
    pub jitter: f64,
}

/// What one attempt may use; bytes and numbers but for the deadline.
#[derive(Clone, Debug, Serialize)]
pub struct LimitsShape {
    /// From the start of the attempt to its end.
    pub deadline_ms: u64,
    /// From hearing that it is to end to being interrupted, for a guest that can hear of it.
    pub grace_ms: u64,
    /// Units of fuel.
    pub fuel: u64,
    /// Bytes of memory: linear memory, and what the host holds for the guest.
    pub memory: u64,
    /// Elements of all tables.
    pub table_elements: u64,
    /// Calls from the guest to the host.
    pub host_calls: u64,
    /// Bytes that one such call may hand over.
    pub host_call_bytes: u64,
    /// Handles at once.
    pub handles: u32,
    /// Files and directories open at once.
    pub files: u32,
    /// Bytes of output.
    pub output: u64,
    /// Bytes of log kept.
    pub log: u64,
    /// Bytes of stdout, and of stderr, kept.
    pub stdio: u64,
}

impl TriggerShape {
    /// How people and programs are told of `trigger`.
    pub fn of(trigger: &Trigger) -> Self {
        let (kind, text) = match trigger {
            Trigger::OnDemand => ("demand", "on demand".to_owned()),
            Trigger::OnStart => ("start", "when the host starts".to_owned()),
            Trigger::Cron(crontab) => ("cron", format!("cron {crontab}")),
            Trigger::Every(interval) => ("every", format!("every {}", lengths::exact(*interval))),
            Trigger::At(at) => ("at", format!("at {at}")),
            Trigger::After(Cooldowns { success, fail }) => {
                let [success, fail] = [success, fail].map(|cooldown| lengths::exact(*cooldown));
                let unless = if success == fail { String::new() } else { format!(", {fail} after a failure") };
                ("after", format!("{success} after its end{unless}"))
            }
            Trigger::Pace(Pace { min, max, from, to }) => {
                let [from, to] = [from, to].map(|interval| lengths::exact(*interval));
                ("pace", format!("{min} to {max} at once, one every {from} to {to}"))
            }
        };
        Self { kind: kind.to_owned(), text }
    }
}

impl LastRun {
    fn of(run: &RunInfo) -> Self {
        let RunInfo { id, state, due_at, ended_at, outcome, .. } = *run;
        Self { run: id, state, due_at, ended_at, outcome }
    }
}

impl TaskSummary {
    /// `task` with what else is known of it, and its next `count` due instants.
    pub fn of(
        task: &Task,
        state: Option<&TaskState>,
        latest: Option<&LatestRuns>,
        now: Timestamp,
        count: usize,
    ) -> Self {
        let last = latest.and_then(|latest| latest.begun.as_ref());
        let waiting = latest.and_then(|latest| latest.waiting.as_ref());
        let pause = state.and_then(|state| state.paused.as_ref());
        let standing = state.map(|state| state.standing).unwrap_or_default();
        let (fired, cursor) = state.map_or((0, None), |state| (state.fired, state.cursor));
        Self {
            name: task.key.task.clone(),
            tenant: task.key.tenant.clone(),
            plugin: task.plugin.clone(),
            description: task.description.clone(),
            trigger: TriggerShape::of(&task.trigger),
            zone: task.zone.name().to_owned(),
            timing: timing::words(task),
            remarks: task.remarks.clone(),
            next: Due::list(task, cursor, fired, now, count),
            set_back: timing::set_back(task, cursor, now),
            done: task.plan().done(fired, now),
            left_out: state.and_then(|state| state.left_out.clone()),
            paused: pause.is_some(),
            paused_by: pause.map(|_| PausedBy::Task),
            paused_at: pause.and_then(|pause| pause.since),
            paused_why: pause.and_then(|pause| pause.why.clone()),
            failures: standing.failures,
            crashes: standing.crashes,
            held_until: standing.held_until.filter(|_| standing.holds(now)),
            overlap: match task.overlap {
                Overlap::Skip => "skip".to_owned(),
                Overlap::QueueOne => "queue-one".to_owned(),
                Overlap::QueueAll => "queue-all".to_owned(),
                Overlap::Replace => "replace".to_owned(),
                Overlap::Allow(n) => format!("allow({n})"),
            },
            runs_on: task.runs_on.clone(),
            last: last.map(LastRun::of),
            waiting: waiting.map(|run| WaitingRun { run: run.id, due_at: run.due_at, run_at: run.run_at }),
            held_back: None,
            following: None,
        }
    }

    /// The same where many are paused: unless it is paused by itself, their pause is its.
    #[must_use]
    pub fn under(mut self, pauses: &Pauses) -> Self {
        if let Some((by, pause)) = pauses.of(&self.tenant, None).filter(|_| !self.paused) {
            (self.paused, self.paused_by) = (true, Some(by));
            (self.paused_at, self.paused_why) = (pause.since, pause.why.clone());
        }
        self
    }
}

impl TaskDetail {
    /// The whole of `task`.
    pub fn of(task: &Task, state: &TaskState, summary: TaskSummary) -> Self {
        Self {
            summary,
            words: explain::words(&task.plan()),
            around: Around::of(&task.timing),
            fired: state.fired,
            catch_up: match task.catch_up {
                CatchUp::None => "none".to_owned(),
                CatchUp::Latest => "latest".to_owned(),
                CatchUp::All(n) => format!("all({n})"),
            },
            retry: Retry {
                attempts: task.retry.attempts,
                delay_ms: millis(task.retry.delay),
                factor: task.retry.factor,
                max_delay_ms: millis(task.retry.max_delay),
                jitter: task.retry.jitter,
            },
            pause_after: task.supervision.pause_after,
            brake_ms: task.supervision.brake.map(millis),
            limits: LimitsShape::of(&task.limits),
            budget: task.budget,
            grants: task.grants.clone(),
            args: task.args.clone(),
            settings: task.settings.keys().cloned().collect(),
            env: task.env.keys().cloned().collect(),
            input_bytes: task.input.len(),
        }
    }
}

impl LimitsShape {
    fn of(limits: &Limits) -> Self {
        Self {
            deadline_ms: millis(limits.deadline),
            grace_ms: millis(limits.grace),
            fuel: limits.fuel,
            memory: limits.memory,
            table_elements: limits.table_elements,
            host_calls: limits.host_calls,
            host_call_bytes: limits.host_call_bytes,
            handles: limits.handles,
            files: limits.files,
            output: limits.output,
            log: limits.log,
            stdio: limits.stdio,
        }
    }
}
