//! Prints to stdout: escaped text, tables for people, and colours on a terminal.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use chrono::{DateTime, FixedOffset, Local, Utc};
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::error::CliError;
use crate::http::api_types::ago;
use crate::http::api_types::runs::HeldBackShape;
use sexton_domain::run::RunState;
use sexton_domain::time::Timestamp;
use sexton_system::harmless;

/// The columns of a terminal below which tables are not wrapped, because narrower ones would be unreadable.
const LEAST_WIDTH: u16 = 60;

/// The destination of output, and what it may look like there.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    /// Whether a person reads the output.
    pub(super) terminal: bool,
    colour: bool,
    /// The current time, for ages.
    pub(super) now: Timestamp,
    /// The buffer that replaces stdout in tests.
    #[cfg(test)]
    pub(super) kept: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Screen {
    pub(super) fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        Self {
            terminal,
            colour: terminal && wanted,
            now: Utc::now().into(),
            #[cfg(test)]
            kept: Default::default(),
        }
    }

    /// Creates a screen for programs.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self { terminal: false, colour: false, now: Utc::now().into(), kept: Default::default() }
    }

    /// Prints the project's own text, in which quoted text is escaped already.
    pub(super) fn text(&self, text: &str) -> Result<(), CliError> {
        self.write(text.as_bytes())
    }

    pub(super) fn line(&self, text: &str) -> Result<(), CliError> {
        self.text(&format!("{text}\n"))
    }

    /// Prints foreign bytes: unchanged for a program, and escaped for a terminal.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        if self.terminal {
            let text = String::from_utf8_lossy(bytes);
            let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
            return self.text(&format!("{}{end}", safe(&text)));
        }
        self.write(bytes)
    }

    #[cfg(not(test))]
    fn write(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    }

    #[cfg(test)]
    fn write(&self, bytes: &[u8]) -> Result<(), CliError> {
        Ok(self.kept.lock().expect("no test panics while it holds this").write_all(bytes)?)
    }

    /// Prints the API's JSON unchanged.
    pub(super) fn json(&self, json: &str) -> Result<(), CliError> {
        self.bytes(format!("{json}\n").as_bytes())
    }

    /// Creates an empty table. If the table does not fit a terminal's width, the column `flexible` is wrapped.
    pub(super) fn table(&self, columns: &[&str], flexible: &str) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(columns);
        // Programs get one line a row, whatever its width. So does a terminal that reports no sensible width.
        let wraps = self.terminal && table.width().is_some_and(|width| width >= LEAST_WIDTH);
        table.set_content_arrangement(if wraps { ContentArrangement::Dynamic } else { ContentArrangement::Disabled });
        for (column, name) in table.column_iter_mut().zip(columns) {
            column.set_padding((0, 2));
            if wraps && *name != flexible {
                column.set_constraint(ColumnConstraint::ContentWidth);
            } else if wraps {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(20)));
            }
        }
        table
    }

    pub(super) fn print(&self, table: &Table) -> Result<(), CliError> {
        self.line(&table.trim_fmt())
    }

    pub(super) fn state(&self, state: RunState) -> Cell {
        let cell = Cell::new(state);
        let colour = match state {
            RunState::Succeeded => Color::Green,
            RunState::Failed => Color::Red,
            RunState::Running => Color::Yellow,
            RunState::Waiting | RunState::Cancelled => Color::DarkGrey,
        };
        if self.colour { cell.fg(colour) } else { cell }
    }

    /// Returns a cell that draws attention.
    pub(super) fn alarm(&self, text: &str) -> Cell {
        let cell = Cell::new(one_line(text));
        if self.colour { cell.fg(Color::Red) } else { cell }
    }

    /// Returns `text` in the colour of a log level.
    pub(super) fn level(&self, level: &str) -> String {
        let code = match level {
            "error" => "31",
            "warn" => "33",
            "debug" | "stdout" | "stderr" => "2",
            _ => return safe(level).into_owned(),
        };
        if self.colour { format!("\u{1b}[{code}m{level}\u{1b}[0m") } else { level.to_owned() }
    }

    pub(super) fn ago(&self, at: Timestamp) -> String {
        ago(at, self.now)
    }

    /// Formats an instant for a table as `11:24:53 +01:00` in this machine's zone, with the date unless it is today.
    pub(super) fn clock(&self, at: Timestamp) -> String {
        let (at, now) = (at.to_utc().with_timezone(&Local), self.now.to_utc().with_timezone(&Local));
        clock(at.fixed_offset(), now.fixed_offset())
    }

    /// Does the same for an instant in RFC 3339 in another zone. Any other text is escaped.
    pub(super) fn local_clock(&self, local: &str) -> String {
        match DateTime::parse_from_rfc3339(local) {
            Ok(at) => clock(at, self.now.to_utc().with_timezone(at.offset())),
            Err(_) => one_line(local),
        }
    }

    /// Formats a reason such as `over its budget of 1000 fuel a minute until 11:24:53 +01:00`.
    pub(super) fn held_back(&self, held_back: &HeldBackShape) -> String {
        let until = held_back.until.map(|at| format!(" until {}", self.clock(at))).unwrap_or_default();
        format!("{}{until}", one_line(&held_back.reason))
    }

    /// Formats an instant as `2026-11-22 11:24:53 +01:00 (3s ago)`.
    pub(super) fn instant(&self, at: Timestamp) -> String {
        format!("{} ({})", local(at), self.ago(at))
    }
}

