//! Defines the arguments of commands about tasks and runs.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::ListArgs;
use sexton_domain::lengths;
use sexton_domain::run::RunId;
use sexton_domain::task::Name;

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct ShowArgs {
    /// Id of the run, or name of the task: its latest run that has begun
    #[arg(value_name = "RUN|TASK")]
    pub(in crate::cli) what: RunOrTask,
    /// Show every attempt and frame, and lines as long as they are
    #[arg(long)]
    pub(in crate::cli) full: bool,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct LogsArgs {
    /// Follow the log as it grows; of a task, all of its runs in progress and those that start later
    #[arg(short, long)]
    pub(in crate::cli) follow: bool,
    /// Id of the run, or name of the task
    #[arg(value_name = "RUN|TASK")]
    pub(in crate::cli) what: RunOrTask,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct ResultArgs {
    /// Id of the run, or name of the task: its run that was the last to succeed
    #[arg(value_name = "RUN|TASK", required_unless_present = "of_run")]
    pub(in crate::cli) what: Option<RunOrTask>,
    /// Id of the run; with the name of a task it must be one of that task
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub(in crate::cli) of_run: Option<RunId>,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct RerunArgs {
    /// Id of the run, which is over
    #[arg(value_parser = run_id)]
    pub(in crate::cli) run: RunId,
    /// Input of the new run [default: that of the run]
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) input: Option<String>,
    /// File with the input of the new run; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    pub(in crate::cli) input_file: Option<PathBuf>,
    /// Idempotency key: a second request with it returns the first run
    #[arg(long)]
    pub(in crate::cli) key: Option<String>,
    /// Run now, ignoring pauses, back-off, fuel budgets and concurrency limits
    #[arg(long)]
    pub(in crate::cli) past_limits: bool,
    #[command(flatten)]
    pub(in crate::cli) awaited: AwaitedArgs,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

/// Whether a command that makes a run waits until the run is over.
#[derive(Args, Clone, Copy, Debug)]
pub(in crate::cli) struct AwaitedArgs {
    /// Wait until the new run is over, and print its output
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    /// Longest time to wait [default: for ever]
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = lengths::parse)]
    pub(in crate::cli) timeout: Option<Duration>,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct BackfillArgs {
    /// Name of the task
    pub(in crate::cli) task: Name,
    /// First instant of the range, such as 2027-03-01 or "2 days ago", by the clocks of the task's zone
    #[arg(long, value_name = "INSTANT", required_unless_present = "cancel")]
    pub(in crate::cli) from: Option<String>,
    /// End of the range, which does not belong to it [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub(in crate::cli) to: Option<String>,
    /// Number of its runs that go at once, within the task's own limit
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(in crate::cli) at_once: u32,
    /// Include instants whose runs may have been deleted by the retention, and repeat what was done for them
    #[arg(long)]
    pub(in crate::cli) also_forgotten: bool,
    /// Show what would be done, and make nothing
    #[arg(long, conflicts_with = "yes")]
    pub(in crate::cli) dry_run: bool,
    /// Make the runs without asking
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    /// Cancel the runs of the task's backfills that have not begun
    #[arg(long, conflicts_with_all = ["from", "to", "at_once", "also_forgotten", "dry_run", "yes"])]
    pub(in crate::cli) cancel: bool,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct TriggerArgs {
    /// Name of the task
    #[arg(required_unless_present = "from")]
    pub(in crate::cli) task: Option<Name>,
    /// File with a run to make on each line, as JSON: `{"task": "hello", "input": "x", "in": "10s", "past_limits":
    /// false, "key": "k", "labels": {"team": "web"}}`, of which only the task is needed; `-` is stdin
    #[arg(long, value_name = "FILE.ndjson", conflicts_with_all = [
        "task", "input", "input_file", "label", "at", "after_now", "past_limits", "wait", "timeout",
    ])]
    pub(in crate::cli) from: Option<PathBuf>,
    /// Input of the run [default: that of the manifest]
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) input: Option<String>,
    /// File with the input of the run; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    pub(in crate::cli) input_file: Option<PathBuf>,
    /// Idempotency key: a second trigger with it returns the first run; with --from, those of the whole file
    #[arg(long)]
    pub(in crate::cli) key: Option<String>,
    /// Label of the run, beside those of its task; as often as there are labels
    #[arg(long, value_name = "KEY=VALUE")]
    pub(in crate::cli) label: Vec<String>,
    /// Start at this instant: RFC 3339, or words such as "next friday 17:00", by the clocks of the task's zone
    #[arg(long, value_name = "INSTANT", conflicts_with = "after_now")]
    pub(in crate::cli) at: Option<String>,
    /// Start after this delay, such as 10s
    #[arg(long = "in", alias = "after", value_name = "DURATION")]
    pub(in crate::cli) after_now: Option<String>,
    /// Run now, ignoring pauses, back-off, fuel budgets and concurrency limits
    #[arg(long, conflicts_with_all = ["at", "after_now"])]
    pub(in crate::cli) past_limits: bool,
    #[command(flatten)]
    pub(in crate::cli) awaited: AwaitedArgs,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct KillArgs {
    /// Id of the run
    #[arg(value_parser = run_id)]
    pub(in crate::cli) run: RunId,
    /// Reason, kept with the run
    #[arg(long, alias = "why", value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
    /// Interrupt it at once, without its grace period
    #[arg(long)]
    pub(in crate::cli) now: bool,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Copy, Debug)]
