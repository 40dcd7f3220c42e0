//! Creates the threads on which commands do work that waits.

use tokio::runtime::{Builder, Runtime};

use super::error::CliError;

/// The threads of the host's or a command's own work, which mostly waits. Guests have threads of their own.
const THREADS: usize = 2;

/// Starts the threads.
pub(super) fn start() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(THREADS).thread_name("sexton-control").enable_all().build()
}

/// Starts the threads for a command that ends.
pub(super) fn of_command() -> Result<Runtime, CliError> {
    start().map_err(|e| CliError::failed(format!("cannot start threads: {e}")))
}
