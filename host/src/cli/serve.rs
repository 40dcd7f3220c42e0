//! Implements `run`: a host in the foreground.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::args::{Hidden, RunArgs};
use super::error::{CliError, Exit};
use super::threads;
use crate::config::reading::nearest;
use crate::config::{BadConfig, Config, LogFormat};
use crate::host::HostFailure;
use sexton_store::postgres::DatabaseUrl;

/// The time that a stopped host waits for reads in progress, such as that of a plugin. Their results are no longer
/// needed, and a file system that hangs would keep the process for ever.
const LAST_READS: Duration = Duration::from_millis(500);

/// Starts a host and stays until it ends.
pub(super) fn run(args: RunArgs) -> Result<(), CliError> {
    let config = config(args.clone(), Config::load)?;
    args.plugins.as_deref().map_or(Ok(()), is_there)?;
    start(config, args).map_err(|error| match error.is::<HostFailure>() {
        true => CliError::new(Exit::Broken, format!("{error:#}")),
        false => CliError::failed(format!("{error:#}")),
    })
}

/// Refuses a named plugin directory that does not exist. Only the default directory is created, because otherwise a
/// typing mistake would start a host without plugins.
fn is_there(plugins: &Path) -> Result<(), CliError> {
    if plugins.is_dir() {
        return Ok(());
    }
    let absent = CliError::usage(format!("there is no directory `{}`", plugins.display()));
    let parent = plugins.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let others = parent.read_dir().into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let others: Vec<String> = others.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let name = plugins.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Err(match nearest(name, &others) {
        Some(near) => absent.hint(format!("did you mean `{}`?", plugins.with_file_name(near).display())),
        None => absent.hint(format!("make it: mkdir -p {}", plugins.display())),
    })
}

/// A function that reads the configuration file.
type Load = fn(Option<&Path>) -> Result<Config, BadConfig>;

/// Returns the configuration, overridden by the command line.
fn config(args: RunArgs, load: Load) -> Result<Config, CliError> {
    let mut config = load(args.config.as_deref()).map_err(|e| CliError::usage(e.to_string()))?;
    if let Some(listen) = args.listen {
        if !listen.ip().is_loopback() {
            return Err(CliError::usage(format!(
                "`{listen}` can be reached from other machines, and the API admits every client"
            ))
            .hint(format!("write 127.0.0.1:{}; other machines reach that through `ssh -L`", listen.port())));
        }
        config.http.listen = listen;
    }
    config.host.plugins = args.plugins.unwrap_or(config.host.plugins);
    config.host.var = args.var.unwrap_or(config.host.var);
    let url = store_url(args.store_url)?;
    config.store = config.store.with_url(url).map_err(|why| {
        CliError::usage(why).hint(
            "a database is named by `[store] url`, --store-url or SEXTON_STORE_URL; without one the store is a file",
        )
    })?;
    Ok(config)
}

/// Returns the database's URL from the command line or the environment. An empty variable counts as missing.
fn store_url(text: Option<Hidden>) -> Result<Option<DatabaseUrl>, CliError> {
    let Some(Hidden(text)) = text.filter(|Hidden(text)| !text.is_empty()) else { return Ok(None) };
    let bad = |why: String| {
        CliError::usage(format!("--store-url (or SEXTON_STORE_URL) is not the URL of a database: {why}"))
            .hint("write one such as postgres://sexton@db.example/sexton")
    };
    DatabaseUrl::new(&text).map(Some).map_err(bad)
}

/// The size from which an allocation is returned to the system when it is freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 128 << 10;

/// Keeps glibc from raising [`LARGE`] with every large allocation that is freed, as it does by default. Otherwise the
/// memory for loading a hundred plugins, about 10 MB, would stay with the host for ever.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe way to say this to the allocator; see the proof")]
fn return_large_allocations() {
    // SAFETY: sets a number inside the allocator, under its own lock; any value is allowed.
    let set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    if set == 0 {
        tracing::debug!("The allocator keeps its own threshold");
    }
}

/// Raises the limit of open files to the most that this process may have. The usual limit is 1024, for programs that
/// use `select`, and guests that open files or connections would leave none for the API.
#[cfg(unix)]
fn may_open_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "Cannot raise the limit of open files from {:?} to {:?}", limit.current, limit.maximum);
    }
}

/// Reads the current configuration.
fn again(args: RunArgs) -> anyhow::Result<Config> {
    config(args, Config::load_again).map_err(|error| anyhow::anyhow!("{}", error.message()))
}

/// Starts the threads of the control plane, and the host on them.
fn start(config: Config, args: RunArgs) -> anyhow::Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    return_large_allocations();
    let log = crate::telemetry::start(config.log.format == LogFormat::Json, &config.log.filter)?;
    #[cfg(unix)]
    may_open_many_files();
    let threads = threads::start().context("cannot start the host's threads")?;
    let over = threads.block_on(crate::host::run(config, log, Box::new(move || again(args.clone()))));
    threads.shutdown_timeout(LAST_READS);
    over
}

#[cfg(test)]
mod tests {
    use super::{Config, config};
    use crate::cli::args::RunArgs;
    use crate::cli::error::Exit;

    #[test]
    fn the_command_line_has_the_last_word() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("sexton.toml");
        std::fs::write(&file, "[host]\nplugins = \"a\"\nvar = \"b\"\n").expect("a file");
        let args = RunArgs { config: Some(file), plugins: Some("c".into()), ..RunArgs::default() };

        let config = config(args, Config::load).expect("a good configuration");

        assert_eq!((config.host.plugins, config.host.var), ("c".into(), "b".into()));
    }

    #[test]
    fn a_database_overrides_the_file_and_its_password_is_never_shown() {
        let with = |text: &str| config(RunArgs { store_url: text.parse().ok(), ..RunArgs::default() }, Config::load);

        assert_eq!(with("").expect("no database").store.url, None);
        let url = with("postgres://ada:secret@db.example/jobs").expect("a database").store.url;
        assert_eq!(url.map(|url| url.to_string()).as_deref(), Some("postgres://db.example:5432/jobs"));
        let wrong = with("mysql://ada:secret@db.example/jobs").expect_err("another database");
        assert_eq!(wrong.exit(), Exit::Usage);
        assert!(!format!("{wrong:?}").contains("secret"), "{wrong:?}");
    }

    #[test]
    fn a_missing_plugin_directory_is_refused_with_a_suggestion() {
        let dir = tempfile::tempdir().expect("a directory");
        let told = |name: &str| {
            let args = RunArgs {
                plugins: Some(dir.path().join(name)),
                var: Some(dir.path().join("var")),
                ..RunArgs::default()
            };
            format!("{:?}", super::run(args).expect_err("it is not there"))
        };
        assert!(told("plugns").contains("mkdir -p"));

        std::fs::create_dir(dir.path().join("plugins")).expect("a directory");

        let told = told("plugns");
        assert!(told.contains("there is no directory") && told.contains("did you mean"), "{told}");
        assert!(!dir.path().join("plugns").exists() && !dir.path().join("var").exists(), "nothing is made");
    }

    #[test]
    fn an_address_that_others_can_reach_is_refused() {
        let args = RunArgs { listen: Some(([0, 0, 0, 0], 7070).into()), ..RunArgs::default() };
        assert_eq!(config(args, Config::load).expect_err("not loopback").exit(), Exit::Usage);
    }

    #[test]
    fn a_configuration_that_is_named_must_be_there() {
        let args = RunArgs { config: Some("/nowhere/sexton.toml".into()), ..RunArgs::default() };
        assert_eq!(config(args, Config::load).expect_err("it is not there").exit(), Exit::Usage);
    }
}
