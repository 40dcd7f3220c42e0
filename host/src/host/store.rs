//! Opens the store that the configuration names.

use std::sync::Arc;

use crate::config::{Config, Synchronous};
use sexton_store::postgres::{PostgresOptions, PostgresStore};
use sexton_store::sqlite::{Durability, SqliteOptions, SqliteStore};
use sexton_store::{Result, Store};

/// Opens the store: a database if the configuration has the URL of one, or else a file.
///
/// # Errors
///
/// Those of the store, with what to do.
pub(super) async fn open(config: &Config) -> Result<Arc<dyn Store>> {
    let Some(url) = config.store.url.clone() else {
        return Ok(SqliteStore::open(config.database(), &of_file(config))?);
    };
    let (schema, ca) = (config.store.schema.clone(), config.store.ca.clone());
    let store = PostgresStore::open(&PostgresOptions { url, schema, ca, host: config.host_name() }).await?;
    Ok(store)
}

fn of_file(config: &Config) -> SqliteOptions {
    let sync = match config.store.synchronous {
        Synchronous::Full => Durability::Full,
        Synchronous::Normal => Durability::Normal,
    };
    SqliteOptions { sync, ..SqliteOptions::default() }
}
