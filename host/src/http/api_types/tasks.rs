//! Defines the JSON of tasks: in short for lists, and in full.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::following::Following;
use super::grants::{BudgetShape, GrantsShape};
use super::locks::LockMode;
use super::runs::HeldBackShape;
use super::schedule::MarkShape;
use super::statistics::StatisticsShape;
use super::timing::{self, Around};
use sexton_domain::labels::Labels;
use sexton_domain::lengths;
use sexton_domain::lengths::millis;
use sexton_domain::pause::{PausedBy, Pauses};
use sexton_domain::run::{Outcome, RunId, RunState};
use sexton_domain::schedule::{CatchUp, Cooldowns, Pace, Trigger, explain};
use sexton_domain::task::{IfHeld, Limits, Name, Overlap, Pattern, Task, TaskLock};
use sexton_domain::time::Timestamp;
use sexton_store::{LatestRuns, RunInfo, TaskState};

/// `GET /v1/tasks`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Tasks {
    /// The tasks, by name.
    pub tasks: Vec<TaskSummary>,
    /// The value of `cursor` for the next page; `None` if this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A task, in short.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskSummary {
    /// Its name.
    pub name: Name,
    /// The tenant.
    pub tenant: Name,
    /// The plugin whose component it runs.
    pub plugin: Name,
    /// One line for people.
    pub description: Option<String>,
    /// Its labels, which its runs get.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The trigger.
    pub trigger: TriggerShape,
    /// The zone that the trigger is read in.
    pub zone: String,
    /// Bounds and delays, for people: `3 times, delay 5s`; `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<String>,
    /// The ways in which its schedule deviates from the manifest, a line each, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// The next instants at which it is due, earliest first; empty if its trigger has none.
    pub next: Vec<Due>,
    /// The reason why its schedule makes no more runs, for people: `ran 3 of 3 times`; `None` while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    /// The instants that its schedule left out last because they were missed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// The reason why its schedule makes no runs for a while, for people: the clock was set back. `None` while it goes
    /// on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_back: Option<String>,
    /// Whether the task is paused, so that none of its runs start.
    pub paused: bool,
    /// The owner of that pause: the task (`task`), its tenant (`tenant`), or all (`all`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<PausedBy>,
    /// The begin of the pause, if it was recorded.
    pub paused_at: Option<Timestamp>,
    /// The reason for the pause; `None` if an operator gave none.
    pub paused_why: Option<String>,
    /// The number of runs that failed since the last one that succeeded.
    #[serde(default)]
    pub failures: u32,
    /// The number of attempts that crashed since the last one that ended as its guest decided.
    #[serde(default)]
    pub crashes: u32,
    /// The instant until which it is held back because of those; `None` if it is not.
    pub held_until: Option<Timestamp>,
    /// `skip`, `queue-one`, `queue-all`, `replace` or `allow(N)`.
    pub overlap: String,
    /// The labels that a host must have to run it; empty if every host may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs_on: Vec<Name>,
    /// Its latest run that has begun: the one whose latest attempt began last, whatever its id is.
    pub last: Option<LastRun>,
    /// The run that starts next of those that wait and have not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingRun>,
    /// The reason why none of its runs start: it or its tenant is over a budget, or no host is up that may run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBackShape>,
    /// The state of its schedule, if that depends on earlier runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub following: Option<Following>,
}

/// A trigger.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TriggerShape {
    /// `demand`, `start`, `cron`, `every`, `at`, `after` or `pace`.
    pub kind: String,
    /// A phrase for people, such as `every 10s`.
    pub text: String,
}

/// An instant, in UTC and as a clock in the task's zone shows it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Due {
    /// The instant in UTC.
    pub at: Timestamp,
    /// The instant in RFC 3339 with the zone's offset.
    pub local: String,
    /// The effect of a clock change on it; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<MarkShape>,
    /// The start of the run, if that is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
}

/// A run that waits for its start.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WaitingRun {
    /// The run.
    pub run: RunId,
    /// The instant at which it is due.
    pub due_at: Timestamp,
    /// The earliest instant at which it starts.
    pub run_at: Timestamp,
}

/// The latest run of a task that has begun.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LastRun {
    /// The run.
    pub run: RunId,
    /// The state of the run.
    pub state: RunState,
    /// The instant at which it was due.
    pub due_at: Timestamp,
    /// The instant at which it ended.
    pub ended_at: Option<Timestamp>,
    /// The outcome of its last attempt.
    pub outcome: Option<Outcome>,
}

