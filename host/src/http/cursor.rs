//! The cursors of lists: the place from which the next page goes on, in a form that callers pass back and do not read.

use super::error::{ApiError, ApiResult};
use sexton_domain::run::RunId;

/// The most characters of a cursor: that of the longest key, in hexadecimal digits.
const LONGEST: usize = 1024;

/// A place in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// The page goes on with runs before this one.
    Before(RunId),
    /// The page goes on with names, or keys, after this one.
    After(String),
}

impl Cursor {
    /// Returns the cursor as callers get it.
    pub(super) fn write(&self) -> String {
        match self {
            Self::Before(run) => format!("r{:x}", run.0),
            Self::After(name) => {
                let digits = name.bytes().map(|byte| format!("{byte:02x}"));
                format!("n{}", digits.collect::<String>())
            }
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let hex = |text: &str| u8::from_str_radix(text, 16).ok();
        let (kind, digits) = text.split_at_checked(1).filter(|_| text.len() <= LONGEST)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        match kind {
            "r" => Some(Self::Before(RunId(i64::from_str_radix(digits, 16).ok()?))),
            "n" if digits.len() % 2 == 0 => {
                let bytes = (0..digits.len()).step_by(2).map(|at| hex(&digits[at..at + 2])).collect::<Option<Vec<_>>>();
                Some(Self::After(String::from_utf8(bytes?).ok()?))
            }
            _ => None,
        }
    }

    /// Reads the cursor of a list of runs.
    pub(super) fn of_runs(text: &str) -> ApiResult<RunId> {
        match Self::parse(text) {
            Some(Self::Before(run)) => Ok(run),
            _ => Err(unknown()),
        }
    }

    /// Reads the cursor of a list of names or keys.
    pub(super) fn of_names(text: &str) -> ApiResult<String> {
        match Self::parse(text) {
            Some(Self::After(name)) => Ok(name),
            _ => Err(unknown()),
        }
    }
}

fn unknown() -> ApiError {
    ApiError::bad("bad-cursor", "`cursor` is none that this list has returned")
        .hint("leave it out for the first page, and pass on the `cursor` of each page for the next")
}

/// A bounded piece of a list that is in memory.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    pub(super) limit: Option<usize>,
    pub(super) cursor: Option<String>,
}

/// The largest page of a list that is in memory.
const LARGEST: usize = 1000;

impl PageQuery {
    /// Returns the name after which the page begins, if it is not the first, and its size, if it has one.
    ///
    /// # Errors
    ///
    /// The size is out of range, or the cursor is of no such list.
    pub(super) fn read(&self) -> ApiResult<(Option<String>, Option<usize>)> {
        if self.limit.is_some_and(|limit| !(1..=LARGEST).contains(&limit)) {
            return Err(ApiError::bad("bad-query", format!("`limit` is a number from 1 to {LARGEST}")));
        }
        Ok((self.cursor.as_deref().map(Cursor::of_names).transpose()?, self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for cursor in [Cursor::Before(RunId(1)), Cursor::Before(RunId(i64::MAX)), Cursor::After("ä/b\0".to_owned())] {
            assert_eq!(Cursor::parse(&cursor.write()), Some(cursor));
        }
        assert_eq!(Cursor::of_runs("r1f").unwrap(), RunId(31));
        assert_eq!(Cursor::of_names("n6162").unwrap(), "ab");
    }

    #[test]
    fn any_other_text_is_no_cursor() {
        for bad in
            ["", "r", "31", "rx", "r-1", "rffffffffffffffff", "n6", "nff", "äb", &format!("n{}", "61".repeat(600))]
        {
            assert!(Cursor::of_runs(bad).is_err() && Cursor::of_names(bad).is_err(), "{bad}");
        }
        assert!(Cursor::of_names("r1f").is_err() && Cursor::of_runs("n61").is_err());
    }
}
