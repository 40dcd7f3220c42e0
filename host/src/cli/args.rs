//! Defines the commands and their arguments, as `--help` shows them.

mod connection;
mod events;
mod help;
mod hosts;
mod lists;
#[cfg(test)]
mod reference;
mod runs;
mod schedules;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use const_format::formatcp;

pub(super) use connection::{DEFAULT_URL, HostCommand, ListArgs, TenantArgs, TenantCommand};
pub(super) use events::EventsArgs;
pub(super) use hosts::{
    CacheCommand, CacheGetArgs, CacheHistoryArgs, CacheListArgs, CacheRestoreArgs, CacheSetArgs, DrainArgs, LocksArgs,
};
pub use hosts::{Hidden, RunArgs};
pub(super) use lists::{RunsArgs, TaskOrPattern, TasksArgs};
pub(super) use runs::{
    BackfillArgs, KillArgs, LogsArgs, PauseArgs, ProfileArgs, ReleaseArgs, RerunArgs, ResultArgs, ResumeArgs,
    RunOrTask, ShowArgs, StackArgs, TopArgs, TriggerArgs,
};
pub(super) use schedules::{AddArgs, DeleteArgs, ExplainArgs, ScheduleCommand, ScheduleKeyArgs, SchedulesArgs};

use sexton_domain::schedule::TZDATA;
use sexton_domain::task::Name;

