//! `run`: a host in the foreground.

use anyhow::Context;

use super::args::RunArgs;
use super::error::CliError;
use crate::config::{Config, LogFormat};

/// Threads of the host's own work. It waits much and computes little; guests have threads of their own.
const CONTROL_THREADS: usize = 2;

/// Start a host and stay until it is over.
pub(super) fn run(args: RunArgs) -> Result<(), CliError> {
    host(args).map_err(|error| CliError::failed(format!("{error:#}")))
}

fn host(args: RunArgs) -> anyhow::Result<()> {
    let mut config = Config::load(args.config.as_deref())?;
    if let Some(plugins) = args.plugins {
        config.host.plugins = plugins;
    }
    if let Some(var) = args.var {
        config.host.var = var;
    }
    if let Some(listen) = args.listen {
        anyhow::ensure!(listen.ip().is_loopback(), "`--listen {listen}` is not a loopback address; use 127.0.0.1 or [::1]");
        config.http.listen = listen;
    }
    crate::telemetry::start(config.log.format == LogFormat::Json, &config.log.filter)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("sexton-control")
        .enable_all()
        .build()
        .context("cannot start the host's threads")?
        .block_on(crate::host::run(config))
}
