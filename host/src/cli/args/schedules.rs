//! Defines the arguments of `schedule`: explaining schedules, and adding, listing, showing, resetting and deleting
//! added ones.

use std::path::PathBuf;
use std::str::FromStr;

use chrono_tz::Tz;
use clap::{ArgGroup, Args, Subcommand};

use super::{ListArgs, TenantCommand};
use sexton_domain::schedule::zone;
use sexton_domain::task::Name;

#[derive(Clone, Debug, Subcommand)]
pub(in crate::cli) enum ScheduleCommand {
    /// Explain a schedule and list when it fires, without a host; gaps and folds of the clock are marked
    #[command(after_help = "Example: sexton schedule explain '30 2 * * *' --zone Europe/Berlin --month 2027-03\n\
                            Example: sexton schedule explain 'tomorrow 4am + 2 hours'")]
    Explain(ExplainArgs),
    /// Add a schedule that makes runs of a task
    #[command(
        after_help = "Example: sexton schedule add monday-report --task report --cron '0 9 * * mon' --zone Europe/Berlin\n\
                      Example: sexton schedule add welcome-4711 --type mail-welcome --every 1d --first 'in 10m'"
    )]
    Add(Box<TenantCommand<AddArgs>>),
    /// List the schedules that were added, by key, or show one of them
    #[command(after_help = "Example: sexton schedule list --task report\n\
                            Example: sexton schedule list monday-report")]
    List(TenantCommand<SchedulesArgs>),
    /// Show a schedule that was added
    #[command(after_help = "Example: sexton schedule show monday-report")]
    Show(TenantCommand<ScheduleKeyArgs>),
    /// Let an added schedule continue from now, after the clock was set back
    #[command(after_help = "Example: sexton schedule reset monday-report")]
    Reset(TenantCommand<ScheduleKeyArgs>),
    /// Delete a schedule that was added; a run that it has made continues
    #[command(after_help = "Example: sexton schedule delete monday-report")]
    Delete(TenantCommand<DeleteArgs>),
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct ExplainArgs {
    /// Five fields as crontab(5), `@daily`, `every 10m`, or an instant in words, such as `friday 17:00`
    pub(in crate::cli) schedule: String,
    /// Time zone of the schedule, unless it names one itself [default: UTC]
    #[arg(long, aliases = ["tz", "timezone"], value_name = "ZONE", value_parser = zone)]
    pub(in crate::cli) zone: Option<Tz>,
    /// The crontab has a field for seconds before the others, as `cron-seconds` has in a manifest
    #[arg(long)]
    pub(in crate::cli) seconds: bool,
    /// Task that would have the schedule, with its tenant as TENANT/NAME, or NAME/KEY for an added schedule: the place
    /// of `H` and `~` depends on it
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) task: Option<String>,
    /// No instant before this one is due, and intervals are counted from here, such as 2027-01-04
    #[arg(long, value_name = "INSTANT")]
    pub(in crate::cli) start: Option<String>,
    /// Number of instants to show
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(in crate::cli) next: u16,
    /// Count from here, such as 2027-03-01 [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub(in crate::cli) from: Option<String>,
    /// Draw a month with how often it fires on each day
    #[arg(long, value_name = "YYYY-MM", conflicts_with = "json")]
    pub(in crate::cli) month: Option<Month>,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

/// A month of a year of four digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Month {
    pub(in crate::cli) year: i32,
    pub(in crate::cli) month: u32,
}

impl FromStr for Month {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |text: &str, most| text.len() == most && text.bytes().all(|b| b.is_ascii_digit());
        let month = text.split_once('-').filter(|(year, month)| digits(year, 4) && digits(month, 2));
        month
            .and_then(|(year, month)| Some(Self { year: year.parse().ok()?, month: month.parse().ok()? }))
            .filter(|month| (1..=9998).contains(&month.year) && (1..=12).contains(&month.month))
            .ok_or("write a month as 2027-03")
    }
}

/// A schedule, as the command line describes it.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("whose").required(true), group = ArgGroup::new("when").required(true))]
pub(in crate::cli) struct AddArgs {
    /// Key of the schedule: 1 to 64 of a-z, 0-9, `-`, `_` and `.`
    pub(in crate::cli) key: Name,
    /// Task whose runs it makes
    #[arg(long, group = "whose")]
    pub(in crate::cli) task: Option<Name>,
    /// Plugin whose task of the same name it makes runs of
    #[arg(long, group = "whose")]
    pub(in crate::cli) plugin: Option<Name>,
    /// Type, in place of a task: `[routes]` in a manifest leads it to one
    #[arg(long = "type", value_name = "TYPE", group = "whose")]
    pub(in crate::cli) kind: Option<Name>,
    /// Due at the instants of this crontab(5) expression
    #[arg(long, group = "when", value_name = "CRONTAB")]
    pub(in crate::cli) cron: Option<String>,
    /// Due at every multiple of this since 1970, such as 10s
    #[arg(long, group = "when", value_name = "DURATION")]
    pub(in crate::cli) every: Option<String>,
    /// Due once, at this instant: RFC 3339, or words such as "next friday 17:00"
    #[arg(long, group = "when", value_name = "INSTANT")]
    pub(in crate::cli) at: Option<String>,
    /// Due once, after this delay, such as 2h
    #[arg(long = "in", group = "when", value_name = "DURATION")]
    pub(in crate::cli) after_now: Option<String>,
    /// Time zone of the schedule, by its name in the IANA database [default: UTC]
    #[arg(long, aliases = ["tz", "timezone"], value_name = "ZONE")]
    pub(in crate::cli) zone: Option<String>,
    /// Time from the instant at which a run is due to its start
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) delay: Option<String>,
    /// No instant before this one is due
    #[arg(long, value_name = "INSTANT")]
    pub(in crate::cli) start: Option<String>,
    /// No instant after this one is due
    #[arg(long, value_name = "INSTANT")]
    pub(in crate::cli) end: Option<String>,
    /// First run at this instant, without the delay; the others follow as --cron or --every says
    #[arg(long, short = 'a', value_name = "INSTANT", conflicts_with_all = ["at", "after_now"])]
    pub(in crate::cli) first: Option<String>,
    /// Stop after this many runs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) times: Option<u32>,
    /// Input of its runs [default: that of the manifest]
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) input: Option<String>,
    /// File with the input of its runs; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    pub(in crate::cli) input_file: Option<PathBuf>,
    /// Older form of --input and --input-file: `@FILE` is the content of a file, `@-` stdin
    #[arg(long, value_name = "TEXT|@FILE", hide = true, conflicts_with_all = ["input", "input_file"])]
    pub(in crate::cli) data: Option<String>,
    /// Replace the schedule that has this key
    #[arg(long)]
    pub(in crate::cli) replace: bool,
    /// Replace it only if its current version is VERSION
    #[arg(long, value_name = "VERSION", requires = "replace")]
    pub(in crate::cli) if_version: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct SchedulesArgs {
    /// Show only this schedule, with its input
    #[arg(conflicts_with_all = ["task", "after"])]
    pub(in crate::cli) key: Option<Name>,
    /// Only schedules of this task
    #[arg(long)]
    pub(in crate::cli) task: Option<Name>,
    /// Only keys after this one
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) after: Option<Name>,
    /// Show this many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(in crate::cli) limit: u16,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct ScheduleKeyArgs {
    /// Key of the schedule
    pub(in crate::cli) key: Name,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct DeleteArgs {
    /// Key of the schedule
    pub(in crate::cli) key: Name,
    /// Delete it only if its current version is VERSION
    #[arg(long, value_name = "VERSION")]
    pub(in crate::cli) if_version: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}
