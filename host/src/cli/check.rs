//! `check` and `schema`: manifests without a host.

use std::path::PathBuf;

use super::error::CliError;
use super::screen::Screen;

pub(super) fn check(_files: &[PathBuf], _screen: &Screen) -> Result<(), CliError> {
    Err(CliError::failed("not wired"))
}

pub(super) fn schema(_screen: &Screen) -> Result<(), CliError> {
    Err(CliError::failed("not wired"))
}
