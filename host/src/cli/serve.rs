//! `run`: a host in the foreground.

use super::args::RunArgs;
use super::error::CliError;

/// Start a host and stay until it is over.
pub(super) fn run(args: RunArgs) -> Result<(), CliError> {
    // The seam to `crate::host`: configuration from `args`, then the host until a signal ends it.
    let _ = args;
    Err(CliError::failed("this build has no host in it"))
}
