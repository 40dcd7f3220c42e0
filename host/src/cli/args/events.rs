//! Defines the arguments of `events`.

use clap::Args;

use super::ListArgs;
use sexton_domain::task::Name;

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct EventsArgs {
    /// Only events of this task and its runs
    #[arg(long, value_name = "TASK")]
    pub(in crate::cli) task: Option<Name>,
    /// Only events of these kinds, such as `run.finished`, or `run` for all about runs; several with commas between them
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub(in crate::cli) kind: Vec<String>,
    /// Begin after the event with this id, 0 for all that are kept [default: the newest event]
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) after: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}
