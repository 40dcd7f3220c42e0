//! The command line. `docs/cli.md` is its reference.
//!
//! All commands but `run`, `check`, `schedule`, `test`, `migrate`, `new`, `completions` and `schema` ask a host over its HTTP
//! API, so they see what any other client sees. Nothing that a guest wrote reaches a terminal with its control characters in force.

mod args;
mod cache;
mod chains;
mod check;
mod client;
mod error;
mod hosts;
mod lists;
mod locks;
mod logs;
mod migrate;
mod new;
mod pausing;
mod profile;
mod run_view;
mod schedule;
mod schedules;
mod screen;
mod serve;
mod stack;
mod test;
#[cfg(test)]
mod tests;
mod top;
mod trigger;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{CacheCommand, Command, PauseArgs};
pub use args::{Cli, Hidden, RunArgs};
use client::Client;
pub use error::{CliError, Exit};
use screen::Screen;

/// Read the arguments, do what they say, and turn what went wrong into a line, a hint and an exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help goes to stdout and is no error; a closed pipe there is nobody's concern.
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
    let client = || Client::new(&cli.url, cli.tenant.as_ref());
    match cli.command {
        Command::Run(args) => serve::run(args),
        Command::Check(args) => check::check(&args.files, screen),
        Command::Schedule(command) => schedule::schedule(&command, screen),
        Command::Test(args) => test::test(args, screen),
        Command::Migrate(args) => migrate::migrate(&args, screen),
        Command::Schema => check::schema(screen),
        Command::New(args) => new::new(&args, screen),
        Command::Completions { shell } => completions(shell, screen),
        Command::Hosts(list) => hosts::hosts(&client()?, list, screen),
        Command::Drain(args) => hosts::drain(&client()?, &args, screen),
        Command::Tenants(list) => lists::tenants(&client()?, list, screen),
        Command::Plugins(list) => lists::plugins(&client()?, list, screen),
        Command::Tasks(list) => lists::tasks(&client()?, list, screen),
        Command::Chains(list) => chains::chains(&client()?, list, screen),
        Command::Runs(args) => lists::runs(&client()?, &args, screen),
        Command::Locks(args) => locks::locks(&client()?, &args, screen),
        Command::Show { run, list } => run_view::show(&client()?, run, list, screen),
        Command::Logs { follow, what, list } => logs::logs(&client()?, &what, follow, list, screen),
        Command::Trigger(args) => trigger::trigger(&client()?, &args, cli.tenant.as_ref(), screen),
        Command::Kill(args) => trigger::kill(&client()?, &args, screen),
        Command::Top(args) => top::top(&client()?, args, screen),
        Command::Stack(args) => stack::stack(&client()?, &args, screen),
        Command::Profile(args) => profile::profile(&client()?, &args, screen),
        Command::Pause(args) => pausing::set_paused(&client()?, &args, true, cli.tenant.as_ref(), screen),
        Command::Resume { task, all } => {
            let args = PauseArgs { task, all, why: None };
            pausing::set_paused(&client()?, &args, false, cli.tenant.as_ref(), screen)
        }
        Command::Add(args) => schedules::add(&client()?, &args, screen),
        Command::List(args) => schedules::list(&client()?, &args, screen),
        Command::Delete(args) => schedules::delete(&client()?, &args, screen),
        Command::Result { what } => trigger::result(&client()?, &what, screen),
        Command::Cache(command) => match command {
            CacheCommand::Get { key } => cache::get(&client()?, &key, screen),
            CacheCommand::Set(args) => cache::set(&client()?, &args, screen),
            CacheCommand::List { prefix, after, list } => {
                cache::list(&client()?, &prefix, after.as_deref(), list, screen)
            }
            CacheCommand::Delete { key } => cache::delete(&client()?, &key, screen),
        },
    }
}

fn completions(shell: clap_complete::Shell, screen: &Screen) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sexton", &mut script);
    screen.bytes(&script)
}
