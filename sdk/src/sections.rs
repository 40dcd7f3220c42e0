//! Shares a value that many runs need and that one run at a time renews.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::sexton::task::cache as wit;
use crate::cache::{self, Entry, Error};
use crate::request::milliseconds;

/// Begins to use the section `key`: a cache entry that the first run to find it too old renews, while all others go on
/// with the last good value.
///
/// ```no_run
/// # fn run() -> Result<(), sexton_task::Failure> {
/// use sexton_task::{Failure, http, section};
/// use std::time::Duration;
///
/// let rate = section("rate")
///     .max_age(Duration::from_secs(60))
///     .refresh(|_last: Option<&f64>| http::get("http://bank.example/rate").send()?.json::<f64>())?;
/// match (rate.value, rate.age) {
///     (Some(value), Some(age)) => println!("{value}, {} s old, {}", age.as_secs(), rate.state),
///     _ => println!("never fetched yet"),
/// }
/// # Ok(())
/// # }
/// ```
pub fn section(key: &str) -> SectionOf<'_> {
    SectionOf { key, max_age: Duration::ZERO, expires_in: None }
}

/// The state of a section.
#[derive(Clone, Debug, PartialEq)]
pub struct Section<T> {
    /// The current value, or the last good one; `None` if there never was one, it has expired, or it is not a `T` (any
    /// more).
    pub value: Option<T>,
    /// The age of the value.
    pub age: Option<Duration>,
    /// The origin of the value.
    pub state: State,
}

/// The origin of a section's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The value is no older than requested.
    Fresh,
    /// This run renewed it.
    Renewed,
    /// The value is older than requested, and this call does not renew it.
    Stale,
    /// Another run is renewing the value; this is the last good one.
    Held,
    /// The renewal failed with this error; this is the last good value.
    Failed(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fresh => f.write_str("fresh"),
            Self::Renewed => f.write_str("renewed"),
            Self::Stale => f.write_str("stale"),
            Self::Held => f.write_str("being renewed by another run"),
            Self::Failed(why) => write!(f, "could not be renewed: {why}"),
        }
    }
}

/// The result of [`SectionOf::begin`].
#[derive(Debug)]
pub enum Begun<T> {
    /// There is nothing to do: the value is fresh, or another run is renewing it.
    Done(Section<T>),
    /// This run must renew the value.
    Yours(Renewal<T>),
}

/// A section that has not been read.
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is read before `get`, `begin` or `refresh`"]
pub struct SectionOf<'a> {
    key: &'a str,
    max_age: Duration,
    expires_in: Option<Duration>,
}

