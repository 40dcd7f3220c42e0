//! Implements `backup` and `restore`: copies of a host's store file. Both read and write the files themselves and need
//! no host.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::Hidden;
use super::error::{CliError, Exit};
use super::screen::Screen;
use crate::config::Config;
use sexton_store::StoreError;
use sexton_store::sqlite::backup::{self as copies, Restored};

#[derive(Args, Clone, Debug)]
pub(super) struct BackupArgs {
    /// File to write; an existing file is not changed
    file: PathBuf,
    /// Database file to copy; overrides the configuration
    #[arg(long, value_name = "DATABASE")]
    from: Option<PathBuf>,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Args, Clone, Debug)]
pub(super) struct RestoreArgs {
    /// Copy to put in place
    file: PathBuf,
    /// Database file to replace; overrides the configuration
    #[arg(long, value_name = "DATABASE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    host: HostArgs,
}

/// The store, named by the same options as for the host itself.
#[derive(Args, Clone, Debug)]
struct HostArgs {
    /// Configuration file of the host [default: sexton.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory with the database; overrides the configuration
    #[arg(long, value_name = "DIR")]
    var: Option<PathBuf>,
    /// URL of the PostgreSQL database that has the store
    #[arg(long, env = "SEXTON_STORE_URL", hide = true, hide_env_values = true)]
    store_url: Option<Hidden>,
}

/// The error for a store in PostgreSQL, which has tools of its own.
const POSTGRES: &str = "the store is in PostgreSQL, which has its own tools: `pg_dump --format=custom --schema=sexton` backs it up, \
                        `pg_restore` restores it; docs/guides/backup.md has the commands";

pub(super) fn backup(args: &BackupArgs, screen: &Screen) -> Result<(), CliError> {
    let database = args.host.database(args.from.as_deref())?;
    copies::backup(&database, &args.file, screen.now).map_err(explain)?;
    screen.line(&format!("All of `{}` is in `{}` now.", database.display(), args.file.display()))
}

pub(super) fn restore(args: &RestoreArgs, screen: &Screen) -> Result<(), CliError> {
    if !args.file.is_file() {
        return Err(CliError::usage(format!("there is no file `{}`", args.file.display())));
    }
    let database = args.host.database(args.to.as_deref())?;
    let Restored { aside } = copies::restore(&args.file, &database, screen.now).map_err(explain)?;
    screen.line(&format!("The next host at `{}` continues with `{}`.", database.display(), args.file.display()))?;
    for kept in aside {
        screen.line(&format!("Kept aside: `{}`", kept.display()))?;
    }
    screen
        .line("Runs that were made or ended after the copy was made have their state from then, so some may run again.")
}

impl HostArgs {
    /// Returns the file that holds the store.
    fn database(&self, named: Option<&Path>) -> Result<PathBuf, CliError> {
        if let Some(named) = named {
            return Ok(named.to_owned());
        }
        let mut config = Config::load(self.config.as_deref()).map_err(|e| CliError::usage(e.to_string()))?;
        config.host.var = self.var.clone().unwrap_or(config.host.var);
        let in_environment = self.store_url.as_ref().is_some_and(|Hidden(url)| !url.is_empty());
        if config.store.url.is_some() || in_environment {
            return Err(CliError::usage(POSTGRES));
        }
        Ok(config.database())
    }
}

fn explain(error: StoreError) -> CliError {
    let said = error.to_string();
    // The file is in use, exists already or does not fit. In each case the existing file is in the way.
    let conflict =
        said.contains(" is in use by ") || said.contains(" is there already") || said.contains(" is a copy that ");
    CliError::new(if conflict { Exit::Conflict } else { Exit::Failed }, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backup_of_a_store_in_postgresql_points_to_pg_dump_in_one_line() {
        let place = tempfile::tempdir().expect("a directory");
        let config = place.path().join("sexton.toml");
        std::fs::write(&config, "[store]\nurl = \"postgres://sexton@db.example/sexton\"\n").expect("a file");
        let host = HostArgs { config: Some(config), var: None, store_url: None };
        let args = BackupArgs { file: place.path().join("copy.db"), from: None, host };

        let error = backup(&args, &Screen::plain()).expect_err("there is no file to copy");

        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.message().contains("`pg_dump ") && !error.message().contains('\n'), "{error:?}");
    }
}
