//! The identity of a store file: an id that it keeps for good, and an epoch that only grows.
//!
//! The epoch tells whether a database and the write-ahead log beside it belong together ([`super::fit`]). It is odd
//! while the log is carried into the database and even while the log grows. So the database alone has an odd one once
//! all is carried, and every copy that is made while the log grows has an even one: the next log follows the database
//! and no copy.
//!
//! A copy of a store may be put in its place. Numbers that were given out after the copy was made must not be given out
//! again then, because fences, versions and run ids are known outside of the store.

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tracing::warn;

use sexton_domain::time::Timestamp;

/// Run ids, and versions of schedules and plugins, that a store skips if it does not know how many were given out after
/// it was copied: more than a host makes in a week at a thousand a second, few enough digits to be read.
const RUN_GAP: i64 = 1_000_000_000;

/// Fences that it skips likewise, because a run may take many. There is room for eight million of these gaps.
const FENCE_GAP: i64 = 1 << 40;

/// The identity of a store, as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Its id, in hex.
    pub(super) store: String,
    /// Its epoch, which grows with each checkpoint.
    pub(super) epoch: i64,
}

impl Identity {
    /// Returns the line for a lock file.
    pub(super) fn line(&self) -> String {
        format!("store {} epoch {}\n", self.store, self.epoch)
    }

    /// Parses such a line.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        let (store, epoch) = line.strip_prefix("store ")?.split_once(" epoch ")?;
        Some(Self { store: store.to_owned(), epoch: epoch.trim().parse().ok()? })
    }
}

/// Everything that a file says of itself.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) identity: Identity,
    /// It is a copy that no host has used yet.
    pub(super) is_copy: bool,
}

/// Reads the identity in the file that `conn` has open.
pub(super) fn find(conn: &Connection) -> rusqlite::Result<Found> {
    let schema = schema_numbers(conn)?;
    conn.query_row("SELECT store, epoch, cookie, version, copied_at IS NOT NULL FROM identity", [], |row| {
        let identity = Identity { store: row.get(0)?, epoch: row.get(1)? };
        // `VACUUM INTO` raises the first number, and nothing that this program does to a file raises that alone.
        let was_vacuumed = row.get::<_, i64>(2)? != schema.0 && row.get::<_, i64>(3)? == schema.1;
        Ok(Found { identity, is_copy: row.get::<_, bool>(4)? || was_vacuumed })
    })
}

/// Returns SQLite's own count of changes to the tables, and the number of migrations.
fn schema_numbers(conn: &Connection) -> rusqlite::Result<(i64, i64)> {
    let number = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    Ok((number("schema_version")?, number("user_version")?))
}

/// Returns whether a log with the epoch `in_log` was begun on a database with the epoch `alone`.
pub(super) fn follows(alone: i64, in_log: i64) -> bool {
    let ahead = in_log - alone;
    // An odd epoch is the end of a log, and the next log has the next two.
    ahead == 0 || ahead == 1 || (ahead == 2 && alone % 2 == 1)
}

/// Marks the file that `conn` has open as a copy. `knows_all` tells whether it knows all numbers that were ever given
/// out.
pub(super) fn mark_copy(conn: &Connection, at: Timestamp, knows_all: bool) -> rusqlite::Result<()> {
    conn.execute("UPDATE identity SET copied_at = ?1, knows_all = ?2", params![at.as_millis(), knows_all]).map(drop)
}

/// Turns a copy that was put in the place of a store into that store. This comes before its first log is begun, because
/// a copy that has a log is refused. `last` is the identity that the last process to open the file found.
///
/// # Errors
///
/// SQLite's errors.
pub(super) fn adopt(conn: &mut Connection, last: Option<&Identity>) -> rusqlite::Result<()> {
    let marked = conn.query_row("SELECT knows_all FROM identity WHERE copied_at IS NOT NULL", [], |row| row.get(0));
    let knows_all: Option<bool> = marked.optional()?;
    let found = find(conn)?.identity;
    let is_older = last.is_some_and(|last| last.store == found.store && last.epoch > found.epoch);
    if knows_all.is_none() && !is_older {
        return Ok(());
    }
    conn.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    let tx = conn.transaction()?;
    if knows_all != Some(true) {
        warn!(
            "The store is a copy, and numbers were used after it was made, so run ids, fences and versions continue after a gap"
        );
        leave_a_gap(&tx)?;
    }
    tx.execute("UPDATE identity SET copied_at = NULL, knows_all = 0", [])?;
    set(&tx, last.map_or(found.epoch, |last| last.epoch.max(found.epoch)) | 1)?;
    tx.commit()
}

