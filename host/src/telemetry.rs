//! What the host says of itself, on stderr.

mod bounded;
mod lines;

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use bounded::Bounded;
use lines::Lines;
pub use lines::lost_lines;

/// The environment's filter.
const VARIABLE: &str = "SEXTON_LOG";

/// Begin to write log lines to stderr: text for people, or a JSON object a line for programs.
///
/// `filter` is in the words of `tracing-subscriber`'s `EnvFilter`; the environment's `SEXTON_LOG` goes before it.
///
/// Returns how the filter is changed later.
///
/// # Errors
///
/// When the filter cannot be read, or logging was begun before.
pub fn start(json: bool, filter: &str) -> anyhow::Result<LogFilter> {
    let (filter, from) = match std::env::var(VARIABLE) {
        Ok(filter) => (filter, VARIABLE),
        Err(_) => (filter.to_owned(), "the configuration's `log.filter`"),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| anyhow::anyhow!("{from} is not a filter: {error}"))?;
    // A line that cannot be written is counted by `Lines`. What `tracing-subscriber` would say of it on stderr itself panics where
    // stderr is closed.
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

/// Changes what is logged.
pub struct LogFilter(Change);

impl std::fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogFilter").finish_non_exhaustive()
    }
}

impl LogFilter {
    /// Whether the environment's word goes before any filter of a configuration.
    pub fn is_overruled() -> bool {
        std::env::var(VARIABLE).is_ok()
    }

    /// Whether `filter` can be read.
    pub fn is_good(filter: &str) -> bool {
        EnvFilter::try_new(filter).is_ok()
    }

    /// Log what `filter` lets through from now on. One that cannot be read changes nothing.
    pub fn set(&self, filter: &str) {
        if let Ok(filter) = EnvFilter::try_new(filter) {
            (self.0)(filter);
        }
    }
}
