//! Writes the host's log to stderr.

mod bounded;
mod lines;

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use bounded::Bounded;
use lines::Lines;
pub use lines::lost_lines;

/// The environment variable of the filter.
const VARIABLE: &str = "SEXTON_LOG";

/// Begins to write log lines to stderr: text for people, or a JSON object on each line for programs.
///
/// `filter` has the syntax of `tracing-subscriber`'s `EnvFilter`; the environment's `SEXTON_LOG` takes precedence.
///
/// Returns a handle that changes the filter later.
///
/// # Errors
///
/// The filter is not valid, or logging was begun before.
pub fn start(json: bool, filter: &str) -> anyhow::Result<LogFilter> {
    let (filter, from) = match std::env::var(VARIABLE) {
        Ok(filter) => (filter, VARIABLE),
        Err(_) => (filter.to_owned(), "the configuration's `log.filter`"),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| anyhow::anyhow!("{from} is not a filter: {error}"))?;
    // `Lines` counts lines that cannot be written. `tracing-subscriber`'s own message about them on stderr would panic
    // if stderr is closed.
    let stderr = Bounded::new(Lines::new(json));
    stderr.tell().context("cannot start a thread for the log")?;
    let subscriber = tracing_subscriber::fmt().with_writer(stderr).with_target(false).log_internal_errors(false);
    let (started, change): (_, Change) = if json {
        let subscriber = subscriber.json().flatten_event(true).with_env_filter(filter).with_filter_reloading();
        let handle = subscriber.reload_handle();
        (subscriber.try_init(), Box::new(move |filter| drop(handle.reload(filter))))
    } else {
        let subscriber = subscriber.with_ansi(std::io::stderr().is_terminal());
        let subscriber = subscriber.with_env_filter(filter).with_filter_reloading();
        let handle = subscriber.reload_handle();
        (subscriber.try_init(), Box::new(move |filter| drop(handle.reload(filter))))
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))?;
    Ok(LogFilter(change))
}

type Change = Box<dyn Fn(EnvFilter) + Send + Sync>;

/// Changes the filter of the log.
pub struct LogFilter(Change);

impl std::fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogFilter").finish_non_exhaustive()
    }
}

impl LogFilter {
    /// Returns whether the environment takes precedence over any filter of a configuration.
    pub fn is_overruled() -> bool {
        std::env::var(VARIABLE).is_ok()
    }

    /// Returns whether `filter` is valid.
    pub fn is_good(filter: &str) -> bool {
        EnvFilter::try_new(filter).is_ok()
    }

    /// Changes the filter. An invalid one changes nothing.
    pub fn set(&self, filter: &str) {
        if let Ok(filter) = EnvFilter::try_new(filter) {
            (self.0)(filter);
        }
    }
}