pub(in crate::cli) struct ReleaseArgs {
    /// Id of the run
    #[arg(value_parser = run_id)]
    pub(in crate::cli) run: RunId,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct PauseArgs {
    /// Name of the task or chain [with --tenant and without it: all of the tenant's]
    #[arg(conflicts_with = "all")]
    pub(in crate::cli) task: Option<Name>,
    /// All tasks, also those that are added later; with --tenant all of the tenant's
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Reason, shown wherever the pause is
    #[arg(long, alias = "why", value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct ResumeArgs {
    /// Name of the task or chain [with --tenant and without it: all of the tenant's]
    #[arg(conflicts_with = "all")]
    pub(in crate::cli) task: Option<Name>,
    /// All tasks; with --tenant all of the tenant's. Tasks that were paused one by one stay paused
    #[arg(long)]
    pub(in crate::cli) all: bool,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Copy, Debug)]
pub(in crate::cli) struct TopArgs {
    /// Print once instead of watching; this is the default if stdout is no terminal
    #[arg(long)]
    pub(in crate::cli) once: bool,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct StackArgs {
    /// Id of the run
    #[arg(value_parser = run_id)]
    pub(in crate::cli) run: RunId,
    /// Number of samples
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub(in crate::cli) samples: u16,
    /// Time between two samples, up to 1s
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = lengths::parse)]
    pub(in crate::cli) apart: Duration,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct ProfileArgs {
    /// Id of the run
    #[arg(value_parser = run_id)]
    pub(in crate::cli) run: RunId,
    /// Duration, up to 1m; ends with the run
    #[arg(long = "for", value_name = "DURATION", default_value = "5s", value_parser = lengths::parse)]
    pub(in crate::cli) length: Duration,
    /// File to write; `-` is stdout [default: run-RUN.profile.json]
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
}

/// A run by its id, or a task by its name. A number is always a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum RunOrTask {
    Run(RunId),
    Task(Name),
}

impl FromStr for RunOrTask {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return run_id(text).map(Self::Run);
        }
        Name::new(text).map(Self::Task).map_err(|e| e.to_string())
    }
}

pub(super) fn run_id(text: &str) -> Result<RunId, String> {
    match text.parse() {
        Ok(run @ RunId(0..)) => Ok(run),
        _ => Err("a run's id is a whole number".to_owned()),
    }
}
