//! Shows states, sizes and texts: a state by a shape, a letter and a colour, so that none of them is needed alone.

use std::fmt;
use std::time::Duration;

use askama::Template;
use askama::filters::HtmlSafe;

use crate::http::api_types::approximate;
use sexton_domain::run::{Outcome, RunState};
use sexton_system::harmless;

/// The characters of a message that a row shows.
const MESSAGE: usize = 300;

/// The colour and the shape of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// It went well: a circle.
    Ok,
    /// It failed: a square.
    Bad,
    /// The guest crashed: a diamond.
    Crash,
    /// It is under way: a square with a round end.
    Run,
    /// It waits: a ring.
    Wait,
    /// It needs a look: a square with a round top.
    Warn,
    /// It was not carried out: a rounded square.
    Quiet,
}

impl Tone {
    /// Returns the class in the stylesheet.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Bad => "bad",
            Self::Crash => "crash",
            Self::Run => "run",
            Self::Wait => "wait",
            Self::Warn => "warn",
            Self::Quiet => "quiet",
        }
    }
}

impl fmt::Display for Tone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A state with its word.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = r#"<span class="mark"><span class="m {{ tone }}" aria-hidden="true">{{ letter }}</span>{{ word }}</span>"#
)]
pub(super) struct Mark {
    pub(super) tone: Tone,
    pub(super) letter: &'static str,
    pub(super) word: &'static str,
}

impl HtmlSafe for Mark {}

impl Mark {
    /// Returns the mark of a run: of its outcome if it is over, and of its state before.
    pub(super) fn of(state: RunState, outcome: Option<Outcome>) -> Self {
        let mark = |tone, letter, word| Self { tone, letter, word };
        match (state, outcome) {
            (RunState::Waiting, _) => mark(Tone::Wait, "W", "waiting"),
            (RunState::Running, _) => mark(Tone::Run, "R", "running"),
            (_, Some(Outcome::Skipped)) => mark(Tone::Quiet, "–", "skipped"),
            (RunState::Succeeded, _) => mark(Tone::Ok, "S", "succeeded"),
            (RunState::Cancelled, Some(Outcome::Killed)) => mark(Tone::Quiet, "K", "killed"),
            (RunState::Cancelled, _) => mark(Tone::Quiet, "C", "cancelled"),
            (RunState::Failed, outcome) => outcome.map_or_else(|| mark(Tone::Bad, "F", "failed"), Self::of_attempt),
        }
    }

    /// Returns the mark of an attempt.
    pub(super) fn of_attempt(outcome: Outcome) -> Self {
        let (tone, letter) = match outcome {
            Outcome::Succeeded => (Tone::Ok, "S"),
            Outcome::FailedTransient | Outcome::FailedPermanent => (Tone::Bad, "F"),
            Outcome::Deferred => (Tone::Wait, "W"),
            Outcome::OutOfFuel => (Tone::Crash, "U"),
            Outcome::TimedOut => (Tone::Crash, "D"),
            Outcome::OutOfMemory => (Tone::Crash, "M"),
            Outcome::Trapped => (Tone::Crash, "T"),
            Outcome::Killed => (Tone::Quiet, "K"),
            Outcome::Refused => (Tone::Bad, "X"),
            Outcome::Lost => (Tone::Bad, "L"),
            Outcome::Skipped => (Tone::Quiet, "–"),
            Outcome::Idle => (Tone::Crash, "I"),
        };
        Self { tone, letter, word: outcome.as_str() }
    }
}

/// A bar: the used part of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(path = "parts/bar.html")]
pub(super) struct Bar {
    /// The used part in percent, 100 at most.
    used: u64,
    /// The limit, in words.
    what: String,
}

impl HtmlSafe for Bar {}

impl Bar {
    /// Returns the bar for `used` of `limit`.
    pub(super) fn of(used: u64, limit: u64, what: String) -> Self {
        let percent = u128::from(used) * 100 / u128::from(limit.max(1));
        Self { used: u64::try_from(percent.min(100)).unwrap_or(100), what }
    }
}

/// Returns a text on one line with its control characters escaped.
pub(super) fn shown(text: &str) -> String {
    harmless::line(text).into_owned()
}

/// Returns a text of several lines with its other control characters escaped.
pub(super) fn shown_lines(text: &str) -> String {
    harmless::lines(text).into_owned()
}

/// Returns the beginning of a message.
pub(super) fn brief(text: &str) -> String {
    let mut brief: String = text.chars().take(MESSAGE).collect();
    if brief.len() < text.len() {
        brief.push('…');
    }
    shown(&brief)
}

/// Formats a number of bytes: `512 B`, `1.5 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    scaled(bytes, 1024, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// Formats a number: `950`, `1.2 M`.
pub(super) fn count(number: u64) -> String {
    scaled(number, 1000, &["", "k", "M", "G", "T"]).trim_end().to_owned()
}

fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let (mut size, mut unit) = (1_u64, 0);
    while number / size >= step && unit + 1 < units.len() {
        size *= step;
        unit += 1;
    }
    let (whole, tenths) = (number / size, number % size * 10 / size);
    match unit > 0 && whole < 10 && tenths > 0 {
        true => format!("{whole}.{tenths} {}", units[unit]),
        false => format!("{whole} {}", units[unit]),
    }
}

/// Formats a duration in milliseconds: `120ms`, `1.4s`, `2m 5s`.
pub(super) fn lasted(ms: u64) -> String {
    match ms {
        1000..10_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => approximate(Duration::from_millis(ms)),
    }
}

/// Returns `1 run`, `2 runs`.
pub(super) fn many(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_outcomes_look_alike() {
        let mut looks: Vec<_> = Outcome::ALL.map(|outcome| Mark::of_attempt(outcome).letter).to_vec();
        looks.sort_unstable();
        looks.dedup();
        // Failures of both kinds have the letter F.
        assert_eq!(looks.len(), Outcome::ALL.len() - 1);
        let states = RunState::ALL.map(|state| Mark::of(state, None));
        for (n, mark) in states.iter().enumerate() {
            assert!(states[..n].iter().all(|other| other.letter != mark.letter && other.tone != mark.tone), "{mark:?}");
        }
    }

    #[test]
    fn a_mark_has_a_shape_a_letter_and_a_word() {
        let html = Mark::of(RunState::Failed, Some(Outcome::TimedOut)).to_string();
        let expected = "<span class=\"mark\"><span class=\"m crash\" aria-hidden=\"true\">D</span>timed-out</span>";
        assert_eq!(html, expected);
    }

    #[test]
    fn numbers_are_rounded_down_to_what_people_compare() {
        assert_eq!([0, 999, 1000, 1200, 15_300, 1_000_000].map(count), ["0", "999", "1 k", "1.2 k", "15 k", "1 M"]);
        assert_eq!([512, 1024, 1536, 64 << 20].map(bytes), ["512 B", "1 KiB", "1.5 KiB", "64 MiB"]);
        assert_eq!(count(u64::MAX), "18446744 T");
        assert_eq!([40, 1450, 61_000].map(lasted), ["40ms", "1.4s", "1m 1s"]);
    }

    #[test]
    fn a_bar_never_leaves_its_limit() {
        assert_eq!(Bar::of(u64::MAX, 0, String::new()).used, 100);
        assert_eq!(Bar::of(1, 4, String::new()).used, 25);
    }

    #[test]
    fn control_characters_of_guests_are_shown_and_not_obeyed() {
        assert_eq!(brief("\u{1b}[2J\nnext"), "\\u001b[2J\\nnext");
        assert_eq!(brief(&"x".repeat(400)).chars().count(), MESSAGE + 1);
    }
}