/// Begins a life of the store: carries all of its log over, and begins the log anew. Returns the identity in the
/// database alone, which survives a power cut, whatever becomes of the log.
///
/// # Errors
///
/// SQLite's errors.
pub(super) fn begin(conn: &Connection) -> rusqlite::Result<Identity> {
    let found = find(conn)?.identity;
    // An odd epoch stays, or logs that are cut off here again and again would get ever further ahead of their database.
    let carried = found.epoch | 1;
    let begun = set(conn, carried).and_then(|()| checkpoint(conn)).and_then(|()| set(conn, carried + 1));
    match begun {
        Ok(()) => Ok(Identity { epoch: carried, ..found }),
        // This only makes it harder to tell a copy from the store, and there may be room inside the file.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Ok(found),
        Err(error) => Err(error),
    }
}

/// Carries all of the log into the database.
fn checkpoint(conn: &Connection) -> rusqlite::Result<()> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Records that the log will be carried over now.
pub(super) fn before_checkpoint(conn: &Connection) -> rusqlite::Result<()> {
    step(conn, 0)
}

/// Records that all of it was carried over: the next log begins.
pub(super) fn after_checkpoint(conn: &Connection) -> rusqlite::Result<()> {
    step(conn, 1)
}

fn step(conn: &Connection, from: i64) -> rusqlite::Result<()> {
    let epoch: i64 = conn.query_row("SELECT epoch FROM identity", [], |row| row.get(0))?;
    // A step that a full disk prevented is left out.
    if epoch % 2 == from { set(conn, epoch + 1) } else { Ok(()) }
}

fn set(conn: &Connection, epoch: i64) -> rusqlite::Result<()> {
    let (cookie, version) = schema_numbers(conn)?;
    conn.execute("UPDATE identity SET epoch = ?1, cookie = ?2, version = ?3", [epoch, cookie, version]).map(drop)
}

fn leave_a_gap(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute(
        "UPDATE counters SET run = run + ?1, schedules = schedules + ?1, published = published + ?1, fence = (fence / ?2 + 1) * ?2",
        [RUN_GAP, FENCE_GAP],
    )
    .map(drop)
}

/// The greatest numbers that were given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenOut {
    run: i64,
    fence: i64,
    schedules: i64,
    published: i64,
}

impl GivenOut {
    pub(super) fn of(conn: &Connection) -> rusqlite::Result<Self> {
        conn.query_row("SELECT run, fence, schedules, published FROM counters", [], |row| {
            Ok(Self { run: row.get(0)?, fence: row.get(1)?, schedules: row.get(2)?, published: row.get(3)? })
        })
    }

    /// Makes the store that `conn` has open give out only greater ones.
    pub(super) fn raise(self, conn: &Connection) -> rusqlite::Result<()> {
        conn.execute(
            "UPDATE counters SET run = max(run, ?1), fence = max(fence, ?2), schedules = max(schedules, ?3), published = max(published, ?4)",
            [self.run, self.fence, self.schedules, self.published],
        )
        .map(drop)
    }
}

/// Raises the epoch of a copy above those in `others`.
pub(super) fn raise(conn: &Connection, others: &[Option<i64>]) -> rusqlite::Result<Identity> {
    let own = find(conn)?.identity;
    let epoch = others.iter().flatten().fold(own.epoch, |most, other| most.max(*other)) + 2;
    set(conn, epoch)?;
    Ok(Identity { epoch, ..own })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_follows_the_database_it_was_begun_on_and_no_copy_made_before() {
        // After all was carried over the database has 3; then the log has the next two, of which the first may have
        // been carried.
        assert!([3, 4, 5].iter().all(|in_log| follows(3, *in_log)));
        assert!([4, 5].iter().all(|in_log| follows(4, *in_log)));

        for copy in [0, 1, 2] {
            assert!([4, 5].iter().all(|in_log| !follows(copy, *in_log)), "{copy}");
        }
        assert!([4, 5].iter().all(|in_log| !follows(6, *in_log)), "a later one");
    }

    #[test]
    fn identities_in_a_lock_file_round_trip() {
        let identity = Identity { store: "1a2b".into(), epoch: 77 };

        assert_eq!(Identity::of_line(identity.line().trim_end()), Some(identity));
        assert_eq!(Identity::of_line("the process with id 7"), None);
    }
}
