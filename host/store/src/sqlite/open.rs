//! Opens a store's file, after a check that it is this program's, undamaged, and in use by no other process.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::{Result, StoreError};
use sexton_system::private;

use super::epoch::Identity;
use super::errors::{read_only, translate};
use super::lock::{Lock, beside};
use super::options::{Durability, SqliteOptions};
use super::{claims, epoch, fit, schema};

/// Files up to this size are read through when they are opened (about 10 ms). Larger ones take too long: only what the
/// host starts with is read then, and damage elsewhere is reported when it is met.
const CHECKED_BYTES: u64 = 4 << 20;

/// Prepared statements that a connection keeps: more than this program's source has.
const STATEMENTS: usize = 128;

/// An open file, for this process alone.
pub(super) struct Opened {
    /// The connection that writes.
    pub(super) writer: Connection,
    /// The connection that makes checkpoints.
    pub(super) checkpoints: Connection,
    /// The connections that read.
    pub(super) readers: Vec<Connection>,
    /// Keeps other hosts out for as long as it is open.
    pub(super) lock: Lock,
}

/// Opens (or creates) the store at `path`.
///
/// # Errors
///
/// [`StoreError::Unusable`] and [`StoreError::DiskFull`], each a line that says what to do.
pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Opened> {
    let mut lock = Lock::take(path)?;
    lock.notify(None);
    keep_private(path);
    fit::check(path, lock.last.as_ref())?;
    let mut writer = Connection::open(path).map_err(|e| translate(&e, path))?;
    let found = prepare(&mut writer, path, options, lock.last.as_ref())?;
    lock.notify(Some(&found));
    let checkpoints = Connection::open(path).map_err(|e| translate(&e, path))?;
    set_up(&checkpoints, options).map_err(|e| translate(&e, path))?;
    let readers = (0..options.readers.max(1))
        .map(|_| reader(path))
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(|e| translate(&e, path))?;
    Ok(Opened { writer, checkpoints, readers, lock })
}

/// Lets only this user open the store's files. SQLite creates the others with the mode of the database.
fn keep_private(path: &Path) {
    for ending in ["", "-wal", "-shm", "-journal"] {
        private::restrict_to_owner(&beside(path, ending));
    }
    // If the file cannot be created, SQLite says why.
    drop(private::options().create(true).truncate(false).open(path));
}

/// Checks a file, sets the connection up, and migrates the file to this program's schema. Returns its identity.
fn prepare(conn: &mut Connection, path: &Path, options: &SqliteOptions, last: Option<&Identity>) -> Result<Identity> {
    let sql = |e: rusqlite::Error| translate(&e, path);
    // SQLite opens a file that it cannot write for reading, and says so only with the first write.
    if conn.is_readonly(rusqlite::MAIN_DB).map_err(sql)? {
        return Err(read_only(&path.display().to_string()));
    }
    conn.busy_timeout(Duration::from_secs(5)).map_err(sql)?;
    let version = known(conn, path)?;
    check_whole(conn, path)?;
    if version >= schema::IDENTITY_SINCE {
        epoch::adopt(conn, last).map_err(sql)?;
    }
    set_up(conn, options).map_err(sql)?;
    schema::migrate(conn, version).map_err(sql)?;
    let found = epoch::begin(conn).map_err(sql)?;
    // No other process can have the file, so all claims in it are of an earlier life.
    claims::abandon(conn, None).map_err(sql)?;
    Ok(found)
}

/// Refuses a damaged file, if it is small enough to be read through.
fn check_whole(conn: &Connection, path: &Path) -> Result<()> {
    let size = std::fs::metadata(path).map_or(0, |meta| meta.len());
    if size <= CHECKED_BYTES { read_through(conn, path) } else { Ok(()) }
}

/// Reads all of a file, and refuses a damaged one.
///
/// # Errors
///
/// [`StoreError::Unusable`], with the damage.
pub(super) fn read_through(conn: &Connection, path: &Path) -> Result<()> {
    let found: String =
        conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|e| translate(&e, path))?;
    if found == "ok" {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "`{0}` is damaged ({found}): restore it from a backup (`sexton restore FILE`), or save what can be read with `sqlite3 {0} .recover`",
        path.display()
    )))
}

/// Returns the schema's number of a file that is a store of this program's and not newer than it.
///
/// # Errors
///
/// [`StoreError::Unusable`] for any other file.
pub(super) fn known(conn: &Connection, path: &Path) -> Result<usize> {
    let sql = |e: rusqlite::Error| translate(&e, path);
    let number = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).map_err(sql);
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(sql)?;
    if tables > 0 && application != schema::APPLICATION_ID {
        return Err(StoreError::Unusable(format!(
            "`{}` is a SQLite database, but not a Sexton store: name another file for the store",
            path.display()
        )));
    }
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > schema::VERSION {
        return Err(StoreError::Unusable(format!(
            "`{}` has schema {version}, and this sexton knows schemas up to {}: use the newer sexton that made it, or a \
             backup from before",
            path.display(),
            schema::VERSION
        )));
    }
    Ok(version)
}

/// Sets up a connection that writes.
fn set_up(conn: &Connection, options: &SqliteOptions) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    conn.pragma_update(
        None,
        "synchronous",
        match options.sync {
            Durability::Full => "full",
            Durability::Normal => "normal",
        },
    )?;
    // Checkpoints are begun and counted by the writer.
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    // A WAL that a burst has enlarged is cut to this size when it begins anew.
    conn.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    conn.pragma_update(None, "cache_size", -i64::from(options.cache_kib))?;
    conn.pragma_update(None, "temp_store", "memory")?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    if let Some(bytes) = options.max_bytes {
        let page: u64 = conn.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))?.into();
        conn.pragma_update_and_check(None, "max_page_count", (bytes / page).to_string(), |_| Ok(()))?;
    }
    Ok(())
}

/// Opens a connection that only reads.
fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.pragma_update(None, "temp_store", "memory")?;
    Ok(conn)
}
