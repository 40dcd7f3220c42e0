//! Runs the command line. `docs/reference/cli.md` is its reference.
//!
//! All commands but `run`, `check`, `schedule explain`, `test`, `migrate`, `backup`, `restore`, `new`, `completions`
//! and `schema` use a host's HTTP API, so they see what any other client sees. Text that a guest wrote reaches a
//! terminal only with its control characters escaped.

mod args;
mod backfill;
mod backup;
mod batches;
mod cache;
mod chains;
mod check;
mod client;
mod error;
mod events;
mod hosts;
mod lists;
mod locks;
mod logs;
mod migrate;
mod new;
mod pausing;
mod profile;
mod run_view;
mod runs;
mod schedule;
mod schedules;
mod screen;
mod serve;
mod stack;
mod task_view;
mod test;
#[cfg(test)]
mod tests;
mod threads;
mod top;
mod trigger;

use std::process::ExitCode;

use args::{CacheCommand, Command, ScheduleCommand};
pub use args::{Cli, Hidden, RunArgs};
pub use error::{CliError, Exit};
use screen::Screen;

/// Parses the arguments, runs the command, and turns an error into a line, a hint and an exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(e) => {
            // Help goes to stdout and is no error, and a closed pipe there is none either.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    match dispatch(cli, &Screen::of_stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.tell();
            error.exit_code()
        }
    }
}

fn dispatch(cli: Cli, screen: &Screen) -> Result<(), CliError> {
    let before = &cli.before;
    match cli.command {
        Command::Run(args) => serve::run(args),
        Command::Check(args) => check::check(&args, screen),
        Command::Test(args) => test::test(args, screen),
        Command::Backup(args) => backup::backup(&args, screen),
        Command::Restore(args) => backup::restore(&args, screen),
        Command::Migrate(args) => migrate::migrate(&args, screen),
        Command::Schema => check::schema(screen),
        Command::New(args) => new::new(&args, screen),
        Command::Completions { shell } => completions(shell, screen),
        Command::Hosts(asks) => hosts::hosts(&asks.client(before)?, asks.args, screen),
        Command::Drain(asks) => hosts::drain(&asks.client(before)?, &asks.args, screen),
        Command::Tenants(asks) => lists::tenants(&asks.client(before)?, asks.args, screen),
        Command::Plugins(asks) => lists::plugins(&asks.client(before)?, asks.args, screen),
        Command::Tasks(asks) => task_view::tasks(&asks.client(before)?, &asks.args, screen),
        Command::Chains(asks) => chains::chains(&asks.client(before)?, asks.args, screen),
        Command::Runs(asks) => runs::runs(&asks.client(before)?, &asks.args, screen),
        Command::Locks(asks) => locks::locks(&asks.client(before)?, &asks.args, screen),
        Command::Show(asks) => run_view::show(&asks.client(before)?, &asks.args, screen),
        Command::Logs(asks) => logs::logs(&asks.client(before)?, &asks.args, screen),
        Command::Events(asks) => events::events(&asks.client(before)?, &asks.args, screen),
        Command::Trigger(asks) => match (&asks.args.from, &asks.args.task) {
            (Some(file), _) => batches::trigger(&asks.client(before)?, file, &asks.args, screen),
            (None, Some(task)) => trigger::trigger(&asks.client(before)?, task, &asks.args, screen),
            (None, None) => Err(CliError::usage("name the task, or a file with --from")),
        },
        Command::Rerun(asks) => trigger::rerun(&asks.client(before)?, &asks.args, screen),
        Command::Backfill(asks) => backfill::backfill(&asks.client(before)?, &asks.args, screen),
        Command::Kill(asks) => trigger::kill(&asks.client(before)?, &asks.args, screen),
        Command::Release(asks) => trigger::release(&asks.client(before)?, &asks.args, screen),
        Command::Result(asks) => trigger::result(&asks.client(before)?, &asks.args, screen),
        Command::Top(asks) => top::top(&asks.client(before)?, asks.args, screen),
        Command::Stack(asks) => stack::stack(&asks.client(before)?, &asks.args, screen),
        Command::Profile(asks) => profile::profile(&asks.client(before)?, &asks.args, screen),
        Command::Pause(asks) => pausing::pause(&asks.client(before)?, &asks.args, screen),
        Command::Resume(asks) => pausing::resume(&asks.client(before)?, &asks.args, screen),
        Command::Schedule(ScheduleCommand::Explain(args)) => schedule::explain(&args, screen),
        Command::Schedule(ScheduleCommand::Add(asks)) | Command::Add(asks) => {
            schedules::add(&asks.client(before)?, &asks.args, screen)
        }
        Command::Schedule(ScheduleCommand::List(asks)) | Command::List(asks) => {
            schedules::list(&asks.client(before)?, &asks.args, screen)
        }
        Command::Schedule(ScheduleCommand::Show(asks)) => schedules::show(&asks.client(before)?, &asks.args, screen),
        Command::Schedule(ScheduleCommand::Reset(asks)) => schedules::reset(&asks.client(before)?, &asks.args, screen),
        Command::Schedule(ScheduleCommand::Delete(asks)) | Command::Delete(asks) => {
            schedules::delete(&asks.client(before)?, &asks.args, screen)
        }
        Command::Cache(CacheCommand::Get(asks)) => cache::get(&asks.client(before)?, &asks.args, screen),
        Command::Cache(CacheCommand::Set(asks)) => cache::set(&asks.client(before)?, &asks.args, screen),
        Command::Cache(CacheCommand::List(asks)) => cache::list(&asks.client(before)?, &asks.args, screen),
        Command::Cache(CacheCommand::History(asks)) => cache::history(&asks.client(before)?, &asks.args, screen),
        Command::Cache(CacheCommand::Restore(asks)) => cache::restore(&asks.client(before)?, &asks.args, screen),
        Command::Cache(CacheCommand::Delete(asks)) => cache::delete(&asks.client(before)?, &asks.args.key, screen),
    }
}

fn completions(shell: clap_complete::Shell, screen: &Screen) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::commands(), "sexton", &mut script);
    screen.bytes(&script)
}
