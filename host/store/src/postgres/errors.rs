//! Translates PostgreSQL's errors into the store's contract, and tells which of them may be tried again.

use tokio_postgres::error::{DbError, Error, SqlState};

use crate::StoreError;

/// The reason for which a piece of work failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database failed or refused: the transaction is rolled back, with everything in it.
    Sql(Error),
    /// No connection is available.
    NoConnection(String),
    /// The work is refused. Refusals come before the first write of a piece of work, so there is nothing to undo.
    Refused(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<deadpool_postgres::PoolError> for Failure {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => Self::Sql(error),
            other => Self::NoConnection(other.to_string()),
        }
    }
}

/// The result of a piece of work within its transaction.
pub(super) type Step<T> = Result<T, Failure>;

/// The way to recover from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Begin anew: another transaction was in the way, and the connection is good.
    Again,
    /// Begin anew with another connection, in a moment: this one is gone, or leads to a server that takes no writes.
    Reconnect,
    /// None: the work would fail again.
    None,
}

impl Failure {
    /// Returns the way to recover.
    pub(super) fn remedy(&self) -> Remedy {
        match self {
            Self::NoConnection(_) => Remedy::Reconnect,
            Self::Refused(_) => Remedy::None,
            Self::Sql(error) => match error.code() {
                // The server has not answered: the connection broke.
                None if error.as_db_error().is_none() => Remedy::Reconnect,
                Some(code) if is_in_the_way(code) => Remedy::Again,
                Some(code) if is_gone(code) => Remedy::Reconnect,
                _ => Remedy::None,
            },
        }
    }

    /// Translates the failure into the store's contract.
    pub(super) fn explain(self) -> StoreError {
        match self {
            Self::Sql(error) => translate(&error),
            Self::NoConnection(why) => StoreError::Other(format!("the database cannot be reached: {why}")),
            Self::Refused(error) => error,
        }
    }
}

/// Returns whether another transaction was in the way: a serialization failure, a deadlock or a lock timeout.
fn is_in_the_way(code: &SqlState) -> bool {
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE].contains(code)
}

/// Returns whether the server is going down, coming up or read-only, or the connection is no good.
fn is_gone(code: &SqlState) -> bool {
    let text = code.code();
    text.starts_with("08")
        || text.starts_with("57P")
        || [SqlState::READ_ONLY_SQL_TRANSACTION, SqlState::TOO_MANY_CONNECTIONS].contains(code)
        // A prepared statement is not known any more: a pooler in between has changed the server's end.
        || [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT].contains(code)
}

/// Translates `error` into one line that tells an operator what to do.
pub(super) fn translate(error: &Error) -> StoreError {
    let Some(db) = error.as_db_error() else {
        return StoreError::Other(format!("the database cannot be reached: {}", chain(error)));
    };
    let code = db.code();
    let said = db.message();
    if *code == SqlState::DISK_FULL {
        return StoreError::DiskFull("the database".to_owned());
    }
    let unusable = [
        (SqlState::INVALID_PASSWORD, "see the user and the password in `[store] url`"),
        (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "see the user in `[store] url`, and the server's pg_hba.conf"),
        (SqlState::INVALID_CATALOG_NAME, "make it with `createdb`, or name another in `[store] url`"),
        (SqlState::INSUFFICIENT_PRIVILEGE, "let this user own the schema, or name another in `[store] schema`"),
        (SqlState::READ_ONLY_SQL_TRANSACTION, "the server only reads: name the primary in `[store] url`"),
    ];
    match unusable.iter().find(|(known, _)| known == code) {
        Some((_, what)) => StoreError::Unusable(format!("the database says: {said}; {what}")),
        None => StoreError::Other(format!("the database says: {said} ({}){}", code.code(), place(db))),
    }
}

fn place(error: &DbError) -> String {
    let parts = [error.table(), error.constraint(), error.detail()];
    parts.into_iter().flatten().map(|part| format!("; {part}")).collect()
}

/// Joins an error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
