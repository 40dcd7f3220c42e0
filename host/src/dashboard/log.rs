//! The log of a run: the lines of its attempts, and those that the one under way has written so far.

use crate::http::api_types::attempts::AttemptShape;
use sexton_domain::run::RunId;
use sexton_runtime::attempt::LogLine;

use super::ask::Ask;
use super::look::shown_lines;
use super::times::{Clock, When};

/// The most lines that are shown, the latest. The API has all of them.
const LINES: usize = 1000;

/// The levels of lines, from the least to the most urgent. Lines on stdout count as `info`, and those on stderr as `warn`.
const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

/// A line of a log, or the end of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The number of the line in the log of the run, from 1.
    pub(super) number: usize,
    pub(super) when: When,
    /// The level, which is also a class of the stylesheet.
    pub(super) level: &'static str,
    pub(super) text: String,
}

/// The lines of a log that a page shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    pub(super) lines: Vec<Line>,
    /// The number of lines that fit and are left out, because there are too many.
    pub(super) earlier: usize,
    /// The number of all lines.
    pub(super) all: usize,
    /// The number of the first line that reports an error, if one is shown.
    pub(super) first_error: Option<usize>,
    /// Whether the log of an attempt was cut at its limit.
    pub(super) cut: bool,
}

/// The lines that a reader wants.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// A text that they have, in small letters.
    text: String,
    /// The least urgent level, as a place in [`LEVELS`].
    level: usize,
}

impl Wanted {
    /// Reads the fields `find` and `level` of a page.
    pub(super) fn of(ask: &Ask) -> Self {
        let level = LEVELS.iter().position(|level| ask.field("level") == Some(*level)).unwrap_or(0);
        Self { text: ask.value("find").to_lowercase(), level }
    }

    fn has(&self, level: &str, text: &str) -> bool {
        let urgency = LEVELS.iter().position(|known| *known == level).unwrap_or(1);
        let urgency = if level == "stderr" { 2 } else { urgency };
        urgency >= self.level && (self.text.is_empty() || text.to_lowercase().contains(&self.text))
    }
}

impl Lines {
    /// Returns the lines of the attempts that have ended, and of the one under way on this host.
    pub(super) fn of(ask: &Ask, clock: &Clock, run: RunId, attempts: &[AttemptShape]) -> Self {
        let wanted = Wanted::of(ask);
        let mut all = Self::default();
        for attempt in attempts {
            all.cut |= attempt.log.cut;
            for text in attempt.log.text.lines() {
                // The store has JSON lines. A line that is not JSON is shown as it is, not lost.
                let line = serde_json::from_str(text).unwrap_or_else(|_| LogLine {
                    at: attempt.ended_at,
                    level: "info".to_owned(),
                    message: text.to_owned(),
                });
                all.push(clock, &wanted, &line);
            }
        }
        if let Some(live) = ask.views.app.live.get(run) {
            live.lines(0).0.iter().for_each(|line| all.push(clock, &wanted, line));
        }
        all.earlier = all.lines.len().saturating_sub(LINES);
        all.lines.drain(..all.earlier);
        all.first_error = all.lines.iter().find(|line| line.level == "error").map(|line| line.number);
        all
    }

    fn push(&mut self, clock: &Clock, wanted: &Wanted, line: &LogLine) {
        self.all += 1;
        if !wanted.has(&line.level, &line.message) {
            return;
        }
        let text = shown_lines(&line.message);
        self.lines.push(Line { number: self.all, when: clock.utc(line.at), level: level(&line.level), text });
    }
}

/// Returns the level as the stylesheet knows it.
fn level(text: &str) -> &'static str {
    let known = ["debug", "info", "warn", "error", "stdout", "stderr"];
    known.into_iter().find(|level| *level == text).unwrap_or("info")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_text_and_by_level() {
        let wanted = Wanted { text: "disk".to_owned(), level: 2 };

        assert!(wanted.has("error", "the Disk is full") && wanted.has("stderr", "disk"));
        assert!(!wanted.has("info", "disk") && !wanted.has("error", "memory") && !wanted.has("stdout", "disk"));
        assert!(Wanted::default().has("debug", ""));
    }

    #[test]
    fn an_unknown_level_is_shown_as_a_usual_line() {
        assert_eq!(level("\"><script>"), "info");
    }
}
