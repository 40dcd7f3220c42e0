//! Translates SQLite's errors into the store's contract.

use std::path::Path;

use rusqlite::{ErrorCode, ffi};

use crate::StoreError;

/// The reason for which a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database failed: the transaction is rolled back, with everything in it.
    Sql(rusqlite::Error),
    /// The command is refused. Refusals come before its first write, so there is nothing to undo.
    Refused(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// The result of a command within its transaction.
pub(super) type Step<T> = Result<T, Failure>;

/// Translates `error`, met in the database at `path`, into one line that tells an operator what to do.
pub(super) fn translate(error: &rusqlite::Error, path: &Path) -> StoreError {
    let path = path.display();
    match error {
        rusqlite::Error::SqliteFailure(code, text) => match code.code {
            ErrorCode::DiskFull => StoreError::DiskFull(path.to_string()),
            // The shared memory of the WAL is a file too.
            _ if code.extended_code == ffi::SQLITE_IOERR_SHMSIZE => StoreError::DiskFull(path.to_string()),
            ErrorCode::NotADatabase => StoreError::Unusable(format!(
                "`{path}` is not a SQLite database: move it away, or name another file for the store"
            )),
            ErrorCode::DatabaseCorrupt => StoreError::Unusable(format!(
                "`{path}` is damaged: restore it from a backup (`sexton restore FILE`), or save what can be read with `sqlite3 {path} .recover`"
            )),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => read_only(&path.to_string()),
            ErrorCode::CannotOpen => StoreError::Unusable(format!(
                "cannot open `{path}`: see that its directory exists and that this user may write there"
            )),
            _ => StoreError::Other(format!("`{path}`: {}", text.as_deref().unwrap_or(&code.to_string()))),
        },
        other => StoreError::Other(format!("`{path}`: {other}")),
    }
}

/// Returns the error for a file that exists and cannot be written.
pub(super) fn read_only(path: &str) -> StoreError {
    StoreError::Unusable(format!(
        "`{path}` is read-only: let this user write the file and its directory, or name another file for the store"
    ))
}
