//! Small values that outlive a run, each changed atomically.
//!
//! A reader sees a whole value or none. Tasks that are granted the same keys share the entries. For a value that many
//! runs need and that one run at a time should renew, see [`section`](crate::section()).

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::sexton::task::cache as wit;
use crate::request::{instant, milliseconds};

/// The reason why a call to the cache failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The entry is not at the expected version, or the right to renew it was lost.
    Conflict,
    /// The value is over 1 MiB, or would exceed the tenant's share of the cache or the task's own.
    TooLarge,
    /// The task's manifest does not grant this key.
    AccessDenied,
    /// The key is empty, or longer than 256 bytes.
    BadKey,
    /// The value cannot be written as JSON, or the stored value is not of the requested type.
    Value(String),
    /// The host's store had an error.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("the cache entry was changed by another run"),
            Self::TooLarge => f.write_str("the value is too large for the cache"),
            Self::AccessDenied => f.write_str("the task is not granted this cache key"),
            Self::BadKey => f.write_str("a cache key has 1 to 256 bytes"),
            Self::Value(why) => write!(f, "the cache value is not as expected: {why}"),
            Self::Other(why) => write!(f, "the cache failed: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::Conflict => Self::Conflict,
            wit::Error::TooLarge => Self::TooLarge,
            wit::Error::AccessDenied => Self::AccessDenied,
            wit::Error::BadKey => Self::BadKey,
            wit::Error::Other(why) => Self::Other(why),
        }
    }
}

/// A value together with the version at which it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<T = Vec<u8>> {
    /// The value.
    pub value: T,
    /// The version, greater after every change of this key.
    pub version: u64,
    /// The instant at which it was set.
    pub set_at: SystemTime,
    /// The time since then, by the host's clock.
    pub age: Duration,
}

impl Entry {
    /// Parses the bytes of the entry as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Value`] if they are not JSON, or not a `T`.
    pub fn json<T: DeserializeOwned>(self) -> Result<Entry<T>, Error> {
        let value = serde_json::from_slice(&self.value).map_err(|e| Error::Value(e.to_string()))?;
        Ok(Entry { value, version: self.version, set_at: self.set_at, age: self.age })
    }
}

impl From<wit::Entry> for Entry {
    fn from(entry: wit::Entry) -> Self {
        Self {
            value: entry.value,
            version: entry.version,
            set_at: instant(entry.set_at),
            age: Duration::from_millis(entry.age),
        }
    }
}

/// A version of an entry, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The version, greater for each later one of the key.
    pub version: u64,
    /// The bytes of the value.
    pub size: u64,
    /// The instant at which it was set.
    pub set_at: SystemTime,
}

impl From<wit::Version> for Version {
    fn from(version: wit::Version) -> Self {
        Self { version: version.version, size: version.size, set_at: instant(version.set_at) }
    }
}

/// Returns the entry of `key`, or `None` if there is none or it has expired.
///
/// # Errors
///
/// As [`Error`] says, apart from `Conflict`, `TooLarge` and `Value`.
pub fn get(key: &str) -> Result<Option<Entry>, Error> {
    Ok(wit::get(key)?.map(Entry::from))
}

/// Returns the entry of `key` parsed as JSON, or `None` if there is none or it has expired.
///
/// # Errors
///
/// [`Error::Value`] if it is not JSON or not a `T`, and those of [`get`].
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<Entry<T>>, Error> {
    get(key)?.map(Entry::json).transpose()
}

/// Sets `key` to `value`, whatever it was, and returns its new version. The entry expires after `expires_in`.
///
/// # Errors
///
/// As [`Error`] says, apart from `Conflict` and `Value`.
pub fn set(key: &str, value: &[u8], expires_in: Option<Duration>) -> Result<u64, Error> {
    Ok(wit::set(key, value, expires_in.map(milliseconds))?)
}

/// Does the same as [`set`], with `value` written as JSON.
///
/// # Errors
///
/// [`Error::Value`] if serde cannot write `value` as JSON, and those of [`set`].
pub fn set_json<T: Serialize + ?Sized>(key: &str, value: &T, expires_in: Option<Duration>) -> Result<u64, Error> {
    set(key, &to_json(value)?, expires_in)
}

/// Sets `key` only if it is at version `expected` (`None`: only if it is absent), and returns its new version.
///
/// # Errors
///
/// [`Error::Conflict`] if it is not; nothing is changed in that case.
pub fn swap(key: &str, expected: Option<u64>, value: &[u8], expires_in: Option<Duration>) -> Result<u64, Error> {
    Ok(wit::swap(key, expected, value, expires_in.map(milliseconds))?)
}

/// Changes the JSON value of `key` with `change`, and returns the new value. `change` gets `None` if there is no entry.
/// If another run changes the value at the same time, `change` is called again with that value.
///
/// # Errors
///
/// [`Error::Value`] if the stored value is not a `T`, or the new value cannot be written, and those of [`swap`] apart
/// from `Conflict`.
pub fn update<T, F>(key: &str, expires_in: Option<Duration>, mut change: F) -> Result<T, Error>
where
    T: Serialize + DeserializeOwned,
    F: FnMut(Option<T>) -> T,
{
    loop {
        let (version, last) = get_json::<T>(key)?.map(|entry| (entry.version, entry.value)).unzip();
        let value = change(last);
        match swap(key, version, &to_json(&value)?, expires_in) {
            Ok(_) => return Ok(value),
            Err(Error::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the versions of `key`: the current one, and then the earlier ones that are kept, from the latest to the
/// earliest. The list is empty if there is no entry. `{ keys = "KEY", keep = N }` in the grants of the manifest keeps N
/// earlier versions.
///
/// # Errors
///
/// As [`Error`] says, apart from `Conflict`, `TooLarge` and `Value`.
pub fn history(key: &str) -> Result<Vec<Version>, Error> {
    Ok(wit::history(key)?.into_iter().map(Version::from).collect())
}

/// Returns the entry of `key` as it was in `version`, or `None` if that is neither the current version nor a kept one.
///
/// # Errors
///
/// As [`Error`] says, apart from `Conflict`, `TooLarge` and `Value`.
pub fn get_version(key: &str, version: u64) -> Result<Option<Entry>, Error> {
    Ok(wit::get_version(key, version)?.map(Entry::from))
}

/// Sets `key` to the value, and the end of life, that it had in `version`, and returns its new version. No other write
/// comes between.
///
/// # Errors
///
/// [`Error::Conflict`] if `version` is neither the current version nor a kept one; nothing is changed in that case.
pub fn restore(key: &str, version: u64) -> Result<u64, Error> {
    Ok(wit::restore(key, version)?)
}

/// Deletes the entry of `key`, with all its versions. It is no error if there was none.
///
/// # Errors
///
/// As [`Error`] says, apart from `Conflict`, `TooLarge` and `Value`.
pub fn delete(key: &str) -> Result<(), Error> {
    Ok(wit::delete(key)?)
}

/// Returns the keys that begin with `prefix`, in order, those after `after`, up to 1000 of them.
///
/// Keys that the task is not granted are left out.
///
/// # Errors
///
/// As [`Error`] says, apart from `Conflict`, `TooLarge` and `Value`.
pub fn list(prefix: &str, after: Option<&str>) -> Result<Vec<String>, Error> {
    Ok(wit::list(prefix, after)?)
}

/// Writes `value` as the cache stores it.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|e| Error::Value(e.to_string()))
}
