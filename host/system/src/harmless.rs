//! Escapes text of guests, authors and callers for people, and leaves it readable.
//!
//! The attacks are a guest that moves the cursor, sets the terminal's title or answers for the user; a line that reads
//! differently because of characters that change the reading direction; and a line break that begins a forged line of
//! the host's own.

use std::borrow::Cow;

/// The prefix of further lines of a text in the host's log, so that none looks like a line of the host.
const FURTHER: &str = "\n    | ";

/// Escapes as `\u001b` what a terminal would obey in `text`: control characters except line ends and tabs, and
/// characters that change the reading direction.
///
/// JSON stays the same JSON, because such characters occur only in its strings.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && c != '\t')
}

/// Does the same as [`lines`], and escapes line ends too.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| true)
}

/// Cuts `text` to its first `most` bytes, and says so at its end. It gives the rest of the memory back at once, because a
/// guest may have sent megabytes.
pub fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push_str("…[cut]");
        text.shrink_to_fit();
    }
    text
}

/// Returns at most the first `most` characters of `text` for the host's log: escaped, with further lines set apart.
pub fn logged(text: &str, most: usize) -> String {
    let text = text.trim_end();
    let (shown, end) = match text.char_indices().nth(most) {
        Some((end, _)) => (&text[..end], "…"),
        None => (text, ""),
    };
    format!("{}{end}", lines(shown).replace('\n', FURTHER))
}

fn escaped(text: &str, refused: impl Fn(char) -> bool) -> Cow<'_, str> {
    let harmful = |c: char| {
        let turns =
            matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || (c.is_control() && refused(c))
    };
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' if harmful(c) => escaped.push_str("\\n"),
            '\t' if harmful(c) => escaped.push(' '),
            c if harmful(c) => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::{line, lines, logged};

    #[test]
    fn a_guest_cannot_make_the_terminal_do_anything() {
        let attacks = [
            "\u{1b}[2J",
            "\u{1b}]0;title\u{7}",
            "\u{9b}31m",
            "\u{90}q",
            "a\rb",
            "\u{8}\u{8}",
            "\u{7f}",
            "\0",
            "\u{202e}drowssap",
        ];
        for attack in attacks {
            for shown in [lines(attack).into_owned(), line(attack).into_owned(), logged(attack, 100)] {
                assert!(
                    shown.chars().all(|c| !c.is_control() && !('\u{202a}'..='\u{202e}').contains(&c)),
                    "{attack:?}: {shown:?}"
                );
            }
        }
        assert_eq!(lines("\u{1b}[31mred"), "\\u001b[31mred");
    }

    #[test]
    fn harmless_text_is_not_changed() {
        let text = "line\n\tnext: äöü 日本語 🔔 \"quoted\" `it's`";
        assert_eq!(lines(text), text);
    }

    #[test]
    fn in_the_log_quotes_stay_and_no_line_of_a_guest_begins_like_one_of_the_host() {
        let forged = "it said \"no\"\n2026-11-29T10:00:00Z  INFO Sexton is up\n";

        let shown = logged(forged, 1000);

        assert_eq!(shown, "it said \"no\"\n    | 2026-11-29T10:00:00Z  INFO Sexton is up");
        assert_eq!(logged(&"x".repeat(50), 10), format!("{}…", "x".repeat(10)));
    }

    #[test]
    fn json_stays_the_same_json_when_it_is_made_harmless() {
        let value = serde_json::json!({ "message": "\u{1b}[2J\u{9b}\u{7f}\u{202e}" });
        let shown = lines(&value.to_string()).into_owned();
        assert!(!shown.contains('\u{9b}'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("still JSON"), value);
    }
}