/// Schedules and supervises tasks compiled to WebAssembly components.
#[derive(Clone, Debug, Parser)]
#[command(name = "sexton", version, long_version = LONG_VERSION.as_str(), propagate_version = true, max_term_width = 100, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no host answers, 4 not found, 5 waited too long, 6 in conflict with the current state; 10 and more: how an awaited run ended (`sexton trigger --help`).\n\
                        Example: sexton trigger hello --wait\n\
                        When is it due: sexton schedule explain '30 2 * * mon' --zone Europe/Berlin"
)]
pub struct Cli {
    /// The options that may stand before the command as well as behind it.
    #[command(flatten)]
    pub(super) before: TenantArgs,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The text of `--version`: the program's version, and that of its time zone rules.
static LONG_VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{}\ntzdata {TZDATA} (compiled in)", env!("CARGO_PKG_VERSION")));

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Run a host in the foreground
    #[command(after_help = "Example: sexton run --plugins plugins --var var")]
    Run(RunArgs),
    /// Check manifests without a host, and show when their tasks are due next
    #[command(after_help = "Example: sexton check plugins/*.toml")]
    Check(CheckArgs),
    /// Explain schedules; add, list, show and delete those added without a manifest
    #[command(subcommand, after_help = "Example: sexton schedule explain '30 2 * * mon' --zone Europe/Berlin")]
    Schedule(ScheduleCommand),
    /// Simulate a plugin's schedules: a host whose clock jumps, and what runs when
    #[command(after_help = "Example: sexton test plugins/report.wasm --at 2027-03-28T01:00+01:00 --for 2d")]
    Test(super::test::TestArgs),
    /// Move all records of a store into another, from SQLite to PostgreSQL or back, while no host uses them
    #[command(
        after_help = "Example: sexton migrate --from sqlite:var/sexton.db --to postgres://sexton@db.example/jobs"
    )]
    Migrate(super::migrate::MigrateArgs),
    /// Copy a host's store into a new file, also while the host is up
    #[command(after_help = "Example: sexton backup /backups/sexton.db --var /var/lib/sexton/var")]
    Backup(super::backup::BackupArgs),
    /// Restore a copy over a host's store while the host is down; the old store is kept aside
    #[command(after_help = "Example: sexton restore /backups/sexton-2027-03-01.db --var /var/lib/sexton/var")]
    Restore(super::backup::RestoreArgs),
    /// List the hosts that share the store: which are up, and how many runs each has in progress
    #[command(after_help = "Example: sexton hosts")]
    Hosts(HostCommand<ListArgs>),
    /// Stop a host from taking new runs; runs in progress finish
    #[command(after_help = "Example: sexton drain --wait")]
    Drain(HostCommand<DrainArgs>),
    /// List the tenants, with their use of the host and their limits
    #[command(after_help = "Example: sexton tenants")]
    Tenants(HostCommand<ListArgs>),
    /// List the plugins, and why those in quarantine are not used
    #[command(after_help = "Example: sexton plugins --json")]
    Plugins(TenantCommand<ListArgs>),
    /// List the tasks: when they are due, and how their last runs ended; or show one with sums over its runs
    #[command(after_help = "Example: sexton tasks\nExample: sexton tasks hello --since 24h\n\
                            Example: sexton tasks --label team=web")]
    Tasks(TenantCommand<TasksArgs>),
    /// List the chains: the position of each, and how its links last ended
    #[command(after_help = "Example: sexton chains")]
    Chains(TenantCommand<ListArgs>),
    /// List runs, newest first
    #[command(after_help = "Example: sexton runs --outcome failed --since 1h\n\
                            Example: sexton runs --task 'report-*' --label team=web --longer-than 10s")]
    Runs(TenantCommand<RunsArgs>),
    /// Show a run with its attempts: input, outcome, accounts, message, backtrace, log; and the runs that came of it
    #[command(after_help = "Example: sexton show 17")]
    Show(TenantCommand<ShowArgs>),
    /// Print the log of a run, or of a task's latest run that has begun
    #[command(after_help = "Example: sexton logs -f hello")]
    Logs(TenantCommand<LogsArgs>),
    /// Follow events of runs, tasks, schedules, plugins and hosts as they happen
    #[command(after_help = "Example: sexton events --kind run.finished\n\
                            Example: sexton events --task hello --after 0 --json")]
    Events(TenantCommand<EventsArgs>),
    /// Make a run of a task, or a run for each line of a file
    #[command(after_help = formatcp!(
        "Example: sexton trigger hello --input '{{\"name\":\"Ada\"}}' --wait\n\
         Example: sexton trigger --from runs.ndjson\n{}",
        super::error::OF_RUNS
    ))]
    Trigger(TenantCommand<TriggerArgs>),
    /// Repeat a run that is over: a new run of the same task, with the same input or another
    #[command(after_help = formatcp!("Example: sexton rerun 17 --wait\n{}", super::error::OF_RUNS))]
    Rerun(TenantCommand<RerunArgs>),
    /// Make runs for instants of a task's schedule that have passed and have no run
    #[command(after_help = "Example: sexton backfill report --from 2027-03-01 --to 2027-03-08 --dry-run")]
    Backfill(TenantCommand<BackfillArgs>),
    /// Stop a run. If it is running and supports cancellation, it gets its grace period first
    #[command(after_help = "Example: sexton kill 17 --reason 'wrong input'")]
    Kill(TenantCommand<KillArgs>),
    /// Let a run start that is held back because it is suspected of killing its host
    #[command(after_help = "Example: sexton release 17")]
    Release(TenantCommand<ReleaseArgs>),
    /// Watch the runs in progress on this host: fuel, memory, age, lane, waits
    #[command(after_help = "Example: sexton top --once")]
    Top(TenantCommand<TopArgs>),
    /// Show where a run in progress is, and whether it spins, waits, or is slow
    #[command(after_help = "Example: sexton stack 17")]
    Stack(TenantCommand<StackArgs>),
    /// Write a profile of a run in progress, for the Firefox Profiler
    #[command(after_help = "Example: sexton profile 17 --for 5s -o slow.json")]
    Profile(TenantCommand<ProfileArgs>),
    /// Pause a task, a chain, a tenant or everything; runs in progress continue
    #[command(after_help = "Example: sexton pause --all --reason 'the disk is being replaced'")]
    Pause(TenantCommand<PauseArgs>),
    /// End a pause; runs that were due during the pause are not made up
    #[command(after_help = "Example: sexton resume hello")]
    Resume(TenantCommand<ResumeArgs>),
    /// Older form of `schedule add`
    #[command(hide = true)]
    Add(Box<TenantCommand<AddArgs>>),
    /// Older form of `schedule list`
    #[command(hide = true)]
    List(TenantCommand<SchedulesArgs>),
    /// Older form of `schedule delete`
    #[command(hide = true)]
    Delete(TenantCommand<DeleteArgs>),
    /// Print the output of a run, or of a task's run that was the last to succeed
    #[command(after_help = "Example: sexton result frontpage > page.html")]
    Result(TenantCommand<ResultArgs>),
    /// List the locks that are held, or show which runs wait for which
    #[command(after_help = "Example: sexton locks --graph")]
    Locks(TenantCommand<LocksArgs>),
    /// Read and change cache entries
    #[command(subcommand, after_help = "Example: sexton cache list front/")]
    Cache(CacheCommand),
    /// Write a new task crate that builds
    #[command(after_help = "Example: sexton new tidy-up\n\
                            Example: sexton new nightly-report --program")]
    New(NewArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example: sexton completions bash > ~/.local/share/bash-completion/completions/sexton")]
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
    /// Print the JSON schema of manifests, for editors
    #[command(after_help = "Example: sexton schema > sexton-manifest.schema.json")]
    Schema,
}

#[derive(Args, Clone, Debug)]
pub(super) struct CheckArgs {
    /// Manifests (`NAME.toml`) [default: those in `plugins`]
    pub(super) files: Vec<PathBuf>,
    /// Number of due instants to show of each task [default: 5, and 1 if there are more than 10 tasks]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(super) next: Option<u16>,
    /// Print errors and warnings only
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(super) json: bool,
}

