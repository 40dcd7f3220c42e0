//! Describes why a text is no crontab expression. A message is one line, however long the text is and whatever it
//! contains.

use crate::schedule::instant_parser::on_one_line;

/// The longest text that is read, in bytes. A list of all minutes takes 169.
pub(super) const LONGEST: usize = 1000;

/// The reason why a text is not a crontab expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCrontab {
    /// The number of fields is wrong.
    #[error("`{text}` has {found}, a crontab {wanted}{hint}")]
    Fields {
        /// The text that was read.
        text: String,
        /// `1 field`, `6 fields`.
        found: String,
        /// `has five: minute ...`, or the six with seconds.
        wanted: &'static str,
        /// A guess at what the author meant.
        hint: &'static str,
    },
    /// A macro that does not exist.
    #[error(
        "`{0}` is not a crontab macro; use @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or `@every 5m`{1}"
    )]
    Macro(String, &'static str),
    /// A field has something wrong in it.
    #[error("{field} `{text}`: {problem}; use {allowed}")]
    Field {
        /// The name of the field: `minute`, `day-of-week`, ...
        field: &'static str,
        /// The whole text of the field.
        text: String,
        /// The problem.
        problem: String,
        /// The values that the field may have.
        allowed: &'static str,
    },
    /// The variable before the fields names no zone.
    #[error("{variable} `{text}`: there is no such zone; {meant}")]
    Zone {
        /// `CRON_TZ` or `TZ`.
        variable: &'static str,
        /// The text in the place of a zone's name.
        text: String,
        /// The zone that the author probably meant.
        meant: String,
    },
    /// The date never occurs.
    #[error("`{0}` never comes{1}; use days that these months have")]
    Never(String, &'static str),
    /// The text is longer than any crontab needs to be.
    #[error("a crontab has at most {most} bytes, this one has {0}; write ranges and steps", most = LONGEST)]
    Long(usize),
}

/// Returns the beginning of a text for a message: on one line, and no more than 48 bytes.
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
    fn characters_that_begin_a_line_are_quoted_as_a_blank() {
        assert_eq!(excerpt("a\nb\rc\u{85}d\u{2028}e\u{2029}f\u{0}g"), "a b c d e f g");
    }
}
