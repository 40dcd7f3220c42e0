//! Defines lists of runs: their filter, and their pages, newest first.
//!
//! A page costs about the same however long the history is. A store finds its runs by one index, or looks at a bounded
//! number of runs and says how far it has looked ([`RunPage::looked_back_to`]); the caller goes on from there.

use std::time::Duration;

use async_trait::async_trait;

use super::{Result, RunInfo};
use sexton_domain::labels::Labels;
use sexton_domain::run::{Cause, Outcome, RunId, RunState};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// Selects runs. A run is selected if it fits every part; a part that is empty fits all runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The tenant of the run's task. The API always names one.
    pub tenant: Option<Name>,
    /// The names of the task.
    pub task: Option<TaskPattern>,
    /// The states, any of which it may have.
    pub states: Vec<RunState>,
    /// The outcomes, any of which its last attempt may have had. They select only runs that are over.
    pub outcomes: Vec<Outcome>,
    /// The causes, any of which it may have.
    pub causes: Vec<Cause>,
    /// The key of the added schedule that made it.
    pub key: Option<Name>,
    /// The chain that made it.
    pub chain: Option<ChainRuns>,
    /// The host that has it, or had it last.
    pub host: Option<String>,
    /// The labels that it has, all of them.
    pub labels: Labels,
    /// It was made at this instant or later.
    pub since: Option<Timestamp>,
    /// It was made at this instant or earlier.
    pub until: Option<Timestamp>,
    /// It took longer than this from the claim of its last attempt to its end, or up to now if it is running.
    pub longer_than: Option<Duration>,
    /// A text in its message, or in the log of one of its attempts.
    pub text: Option<SearchText>,
    /// Whether it was claimed at least once.
    pub begun: bool,
}

/// The runs that a chain made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainRuns {
    /// The name of the chain.
    pub chain: Name,
    /// The names of its tasks. Runs of tasks that it has no more may be missing.
    pub tasks: Vec<Name>,
}

/// The longest pattern: twice the length of a name.
const LONGEST_PATTERN: usize = 128;

/// The name of a task, or a pattern of names: each `*` stands for any characters, also for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPattern(String);

impl TaskPattern {
    /// Reads a name or a pattern.
    ///
    /// # Errors
    ///
    /// One line, if no task can have such a name.
    pub fn read(text: &str) -> std::result::Result<Self, String> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | '*');
        if (1..=LONGEST_PATTERN).contains(&text.len()) && text.chars().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        let text: String = text.chars().take(80).collect();
        Err(format!(
            "`{text}` is neither the name of a task nor a pattern of names: use a-z, 0-9, `-`, `_` and `.`, and `*` for \
             any of them"
        ))
    }

    /// Returns whether `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }

    /// Returns the beginning that all names have in common.
    pub(crate) fn prefix(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    /// Returns the pattern as `LIKE` of SQL has it, with `\` before a `_` that stands for itself.
    pub(crate) fn like(&self) -> String {
        self.0.replace('_', "\\_").replace('*', "%")
    }
}

impl From<Name> for TaskPattern {
    fn from(name: Name) -> Self {
        Self(name.as_str().to_owned())
    }
}

/// The longest text to search for, in characters.
const LONGEST_TEXT: usize = 200;

/// A text to search for. Capitals of ASCII and small letters are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchText(String);

impl SearchText {
    /// Reads a text.
    ///
    /// # Errors
    ///
    /// One line, if it is empty, too long, or has more than one line.
    pub fn read(text: &str) -> std::result::Result<Self, String> {
        match (1..=LONGEST_TEXT).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(format!("a text to search for is one line of 1 to {LONGEST_TEXT} characters")),
        }
    }

    /// Returns the text in small letters.
    pub(crate) fn plain(&self) -> &str {
        &self.0
    }

    /// Returns the text in small letters as the JSON of a log has it within a string.
    pub(crate) fn in_json(&self) -> String {
        self.0.replace('\\', "\\\\").replace('"', "\\\"")
    }
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct ListRuns {
    /// The runs that are listed.
    pub filter: Filter,
    /// The page begins with the newest run before this one; `None` is the newest of all.
    pub before: Option<RunId>,
    /// The most runs of the page.
    pub limit: usize,
    /// The current time, by which runs that are running take as long as they do.
    pub now: Timestamp,
}

/// The runs of a page.
#[derive(Clone, Debug, Default)]
pub struct RunPage {
    /// The runs, newest first.
    pub runs: Vec<RunInfo>,
    /// The value of [`ListRuns::before`] for the next page; `None` if there are no more runs.
    pub next: Option<RunId>,
    /// Set if the page has fewer runs than it may, because the store looked at as many as it does for one page: the
    /// instant at which the last of them was made. The next page goes on from there.
    pub looked_back_to: Option<Timestamp>,
}

/// Lists runs.
#[async_trait]
pub trait Lists: Send + Sync {
    /// Returns a page of the runs that a filter selects. Runs that are made or deleted between two pages are in neither
    /// or in one of them; all others are in exactly one.
    async fn list_runs(&self, list: ListRuns) -> Result<RunPage>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_stars_anywhere() {
        for (pattern, fits, others) in [
            ("report", &["report"][..], &["report-2", "a-report", ""][..]),
            ("report*", &["report", "report-2"], &["a-report"]),
            ("*report", &["report", "a-report", "report-report"], &["report-2"]),
            ("a*b*c", &["abc", "a-b-c", "abbcc"], &["ac", "abcd", "acb"]),
            ("*", &["", "anything"], &[]),
            ("ab*ba", &["abba", "ab-ba"], &["aba"]),
        ] {
            let pattern = TaskPattern::read(pattern).unwrap();
            assert!(fits.iter().all(|name| pattern.matches(name)), "{pattern:?}");
            assert!(!others.iter().any(|name| pattern.matches(name)), "{pattern:?}");
        }
        let pattern = TaskPattern::read("a_b*").unwrap();
        assert_eq!((pattern.prefix(), pattern.like().as_str()), ("a_b", "a\\_b%"));
    }

    #[test]
    fn a_pattern_that_no_name_can_fit_is_refused() {
        for bad in ["", "A", "a b", "a%", "a\\", &"x".repeat(129)] {
            assert!(TaskPattern::read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_text_is_searched_for_in_small_letters_and_as_json_has_it() {
        let text = SearchText::read("No \"Route\" in C:\\").unwrap();

        assert_eq!((text.plain(), text.in_json().as_str()), ("no \"route\" in c:\\", "no \\\"route\\\" in c:\\\\"));
        for bad in ["", "two\nlines", &"x".repeat(201)] {
            assert!(SearchText::read(bad).is_err(), "{bad:?}");
        }
    }
}