/// `GET /v1/tasks/{task}`: the summary and the rest of the definition. Settings, environment and input may hold
/// secrets, so only names and sizes are shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TaskDetail {
    /// The summary that lists show.
    #[serde(flatten)]
    pub summary: TaskSummary,
    /// The schedule in words, such as `at 02:30 every Monday`.
    pub words: String,
    /// `none`, `latest` or `all(N)`.
    pub catch_up: String,
    /// Bounds on when it is due, and how much later its runs start.
    pub around: Around,
    /// The number of runs that its schedule has made, including skipped ones.
    pub fired: u64,
    /// Retries of failed attempts.
    pub retry: Retry,
    /// The number of consecutive failures after which it is paused; `None` for never.
    pub pause_after: Option<u32>,
    /// The longest time for which it is held back if it crashes again and again; `None` if it is not.
    pub brake_ms: Option<u64>,
    /// The lock that each run holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<TaskLockShape>,
    /// Limits of one attempt.
    pub limits: LimitsShape,
    /// Limits of all runs together.
    pub budget: BudgetShape,
    /// Permissions of the task.
    pub grants: GrantsShape,
    /// Arguments of a plain program.
    pub args: Vec<String>,
    /// Names of its settings.
    pub settings: Vec<String>,
    /// Names in its environment.
    pub env: Vec<String>,
    /// The bytes of the input of runs that bring none.
    pub input_bytes: usize,
    /// Sums over its runs in a window of time, if they are requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistics: Option<StatisticsShape>,
    /// The types of added schedules that routes lead to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
}

/// The part of a [`TaskDetail`] that the command line reads.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskInTime {
    /// The summary that lists show.
    #[serde(flatten)]
    pub summary: TaskSummary,
    /// The schedule in words.
    pub words: String,
    /// Sums over its runs in a window of time, if they are requested.
    pub statistics: Option<StatisticsShape>,
}

/// The lock that each run of a task holds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TaskLockShape {
    /// The name.
    pub name: String,
    /// The mode in which it is held.
    pub mode: LockMode,
    /// The time for which a run waits for it.
    pub wait_ms: u64,
    /// The end of a run that does not get it: `skip`, `fail` or `succeed`.
    pub if_held: &'static str,
}

impl TaskLockShape {
    fn of(lock: &TaskLock) -> Self {
        Self {
            name: lock.name.clone(),
            mode: lock.mode.into(),
            wait_ms: millis(lock.wait),
            if_held: match lock.if_held {
                IfHeld::Skip => "skip",
                IfHeld::Fail => "fail",
                IfHeld::Succeed => "succeed",
            },
        }
    }
}

/// Retries of failed attempts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Retry {
    /// The number of attempts.
    pub attempts: u32,
    /// The delay after the first failure.
    pub delay_ms: u64,
    /// The factor by which the delay grows after each further failure.
    pub factor: f64,
    /// The longest delay.
    pub max_delay_ms: u64,
    /// The random part of the delay, 0 to 1.
    pub jitter: f64,
}

/// Limits of one attempt: the deadline and grace in milliseconds, the others in bytes and numbers.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LimitsShape {
    /// The time from the start of the guest to its end.
    pub deadline_ms: u64,
    /// The time for which it may send and receive nothing; `None` if there is no such bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
    /// The time from the instant at which it must end to the interruption, for a guest that can hear of its end.
    pub grace_ms: u64,
    /// The part of that time after which it is asked to end.
    #[serde(skip_serializing_if = "is_zero")]
    pub ask_ms: u64,
    /// The part of that time after which it is asked once more, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insist_ms: Option<u64>,
    /// Units of fuel.
    pub fuel: u64,
    /// Bytes of memory: linear memory, and what the host holds for the guest.
    pub memory: u64,
    /// Elements of all tables.
    pub table_elements: u64,
    /// Calls from the guest to the host.
    pub host_calls: u64,
    /// The bytes that one such call may pass.
    pub host_call_bytes: u64,
    /// The handles that are open at once.
    pub handles: u32,
    /// The files and directories that are open at once.
    pub files: u32,
    /// The bytes of output.
    pub output: u64,
    /// The bytes of log that are kept.
    pub log: u64,
    /// The bytes of stdout that are kept, and the same for stderr.
    pub stdio: u64,
}

impl TriggerShape {
    /// Describes `trigger` for people and programs.
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
    /// Returns the summary of `task` with its state, and its next `count` due instants.
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
            labels: task.labels.clone(),
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

    /// Applies the pauses of many tasks, unless the task has a pause of its own.
    #[must_use]
    pub fn with_pauses(mut self, pauses: &Pauses) -> Self {
        if let Some((by, pause)) = pauses.of(&self.tenant, None).filter(|_| !self.paused) {
            (self.paused, self.paused_by) = (true, Some(by));
            (self.paused_at, self.paused_why) = (pause.since, pause.why.clone());
        }
        self
    }
}

impl TaskDetail {
    /// Returns `task` in full.
    pub fn of(task: &Task, state: &TaskState, summary: TaskSummary, statistics: Option<StatisticsShape>) -> Self {
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
            lock: task.lock.as_ref().map(TaskLockShape::of),
            limits: LimitsShape::of(&task.limits),
            budget: task.budget.into(),
            grants: task.grants.clone().into(),
            args: task.args.clone(),
            settings: task.settings.keys().cloned().collect(),
            env: task.env.keys().cloned().collect(),
            input_bytes: task.input.len(),
            statistics,
            types: task.types.iter().map(|Pattern(types)| types.clone()).collect(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

impl LimitsShape {
    fn of(limits: &Limits) -> Self {
        Self {
            deadline_ms: millis(limits.deadline),
            idle_ms: limits.idle.map(millis),
            grace_ms: millis(limits.ladder.end),
            ask_ms: millis(limits.ladder.ask),
            insist_ms: limits.ladder.insist.map(millis),
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