#[derive(Args, Clone, Debug)]
pub(super) struct NewArgs {
    /// Name of the plugin and its task
    pub(super) name: Name,
    /// Directory to make [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    pub(super) path: Option<PathBuf>,
    /// Directory of the crate sexton-task [default: that of the checkout around, else a copy in the new crate]
    #[arg(long, value_name = "DIR", conflicts_with = "program")]
    pub(super) sdk_path: Option<PathBuf>,
    /// Write an ordinary program, which uses standard input and output and no SDK
    #[arg(long)]
    pub(super) program: bool,
}

impl Cli {
    /// Returns all commands, with their help.
    pub(super) fn commands() -> clap::Command {
        help::with_groups(Self::command())
    }

    /// Parses a command line.
    pub(super) fn read<I: IntoIterator<Item = W>, W: Into<OsString> + Clone>(words: I) -> Result<Self, clap::Error> {
        let mut commands = Self::commands();
        let matches = commands.try_get_matches_from_mut(words)?;
        refuse_unused(&matches, &commands)?;
        Self::from_arg_matches(&matches).map_err(|e| e.format(&mut commands))
    }
}

/// Refuses `--url` and `--tenant` before a command that has no use for them, as that command itself does behind it.
fn refuse_unused(matches: &ArgMatches, commands: &clap::Command) -> Result<(), clap::Error> {
    let (mut innermost, mut named) = (commands, matches);
    while let Some((name, matches)) = named.subcommand() {
        let Some(command) = innermost.find_subcommand(name) else { break };
        (innermost, named) = (command, matches);
    }
    let is_written = |option: &str| matches.value_source(option).is_some();
    let takes = |option: &str| innermost.get_arguments().any(|known| known.get_id() == option);
    let Some(unused) = ["url", "tenant"].into_iter().find(|option| is_written(option) && !takes(option)) else {
        return Ok(());
    };
    let mut error = clap::Error::new(ErrorKind::UnknownArgument).with_cmd(innermost);
    error.insert(ContextKind::InvalidArg, ContextValue::String(format!("--{unused}")));
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, RunOrTask};
    use sexton_domain::run::RunId;

    #[test]
    fn the_definition_of_the_commands_is_sound() {
        Cli::commands().debug_assert();
    }

    #[test]
    fn every_command_has_a_line_of_help_and_an_example() {
        fn look(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
                let path = format!("{path} {}", sub.get_name());
                assert!(sub.get_about().is_some(), "`{path}` says nothing");
                let example = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(example.starts_with(&format!("Example: sexton{path}")), "`{path}`: {example}");
                look(sub, &path);
            }
        }
        look(&Cli::commands(), "");
    }

    #[test]
    fn a_number_is_a_run_and_anything_else_a_task() {
        assert_eq!("17".parse(), Ok(RunOrTask::Run(RunId(17))));
        assert!(matches!("17a".parse(), Ok(RunOrTask::Task(name)) if name.as_str() == "17a"));
        assert!("A task".parse::<RunOrTask>().is_err());
        assert!("99999999999999999999".parse::<RunOrTask>().is_err());
    }

    #[test]
    fn options_that_exclude_each_other_are_refused() {
        for wrong in [
            "sexton trigger t --input a --input-file b",
            "sexton trigger t --at 2026-01-01T00:00:00Z --in 1s",
            "sexton trigger t --past-limits --in 1s",
            "sexton pause t --all",
            "sexton resume t --all",
            "sexton resume t --reason x",
            "sexton drain --wait --undo",
            "sexton trigger t --timeout 5s",
            "sexton trigger",
            "sexton trigger t --from runs.ndjson",
            "sexton trigger --from runs.ndjson --wait",
            "sexton trigger t --wait --timeout 5",
            "sexton cache set k",
            "sexton cache set k v --file f",
            "sexton show -1",
            "sexton stack 1 --samples 0",
            "sexton profile 1 --for 5",
            "sexton show X",
            "sexton runs --state asleep",
            "sexton runs --limit 0",
            "sexton runs --outcome lost,asleep",
            "sexton runs --cause chance",
            "sexton runs --key A",
            "sexton runs --cursor r1 --before 1",
            "sexton tasks --limit 0",
            "sexton tasks --since 7d",
            "sexton result",
            "sexton result t --of-run x",
            "sexton rerun t",
            "sexton rerun 1 --input a --input-file b",
            "sexton rerun 1 --timeout 5s",
            "sexton backfill t",
            "sexton backfill t --from 2027-01-01 --dry-run --yes",
            "sexton backfill t --from 2027-01-01 --at-once 0",
            "sexton backfill t --from 2027-01-01 --cancel",
            "sexton run --listen 7070",
            "sexton schedule explain @daily --zone Europe/Belrin",
            "sexton schedule explain @daily --next 0",
            "sexton schedule explain @daily --month 2027-13",
            "sexton schedule explain @daily --month 2027-03 --json",
            "sexton nonsense",
        ] {
            let parsed = Cli::read(wrong.split(' '));
            assert_eq!(parsed.map_err(|e| e.exit_code()).err(), Some(2), "{wrong}");
        }
    }

    #[test]
    fn the_host_may_be_named_before_or_after_the_command() {
        for line in ["sexton --url http://localhost:1 tasks", "sexton tasks --host http://localhost:1"] {
            let cli = Cli::read(line.split(' ')).expect("a well-formed line");
            let Command::Tasks(asks) = cli.command else { panic!("{line}: another command") };
            let url = asks.about.host.url.or(cli.before.host.url);
            assert_eq!(url.as_deref(), Some("http://localhost:1"));
        }
    }

    #[test]
    fn a_command_that_asks_no_host_takes_no_url_and_no_tenant_on_either_side() {
        for command in
            ["run", "check", "schedule explain @daily", "new x", "schema", "completions bash", "test x --at y --for z"]
        {
            for option in ["--url http://localhost:1", "--tenant acme", "--host localhost:1"] {
                for line in [format!("sexton {option} {command}"), format!("sexton {command} {option}")] {
                    let refused = Cli::read(line.split(' ')).map(drop).map_err(|e| e.exit_code());
                    assert_eq!(refused, Err(2), "{line}");
                }
            }
        }
        for command in ["hosts", "drain", "tenants"] {
            for line in [format!("sexton --tenant acme {command}"), format!("sexton {command} --tenant acme")] {
                assert!(Cli::read(line.split(' ')).is_err(), "these are about all tenants: {line}");
            }
        }
    }

    #[test]
    fn help_shows_options_of_the_host_only_where_a_command_uses_them() {
        let help = |line: &str| Cli::read(line.split(' ')).expect_err("help is shown").to_string();

        for asks in ["sexton tasks --help", "sexton schedule add --help", "sexton cache get --help"] {
            assert!(help(asks).contains("--url") && help(asks).contains("--tenant"), "{asks}: {}", help(asks));
        }
        for alone in ["sexton run --help", "sexton new --help", "sexton schedule explain --help"] {
            assert!(!help(alone).contains("--url") && !help(alone).contains("--tenant"), "{alone}: {}", help(alone));
        }
        let hosts = help("sexton hosts --help");
        assert!(hosts.contains("--url") && !hosts.contains("--tenant"), "{hosts}");
    }

    #[test]
    fn names_that_options_had_before_are_accepted_and_not_shown() {
        for (old, command, hidden) in [
            ("sexton schedule explain @daily --tz Europe/Berlin", "schedule explain", "--tz"),
            ("sexton schedule explain @daily --timezone Europe/Berlin", "schedule explain", "--timezone"),
            ("sexton schedule add k --task t --cron @daily --tz Europe/Berlin", "schedule add", "--tz"),
            ("sexton schedule add k --task t --cron @daily --timezone Europe/Berlin", "schedule add", "--timezone"),
            ("sexton schedule add k --task t --cron @daily --data x", "schedule add", "--data"),
            ("sexton trigger t --after 10s", "trigger", "--after"),
            ("sexton pause t --why x", "pause", "--why"),
            ("sexton kill 1 --why x", "kill", "--why"),
            ("sexton tasks --host localhost:1", "tasks", "--host"),
            ("sexton add k --task t --every 1s", "", " add "),
            ("sexton list --task t", "", " list "),
            ("sexton delete k", "", " delete "),
        ] {
            Cli::read(old.split(' ')).unwrap_or_else(|e| panic!("{old}: {e}"));
            let help = format!("sexton {command} --help");
            let help = Cli::read(help.split_whitespace()).expect_err("help is shown").to_string();
            assert!(!help.lines().any(|line| line.trim_start().starts_with(hidden.trim_start())), "{hidden}: {help}");
        }
    }

    #[test]
    fn an_address_to_listen_at_is_not_a_name_and_the_message_says_what_to_write() {
        for (wrong, write) in [
            ("localhost:7202", "`localhost:7202` is a name, not an address; write 127.0.0.1:7202"),
            ("7202", "`7202` is not an address and a port; write 127.0.0.1:7202"),
            (":7202", "write 127.0.0.1:7202"),
            ("127.0.0.1", "write 127.0.0.1:7070"),
        ] {
            let refused = Cli::read(["sexton", "run", "--listen", wrong]).expect_err(wrong).to_string();
            assert!(refused.contains(write), "{refused}");
        }
    }
}
