//! Checks that a database belongs to the write-ahead log beside it, before SQLite carries the log into the database.
//!
//! A killed host leaves a log that is not empty. If a copy is then put in the place of the database, changes that were
//! made to another state would be carried into the copy, which damages it or brings back what it should undo. SQLite
//! does not notice: the log does not say to which database it belongs.

use std::fs;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::epoch::{self, Found, Identity};
use super::lock::beside;
use crate::{Result, StoreError};

/// Size of a log's header: a log that has no more has nothing to carry over.
const HEADER: u64 = 32;

/// Refuses a database that is not the one on which its log was begun. Changes neither file. `last` is the store that
/// was last opened here.
///
/// # Errors
///
/// [`StoreError::Unusable`], with what to do.
pub(super) fn check(path: &Path, last: Option<&Identity>) -> Result<()> {
    let log = beside(path, "-wal");
    if fs::metadata(&log).map_or(0, |log| log.len()) <= HEADER || fits(path, last) {
        return Ok(());
    }
    let (path, log) = (path.display(), log.display());
    Err(StoreError::Unusable(format!(
        "`{path}` is a copy that was put in the place of a database whose last changes are still in `{log}`, and nothing was \
         changed: run `sexton restore {path} --to {path}` to go on with the copy and keep those changes aside, or put the database back"
    )))
}

/// Returns whether it fits, or this cannot be told; then SQLite itself says what is wrong with the file.
fn fits(path: &Path, last: Option<&Identity>) -> bool {
    let alone = match alone(path).and_then(|conn| epoch::find(&conn)) {
        Ok(found) => found,
        // A store from before identities does not fit in the place of one that has an identity.
        Err(error) if is_no_table(&error) => return last.is_none(),
        Err(_) => return true,
    };
    let Found { identity, is_copy } = alone;
    if is_copy || last.is_some_and(|last| last.store != identity.store) {
        return false;
    }
    match with_log(path).and_then(|conn| epoch::find(&conn)) {
        Ok(found) => found.identity.store == identity.store && epoch::follows(identity.epoch, found.identity.epoch),
        Err(error) if is_no_table(&error) => false,
        Err(rusqlite::Error::SqliteFailure(code, _)) => {
            !matches!(code.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        Err(_) => true,
    }
}

/// Opens a database to read its contents without its log.
///
/// # Errors
///
/// SQLite's errors.
pub(super) fn alone(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

/// Opens a database to read its contents and those of its log. Both stay as they are.
///
/// # Errors
///
/// SQLite's errors.
pub(super) fn with_log(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // Otherwise the last connection to close would carry the log over.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(conn)
}

fn is_no_table(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqlInputError { .. } => true,
        rusqlite::Error::SqliteFailure(code, _) => code.code == ErrorCode::Unknown,
        _ => false,
    }
}
