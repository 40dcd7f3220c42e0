//! The commands and their arguments, as `--help` shows them.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use chrono_tz::Tz;
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use super::hosts::DrainArgs;
use super::schedules::{AddArgs, DeleteArgs, SchedulesArgs};
use crate::run::{RunId, RunState};
use crate::schedule::{TZDATA, zone};
use crate::task::Name;

/// Schedules and supervises tasks compiled to WebAssembly components.
#[derive(Clone, Debug, Parser)]
#[command(name = "sexton", version, long_version = LONG_VERSION.as_str(), propagate_version = true, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no host answers, 4 not found, 5 waited too long, 6 in conflict with what is there.\n\
                        Example: sexton trigger hello --wait\n\
                        When is it due: sexton schedule explain '30 2 * * mon' --tz Europe/Berlin"
)]
pub struct Cli {
    /// Where the host's API is
    #[arg(long, visible_alias = "host", env = "SEXTON_URL", default_value = DEFAULT_URL, global = true, value_name = "URL")]
    pub url: String,
    /// Whose tasks, runs, locks and cache are meant [default: those of the default tenant]
    #[arg(long, env = "SEXTON_TENANT", global = true, value_name = "NAME")]
    pub tenant: Option<Name>,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What `--version` says: the program's, and by which rules it sets clocks.
static LONG_VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{}\ntzdata {TZDATA} (compiled in)", env!("CARGO_PKG_VERSION")));

pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:7070";

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Run a host in the foreground
    #[command(after_help = "Example: sexton run --plugins plugins --var var")]
    Run(RunArgs),
    /// Check manifests without a host, and show when their tasks are due next
    #[command(after_help = "Example: sexton check plugins/*.toml")]
    Check(CheckArgs),
    /// Say what a schedule means before a task has it
    #[command(subcommand, after_help = "Example: sexton schedule explain '30 2 * * mon' --tz Europe/Berlin")]
    Schedule(ScheduleCommand),
    /// Try a plugin's schedules without waiting: a host whose clock jumps, and what ran when
    #[command(after_help = "Example: sexton test plugins/report.wasm --at 2027-03-28T01:00+01:00 --for 2d")]
    Test(super::test::TestArgs),
    /// Move all that a store has into another, from SQLite to PostgreSQL or back, while no host uses them
    #[command(
        after_help = "Example: sexton migrate --from sqlite:var/sexton.db --to postgres://sexton@db.example/jobs"
    )]
    Migrate(super::migrate::MigrateArgs),
    /// List the hosts that share the store: which are up, and what each has under way
    #[command(after_help = "Example: sexton hosts")]
    Hosts(ListArgs),
    /// Have a host take no more runs, and finish those it has
    #[command(after_help = "Example: sexton drain --wait")]
    Drain(DrainArgs),
    /// List the tenants: what they use of the host, and what they may
    #[command(after_help = "Example: sexton tenants")]
    Tenants(ListArgs),
    /// List the plugins, and why those in quarantine are not used
    #[command(after_help = "Example: sexton plugins --json")]
    Plugins(ListArgs),
    /// List the tasks: when they are due, and how they last went
    #[command(after_help = "Example: sexton tasks")]
    Tasks(ListArgs),
    /// List the chains: where each is, and how its links last ended
    #[command(after_help = "Example: sexton chains")]
    Chains(ListArgs),
    /// List runs, newest first
    #[command(after_help = "Example: sexton runs --task hello --state failed --limit 10")]
    Runs(RunsArgs),
    /// Show a run with its attempts: outcome, accounts, message, backtrace, log, stdout
    #[command(after_help = "Example: sexton show 17")]
    Show {
        /// Id of the run
        #[arg(value_parser = run_id)]
        run: RunId,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Print the log of a run, or of a task's latest run
    #[command(after_help = "Example: sexton logs -f hello")]
    Logs {
        /// Go on as the log grows; for a task, through all runs to come
        #[arg(short, long)]
        follow: bool,
        /// Id of the run, or name of the task
        #[arg(value_name = "RUN|TASK")]
        what: RunOrTask,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Make a run of a task
    #[command(after_help = "Example: sexton trigger hello --input '{\"name\":\"Ada\"}' --wait")]
    Trigger(TriggerArgs),
    /// End a run: after its grace if it can hear of that, else at once; before it starts if it waits
    #[command(after_help = "Example: sexton kill 17 --reason 'wrong input'")]
    Kill(KillArgs),
    /// Watch the runs that are going on this host: fuel, memory, age, lane, waits
    #[command(after_help = "Example: sexton top --once")]
    Top(TopArgs),
    /// Show where a run that is going is, and whether it spins, waits, or is slow
    #[command(after_help = "Example: sexton stack 17")]
    Stack(StackArgs),
    /// Write a profile of a run that is going, for the Firefox Profiler
    #[command(after_help = "Example: sexton profile 17 --for 5s -o slow.json")]
    Profile(ProfileArgs),
    /// Let nothing of a task or chain, of a tenant's tasks, or of all, start until they are resumed
    #[command(after_help = "Example: sexton pause --all --why 'the disk is being replaced'")]
    Pause(PauseArgs),
    /// Let what is paused go on; what was due meanwhile is left out
    #[command(after_help = "Example: sexton resume hello")]
    Resume {
        /// Name of the task or chain [with --tenant and without it: all of the tenant's]
        #[arg(conflicts_with = "all")]
        task: Option<Name>,
        /// All tasks; with --tenant all of the tenant's. Those that were paused by themselves stay so
        #[arg(long)]
        all: bool,
    },
    /// Add a schedule that makes runs of a task
    #[command(
        after_help = "Example: sexton add monday-report --task report --cron '0 9 * * mon' --timezone Europe/Berlin"
    )]
    Add(Box<AddArgs>),
    /// List the schedules that were added, by key
    #[command(after_help = "Example: sexton list --task report")]
    List(SchedulesArgs),
    /// Delete a schedule that was added; a run that it has made goes on
    #[command(after_help = "Example: sexton delete monday-report")]
    Delete(DeleteArgs),
    /// Print what a run made, or what a task's latest good run made
    #[command(after_help = "Example: sexton result frontpage > page.html")]
    Result {
        /// Id of the run, or name of the task
        #[arg(value_name = "RUN|TASK")]
        what: RunOrTask,
    },
    /// List the locks that are held, or show who waits for whom
    #[command(after_help = "Example: sexton locks --graph")]
    Locks(LocksArgs),
    /// Read and change cache entries
    #[command(subcommand, after_help = "Example: sexton cache list front/")]
    Cache(CacheCommand),
    /// Write a new task crate that builds
    #[command(after_help = "Example: sexton new tidy-up")]
    New(NewArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example: sexton completions bash > ~/.local/share/bash-completion/completions/sexton")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the JSON schema of manifests, for editors
    #[command(after_help = "Example: sexton schema > sexton-manifest.schema.json")]
    Schema,
}