impl SectionOf<'_> {
    /// Sets the age from which the value is renewed. Without this, every run renews it.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets when a published value expires, even as a last good value. Without this it never does.
    pub fn expires_in(mut self, expires_in: Duration) -> Self {
        self.expires_in = Some(expires_in);
        self
    }

    /// Returns the value, however old, without renewing it: `Fresh` if it is no older than requested, else `Stale`.
    ///
    /// # Errors
    ///
    /// As [`cache::get`].
    pub fn get<T: DeserializeOwned>(self) -> Result<Section<T>, Error> {
        let entry = cache::get(self.key)?;
        let state = match &entry {
            Some(entry) if entry.age < self.max_age => State::Fresh,
            _ => State::Stale,
        };
        Ok(known(entry, state))
    }

    /// Decides which run renews the value, at once and without waiting.
    ///
    /// This is for runs that renew several sections at a time; [`refresh`](Self::refresh) is the simple form.
    ///
    /// # Errors
    ///
    /// As [`cache::get`].
    pub fn begin<T: DeserializeOwned>(self) -> Result<Begun<T>, Error> {
        let mut refreshed = wit::refresh(self.key, milliseconds(self.max_age))?;
        if let wit::Refreshed::Fresh(entry) = refreshed {
            let section = known(Some(entry.into()), State::Fresh);
            if section.value.is_some() {
                return Ok(Begun::Done(section));
            }
            // The value is not a `T`, because another version of the task wrote it. With a maximum age of 0 no value is
            // fresh.
            refreshed = wit::refresh(self.key, 0)?;
        }
        Ok(match refreshed {
            wit::Refreshed::Fresh(entry) => Begun::Done(known(Some(entry.into()), State::Fresh)),
            wit::Refreshed::Held(entry) => Begun::Done(known(entry.map(Entry::from), State::Held)),
            wit::Refreshed::Yours(renewal) => {
                let last = known(renewal.last().map(Entry::from), State::Held);
                Begun::Yours(Renewal { renewal, last, expires_in: self.expires_in, value: PhantomData })
            }
        })
    }

    /// Returns the value if it is fresh or another run is renewing it. Otherwise renews it with `renew`, which gets the
    /// last good value.
    ///
    /// An error of `renew` leaves the last good value alone, and returns it with [`State::Failed`].
    ///
    /// # Errors
    ///
    /// As [`cache::get`] and [`cache::set_json`]: errors of the cache, not of `renew`.
    pub fn refresh<T, E, F>(self, renew: F) -> Result<Section<T>, Error>
    where
        T: Serialize + DeserializeOwned,
        E: fmt::Display,
        F: FnOnce(Option<&T>) -> Result<T, E>,
    {
        match self.begin()? {
            Begun::Done(section) => Ok(section),
            Begun::Yours(renewal) => match renew(renewal.last()) {
                Ok(value) => renewal.publish(value),
                Err(error) => Ok(renewal.fail(error)),
            },
        }
    }
}

/// The right and the duty to renew a section, held by one run at a time.
///
/// Dropping it releases the right and leaves the last good value alone. So does the end of the run, however it ends.
#[derive(Debug)]
#[must_use = "dropping this releases the section without renewing it"]
pub struct Renewal<T> {
    renewal: wit::Renewal,
    last: Section<T>,
    expires_in: Option<Duration>,
    value: PhantomData<fn(T)>,
}

impl<T> Renewal<T> {
    /// Returns the last good value, however old.
    pub fn last(&self) -> Option<&T> {
        self.last.value.as_ref()
    }

    /// Sets the section to `value` and releases the right.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the right to renew it was lost before, and those of [`cache::set_json`]. In these cases
    /// the last good value is left alone.
    pub fn publish(self, value: T) -> Result<Section<T>, Error>
    where
        T: Serialize,
    {
        self.renewal.publish(&cache::to_json(&value)?, self.expires_in.map(milliseconds))?;
        Ok(Section { value: Some(value), age: Some(Duration::ZERO), state: State::Renewed })
    }

    /// Releases the right without a new value, because of `error`.
    pub fn fail(self, error: impl fmt::Display) -> Section<T> {
        Section { state: State::Failed(error.to_string()), ..self.last }
    }
}

/// Returns the state of a section with this entry.
fn known<T: DeserializeOwned>(entry: Option<Entry>, state: State) -> Section<T> {
    let (value, age) = entry.and_then(|entry| entry.json().ok()).map(|entry| (entry.value, entry.age)).unzip();
    Section { value, age, state }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::instant;

    fn entry(value: &str) -> Entry {
        Entry { value: value.into(), version: 1, set_at: instant(0), age: Duration::from_secs(3) }
    }

    #[test]
    fn a_value_comes_with_its_age() {
        let section = known::<u32>(Some(entry("7")), State::Held);

        assert_eq!(section, Section { value: Some(7), age: Some(Duration::from_secs(3)), state: State::Held });
    }

    #[test]
    fn a_value_of_another_type_counts_as_none() {
        let section = known::<u32>(Some(entry("\"seven\"")), State::Fresh);

        assert_eq!(section, Section { value: None, age: None, state: State::Fresh });
    }
}
