//! Opening a store's file: seeing that it is ours, whole, and nobody else's, before anything is done with it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, flock};

use super::errors::{read_only, translate};
use super::{Durability, SqliteOptions, claims, schema};
use crate::store::{Result, StoreError};

/// Files up to this size are read through when they are opened (about 10 ms). Larger ones are too slow to: there only
/// what the host starts with is read, and damage elsewhere is told when it is met.
const CHECKED_BYTES: u64 = 4 << 20;

/// More statements than there are in this program's source.
const STATEMENTS: usize = 96;

/// A file that is open, and for this process alone.
pub(super) struct Opened {
    /// The connection that writes.
    pub(super) writer: Connection,
    /// The one that makes checkpoints.
    pub(super) checkpoints: Connection,
    /// Those that read.
    pub(super) readers: Vec<Connection>,
    /// Keeps other hosts out for as long as it is open.
    pub(super) lock: File,
}

/// Open (or make) the store at `path`.
///
/// # Errors
///
/// [`StoreError::Unusable`] and [`StoreError::DiskFull`], each a line that says what to do.
pub(super) fn open(path: &Path, options: &SqliteOptions) -> Result<Opened> {
    let lock = lock(path)?;
    let mut writer = Connection::open(path).map_err(|e| translate(&e, path))?;
    prepare(&mut writer, path, options)?;
    let checkpoints = Connection::open(path).map_err(|e| translate(&e, path))?;
    set_up(&checkpoints, options).map_err(|e| translate(&e, path))?;
    let readers = (0..options.readers.max(1))
        .map(|_| reader(path))
        .collect::<rusqlite::Result<Vec<_>>>()
        .map_err(|e| translate(&e, path))?;
    Ok(Opened { writer, checkpoints, readers, lock })
}

/// Keep other hosts out of the store at `path`. The lock goes with the process, however that ends.
fn lock(path: &Path) -> Result<File> {
    let lock_path = beside(path, ".lock");
    let cannot = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            StoreError::Unusable(format!("cannot make `{}`: its directory does not exist", path.display()))
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            read_only(&path.display().to_string())
        }
        std::io::ErrorKind::StorageFull => StoreError::DiskFull(path.display().to_string()),
        _ => StoreError::Unusable(format!("cannot lock `{}`: {e}", lock_path.display())),
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false) // another host's words are in it, if it is another's
        .open(&lock_path)
        .map_err(cannot)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // Only for the message: without it the message is shorter.
            drop(file.read_to_string(&mut holder));
            let holder = if holder.trim().is_empty() { "another host" } else { holder.trim() };
            return Err(StoreError::Unusable(format!(
                "`{}` is in use by {holder}: stop that one, or name another file for this host's store",
                path.display()
            )));
        }
        Err(e) => return Err(cannot(e.into())),
    }
    // A full disk must not keep a host from a store that may have room inside.
    let told = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "the process with id {}", std::process::id()));
    drop(told);
    Ok(file)
}

/// `path` with `ending` added to its file name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Check a file, set the connection up, and bring the file to this program's schema.
fn prepare(conn: &mut Connection, path: &Path, options: &SqliteOptions) -> Result<()> {
    let sql = |e: rusqlite::Error| translate(&e, path);
    // SQLite opens what it cannot write for reading, and says so only with the first write.
    if conn.is_readonly(rusqlite::MAIN_DB).map_err(sql)? {
        return Err(read_only(&path.display().to_string()));
    }
    conn.busy_timeout(Duration::from_secs(5)).map_err(sql)?;
    let version = known(conn, path)?;
    let size = std::fs::metadata(path).map_or(0, |meta| meta.len());
    if size <= CHECKED_BYTES {
        let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sql)?;
        if found != "ok" {
            return Err(StoreError::Unusable(format!(
                "`{0}` is damaged ({found}): restore it from a backup, or save what can be read with `sqlite3 {0} .recover`",
                path.display()
            )));
        }
    }
    set_up(conn, options).map_err(sql)?;
    schema::migrate(conn, version).map_err(sql)?;
    // Nobody else can have the file, so whoever has claims in it is of an earlier life.
    claims::abandon(conn, None).map_err(sql)?;
    Ok(())
}

/// The schema's number, of a file that is a store of this program's and not newer than it.
fn known(conn: &Connection, path: &Path) -> Result<usize> {
    let sql = |e: rusqlite::Error| translate(&e, path);
    let number = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0)).map_err(sql);
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(sql)?;
    if tables > 0 && application != schema::APPLICATION_ID {
        return Err(StoreError::Unusable(format!(
            "`{}` is a SQLite database, but not a store of sexton's: name another file for the store",
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

/// What has to be said to each connection that writes.
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
    // What a burst has made of the WAL is given back to the disk when the WAL begins anew.
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

/// A connection that only reads.
fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.pragma_update(None, "temp_store", "memory")?;
    Ok(conn)
}