/// How a host is started.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArgs {
    /// Configuration file [default: sexton.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory with the plugins, over the configuration
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Directory for the database and compiled code, over the configuration
    #[arg(long, value_name = "DIR")]
    pub var: Option<PathBuf>,
    /// Address of the API, over the configuration
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// URL of the PostgreSQL database that has the store, over the configuration; better in the environment, if there is a
    /// password in it
    #[arg(long, env = "SEXTON_STORE_URL", hide_env_values = true, value_name = "URL")]
    pub store_url: Option<Hidden>,
}

/// A text that may hold a password: it is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(pub(super) String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

impl FromStr for Hidden {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

#[derive(Args, Clone, Debug)]
pub(super) struct CheckArgs {
    /// Manifests (`NAME.toml`) [default: those in `plugins`]
    pub(super) files: Vec<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum ScheduleCommand {
    /// Show a crontab, an interval or an instant in words, and when it fires; gaps and folds of the clock are marked
    #[command(after_help = "Example: sexton schedule explain '30 2 * * *' --tz Europe/Berlin --month 2027-03\n\
                            Example: sexton schedule explain 'tomorrow 4am + 2 hours'")]
    Explain(ExplainArgs),
}

#[derive(Args, Clone, Debug)]
pub(super) struct ExplainArgs {
    /// Five fields as crontab(5), `@daily`, `every 10m`, or an instant in words, such as `friday 17:00`
    pub(super) schedule: String,
    /// By whose clocks, unless the schedule names a zone itself [default: UTC]
    #[arg(long = "tz", visible_alias = "zone", value_name = "ZONE", value_parser = zone)]
    pub(super) zone: Option<Tz>,
    /// The crontab has a field for seconds before the others, as `cron-seconds` has in a manifest
    #[arg(long)]
    pub(super) seconds: bool,
    /// The task whose it would be: where `H` and `~` fall depends on that, with its tenant as TENANT/NAME
    #[arg(long, value_name = "NAME")]
    pub(super) task: Option<String>,
    /// Nothing is due before, and intervals are counted from here, such as 2027-01-04
    #[arg(long, value_name = "INSTANT")]
    pub(super) start: Option<String>,
    /// How many instants to show
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) next: u16,
    /// Count from here, such as 2027-03-01 [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub(super) from: Option<String>,
    /// Draw a month with how often it fires on each day
    #[arg(long, value_name = "YYYY-MM", conflicts_with = "json")]
    pub(super) month: Option<Month>,
    #[command(flatten)]
    pub(super) list: ListArgs,
}

/// A month of a year of four digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Month {
    pub(super) year: i32,
    pub(super) month: u32,
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

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct ListArgs {
    /// Print the API's JSON as it is
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct LocksArgs {
    /// Show who holds what and who waits for it
    #[arg(long)]
    pub(super) graph: bool,
    /// Print the graph for graphviz
    #[arg(long, requires = "graph", conflicts_with = "json")]
    pub(super) dot: bool,
    #[command(flatten)]
    pub(super) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(super) struct RunsArgs {
    /// Only of this task
    #[arg(long)]
    pub(super) task: Option<Name>,
    /// Only in this state
    #[arg(long, value_parser = PossibleValuesParser::new(RunState::ALL.map(RunState::as_str)))]
    pub(super) state: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) limit: u16,
    /// Only runs before this one
    #[arg(long, value_name = "RUN", value_parser = run_id)]
    pub(super) before: Option<RunId>,
    #[command(flatten)]
    pub(super) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(super) struct TriggerArgs {
    /// Name of the task
    pub(super) task: Name,
    /// What the run is given [default: what the manifest sets]
    #[arg(long, value_name = "TEXT")]
    pub(super) input: Option<String>,
    /// File with what the run is given; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    pub(super) input_file: Option<PathBuf>,
    /// Make no second run for this key
    #[arg(long)]
    pub(super) key: Option<String>,
    /// Not before this instant: RFC 3339, or words such as "next friday 17:00", by the clocks of the task's zone
    #[arg(long, value_name = "INSTANT", conflicts_with = "after")]
    pub(super) at: Option<String>,
    /// Not before this is over, such as 10s
    #[arg(long, value_name = "DURATION")]
    pub(super) after: Option<String>,
    /// Now, although the task is paused, held back, over its budget or has as many runs as it may
    #[arg(long, conflicts_with_all = ["at", "after"])]
    pub(super) past_limits: bool,
    /// Wait until the run is over, and print what it made
    #[arg(long)]
    pub(super) wait: bool,
    /// How long to wait [default: for ever]
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = humantime::parse_duration)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(super) struct PauseArgs {
    /// Name of the task [with --tenant and without it: all of the tenant's]
    #[arg(conflicts_with = "all")]
    pub(super) task: Option<Name>,
    /// All tasks, those that come later, too; with --tenant all of the tenant's
    #[arg(long)]
    pub(super) all: bool,
    /// Shown wherever the pause is
    #[arg(long, value_name = "TEXT")]
    pub(super) why: Option<String>,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum CacheCommand {
    /// Print the value of an entry
    #[command(after_help = "Example: sexton cache get front/weather")]
    Get {
        /// Key of the entry
        key: String,
    },
    /// Set an entry
    #[command(after_help = "Example: sexton cache set front/motto 'Memento mori' --ttl 1h")]
    Set(CacheSetArgs),
    /// List entries by key
    #[command(after_help = "Example: sexton cache list front/")]
    List {
        /// Only keys that begin with this
        #[arg(default_value = "")]
        prefix: String,
        /// Only keys after this one
        #[arg(long, value_name = "KEY")]
        after: Option<String>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Delete an entry
    #[command(after_help = "Example: sexton cache delete front/weather")]
    Delete {
        /// Key of the entry
        key: String,
    },
}

#[derive(Args, Clone, Debug)]
pub(super) struct CacheSetArgs {
    /// Key of the entry
    pub(super) key: String,
    /// The value
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub(super) value: Option<String>,
    /// File with the value; `-` is stdin
    #[arg(long)]
    pub(super) file: Option<PathBuf>,
    /// When the entry ceases to be, such as 10m [default: never]
    #[arg(long, value_name = "DURATION")]
    pub(super) ttl: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct KillArgs {
    /// Id of the run
    #[arg(value_parser = run_id)]
    pub(super) run: RunId,
    /// Kept with the run
    #[arg(long)]
    pub(super) reason: Option<String>,
    /// Without its grace
    #[arg(long)]
    pub(super) now: bool,
}

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct TopArgs {
    /// Print once instead of watching, as where stdout is no terminal
    #[arg(long)]
    pub(super) once: bool,
    #[command(flatten)]
    pub(super) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(super) struct StackArgs {
    /// Id of the run
    #[arg(value_parser = run_id)]
    pub(super) run: RunId,
    /// How often to look
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub(super) samples: u16,
    /// How long to wait in between, up to 1s
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = humantime::parse_duration)]
    pub(super) apart: Duration,
    #[command(flatten)]
    pub(super) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(super) struct ProfileArgs {
    /// Id of the run
    #[arg(value_parser = run_id)]
    pub(super) run: RunId,
    /// For how long, up to 1m; ends with the run
    #[arg(long = "for", value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(super) length: Duration,
    /// File to write; `-` is stdout [default: run-RUN.profile.json]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct NewArgs {
    /// Name of the plugin and its task
    pub(super) name: Name,
    /// Directory to make [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    pub(super) path: Option<PathBuf>,
    /// Directory of the crate sexton-task [default: that of the checkout around, else the published crate]
    #[arg(long, value_name = "DIR")]
    pub(super) sdk_path: Option<PathBuf>,
}

/// A run by its id, or a task by its name. A number is always a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RunOrTask {
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

impl FromStr for Name {
    type Err = crate::task::BadName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

fn run_id(text: &str) -> Result<RunId, String> {
    match text.parse() {
        Ok(run @ RunId(0..)) => Ok(run),
        _ => Err("a run's id is a whole number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Command, RunOrTask};
    use crate::run::RunId;

    #[test]
    fn the_definition_of_the_commands_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_line_of_help_and_an_example() {
        fn look(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                let path = format!("{path} {}", sub.get_name());
                assert!(sub.get_about().is_some(), "`{path}` says nothing");
                let example = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(example.starts_with(&format!("Example: sexton{path}")), "`{path}`: {example}");
                look(sub, &path);
            }
        }
        look(&Cli::command(), "");
    }

    #[test]
    fn a_number_is_a_run_and_anything_else_a_task() {
        assert_eq!("17".parse(), Ok(RunOrTask::Run(RunId(17))));
        assert!(matches!("17a".parse(), Ok(RunOrTask::Task(name)) if name.as_str() == "17a"));
        assert!("A task".parse::<RunOrTask>().is_err());
        assert!("99999999999999999999".parse::<RunOrTask>().is_err());
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        for wrong in [
            "sexton trigger t --input a --input-file b",
            "sexton trigger t --at 2026-01-01T00:00:00Z --after 1s",
            "sexton trigger t --past-limits --after 1s",
            "sexton pause t --all",
            "sexton resume t --all",
            "sexton resume t --why x",
            "sexton drain --wait --undo",
            "sexton trigger t --timeout 5s",
            "sexton trigger t --wait --timeout 5",
            "sexton cache set k",
            "sexton cache set k v --file f",
            "sexton show -1",
            "sexton stack 1 --samples 0",
            "sexton profile 1 --for 5",
            "sexton show x",
            "sexton runs --state asleep",
            "sexton runs --limit 0",
            "sexton run --listen 7070",
            "sexton schedule explain @daily --tz Europe/Belrin",
            "sexton schedule explain @daily --next 0",
            "sexton schedule explain @daily --month 2027-13",
            "sexton schedule explain @daily --month 2027-03 --json",
            "sexton nonsense",
        ] {
            let parsed = Cli::try_parse_from(wrong.split(' '));
            assert_eq!(parsed.map_err(|e| e.exit_code()).err(), Some(2), "{wrong}");
        }
    }

    #[test]
    fn where_the_host_is_can_be_said_on_either_side_of_the_command() {
        for line in ["sexton --url http://localhost:1 tasks", "sexton tasks --host http://localhost:1"] {
            let cli = Cli::try_parse_from(line.split(' ')).expect("a well-formed line");
            assert_eq!(cli.url, "http://localhost:1");
            assert!(matches!(cli.command, Command::Tasks(_)));
        }
    }
}
