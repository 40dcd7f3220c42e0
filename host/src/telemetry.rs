//! What the host says of itself, on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Begin to write log lines to stderr: text for people, or a JSON object a line for programs.
///
/// `filter` is in the words of `tracing-subscriber`'s `EnvFilter`; the environment's `SEXTON_LOG` goes before it.
///
/// # Errors
///
/// When the filter cannot be read, or logging was begun before.
pub fn start(json: bool, filter: &str) -> anyhow::Result<()> {
    let (filter, from) = match std::env::var("SEXTON_LOG") {
        Ok(filter) => (filter, "SEXTON_LOG"),
        Err(_) => (filter.to_owned(), "the configuration's `log.filter`"),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| anyhow::anyhow!("{from} is not a filter: {error}"))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = if json {
        subscriber.json().flatten_event(true).try_init()
    } else {
        subscriber.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