/// Prints a line to stderr, apart from a command's output. If stderr is closed, the line is lost.
pub(super) fn eprint_line(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn clock(at: DateTime<FixedOffset>, now: DateTime<FixedOffset>) -> String {
    let today = at.date_naive() == now.date_naive();
    at.format(if today { "%H:%M:%S %:z" } else { "%Y-%m-%d %H:%M:%S %:z" }).to_string()
}

/// Formats an instant in this machine's zone, with the zone's offset.
pub(super) fn local(at: Timestamp) -> String {
    at.to_utc().with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// Escapes the characters of `text` that control a terminal.
pub(super) fn safe(text: &str) -> Cow<'_, str> {
    harmless::lines(text)
}

/// Does the same as [`safe`], on one line of bounded length, for cells of a table.
pub(super) fn one_line(text: &str) -> String {
    const MOST: usize = 160;
    let line = harmless::line(text.trim_end());
    let mut short: String = line.chars().take(MOST).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::{Screen, one_line};
    use sexton_domain::time::Timestamp;

    #[test]
    fn a_cell_is_one_short_line() {
        assert_eq!(one_line("first\nsecond\n"), "first\\nsecond");
        assert_eq!(one_line(&"x".repeat(500)).chars().count(), 161);
    }

    #[test]
    fn a_clock_has_its_zone_always_and_its_date_when_it_is_another_days() {
        let mut screen = Screen::plain();
        screen.now = Timestamp::from_millis(1_795_341_600_000);
        assert_eq!(screen.local_clock("2026-11-22T11:00:10+01:00"), "11:00:10 +01:00");
        assert_eq!(screen.local_clock("2026-11-23T00:00:00+01:00"), "2026-11-23 00:00:00 +01:00");
        assert_eq!(screen.local_clock("\u{1b}[2J"), "\\u001b[2J");
    }

    #[test]
    fn a_table_for_programs_has_one_line_a_row_and_no_colours() {
        let screen = Screen::plain();
        let mut table = screen.table(&["RUN", "SAID"], "SAID");
        table.add_row(vec!["1", &"word ".repeat(60)]);
        let lines = table.trim_fmt();
        assert_eq!(lines.lines().count(), 2);
        assert!(!lines.contains('\u{1b}'));
        assert!(lines.starts_with("RUN  SAID"), "{lines}");
    }
}
