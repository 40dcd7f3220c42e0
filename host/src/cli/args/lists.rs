//! Defines the arguments of the lists of tasks and runs. Their words are those of the API.

use std::str::FromStr;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::ListArgs;
use super::runs::run_id;
use crate::http::api_types::runs::{CRASHED, FAILED};
use sexton_domain::run::{Cause, Outcome, RunId, RunState};
use sexton_domain::task::Name;

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct TasksArgs {
    /// Name of a task: show it alone, with sums over its runs and how failures came and went; or a pattern with `*`
    #[arg(value_name = "TASK|PATTERN")]
    pub(in crate::cli) task: Option<TaskOrPattern>,
    /// Begin of the window of time of those sums: a duration back from now, or an instant [default: 7d]
    #[arg(long, value_name = "DURATION|INSTANT", requires = "task")]
    pub(in crate::cli) since: Option<String>,
    /// Only tasks with this label; as often as there are labels
    #[arg(long, value_name = "KEY=VALUE")]
    pub(in crate::cli) label: Vec<String>,
    /// List this many at most [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(in crate::cli) limit: Option<u16>,
    /// Continue a list where a page ended
    #[arg(long, value_name = "CURSOR")]
    pub(in crate::cli) cursor: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct RunsArgs {
    /// Only of this task, or of tasks whose names match a pattern with `*`
    #[arg(long, value_name = "TASK|PATTERN")]
    pub(in crate::cli) task: Option<String>,
    /// Only in these states, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(RunState::ALL.map(RunState::as_str)))]
    pub(in crate::cli) state: Vec<String>,
    /// Only runs that are over and ended so; `failed` is every failure, `crashed` every end by a trap or a limit
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(outcomes()))]
    pub(in crate::cli) outcome: Vec<String>,
    /// Only runs with these causes
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(Cause::ALL.map(Cause::as_str)))]
    pub(in crate::cli) cause: Vec<String>,
    /// Only runs of the schedule that was added with this key
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) key: Option<Name>,
    /// Only runs that this chain has made
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) chain: Option<Name>,
    /// Only runs whose last attempt was on this host
    #[arg(long, value_name = "HOST")]
    pub(in crate::cli) on: Option<String>,
    /// Only runs with this label; as often as there are labels
    #[arg(long, value_name = "KEY=VALUE")]
    pub(in crate::cli) label: Vec<String>,
    /// Only runs that were made at or after this: a duration back from now, or an instant
    #[arg(long, value_name = "DURATION|INSTANT")]
    pub(in crate::cli) since: Option<String>,
    /// Only runs that were made at or before this: a duration back from now, or an instant
    #[arg(long, value_name = "DURATION|INSTANT")]
    pub(in crate::cli) until: Option<String>,
    /// Only runs whose last attempt took longer than this, or takes longer by now
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) longer_than: Option<String>,
    /// Only runs with this text in their message or in the logs of their attempts
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) text: Option<String>,
    /// Only runs that have begun, without those that wait for their first attempt
    #[arg(long)]
    pub(in crate::cli) begun: bool,
    /// Show this many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(in crate::cli) limit: u16,
    /// Continue a list where a page ended
    #[arg(long, value_name = "CURSOR", conflicts_with = "before")]
    pub(in crate::cli) cursor: Option<String>,
    /// Only runs before this one
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub(in crate::cli) before: Option<RunId>,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

/// Returns the words for outcomes, with those for groups of them.
fn outcomes() -> Vec<&'static str> {
    Outcome::ALL.into_iter().map(Outcome::as_str).chain([FAILED, CRASHED]).collect()
}

/// A task by its name, or tasks by a pattern. A text with `*` is a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum TaskOrPattern {
    Task(Name),
    Pattern(String),
}

impl FromStr for TaskOrPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('*') {
            return Ok(Self::Pattern(text.to_owned()));
        }
        Name::new(text).map(Self::Task).map_err(|e| e.to_string())
    }
}
