//! What is said about a text that is no crontab expression: one line, however long the text and whatever is in it.

use crate::schedule::words::on_one_line;

/// Why a text is not a crontab expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCrontab {
    /// Too few fields, or too many.
    #[error("`{text}` has {found}, a crontab {wanted}{hint}")]
    Fields {
        /// What was read.
        text: String,
        /// `1 field`, `6 fields`.
        found: String,
        /// `has five: minute ...`, or the six with seconds.
        wanted: &'static str,
        /// What may have been meant.
        hint: &'static str,
    },
    /// A macro that does not exist.
    #[error(
        "`{0}` is no crontab macro; use @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or `@every 5m`{1}"
    )]
    Macro(String, &'static str),
    /// A field with something wrong in it.
    #[error("{field} `{text}`: {problem}; use {allowed}")]
    Field {
        /// Which field: `minute`, `day-of-week`, ...
        field: &'static str,
        /// All of the field.
        text: String,
        /// What is wrong with it.
        problem: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// What is before the fields names no zone.
    #[error("{variable} `{text}`: there is no such zone; {meant}")]
    Zone {
        /// `CRON_TZ` or `TZ`.
        variable: &'static str,
        /// What stands there as a name.
        text: String,
        /// What was probably meant.
        meant: String,
    },
    /// There is no such date.
    #[error("`{0}` never comes{1}; use days that these months have")]
    Never(String, &'static str),
    /// More text than any crontab needs.
    #[error("a crontab has at most {most} bytes, this one has {0}; write ranges and steps", most = super::LONGEST)]
    Long(usize),
}

/// The beginning of a text that a message quotes: on one line, and no more than 48 bytes.
pub(super) fn excerpt(text: &str) -> String {
    const MOST: usize = 48;
    let mut excerpt = String::new();
    for c in text.chars().map(on_one_line) {
        if excerpt.len() + c.len_utf8() > MOST {
            break;
        }
        excerpt.push(c);
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::excerpt;

    #[test]
    fn a_message_quotes_48_bytes_at_most_without_cutting_a_letter_in_two() {
        let table = [
            ("a".repeat(48), "a".repeat(48)),
            ("a".repeat(49), "a".repeat(48)),
            ("\u{e9}".repeat(25), "\u{e9}".repeat(24)),
            (format!("a{}", "\u{e9}".repeat(25)), format!("a{}", "\u{e9}".repeat(23))),
        ];
        for (text, quoted) in table {
            assert_eq!(excerpt(&text), quoted);
        }
    }

    #[test]
    fn whatever_would_begin_another_line_is_quoted_as_a_blank() {
        assert_eq!(excerpt("a\nb\rc\u{85}d\u{2028}e\u{2029}f\u{0}g"), "a b c d e f g");
    }
}
