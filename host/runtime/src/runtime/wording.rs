//! Words errors of the runtime for outsiders: for guests, for what is stored of a run, and for the reason of a
//! quarantine.
//!
//! An error holds more than its words. Its `Debug` form prints the host's own stack, with paths of the machine that
//! built the host, as soon as `RUST_BACKTRACE` is set; and some errors name directories of the machine that the host
//! runs on. So no error is formatted where it leaves the host: it passes [`of_error`], and other text that was not
//! written for outsiders passes [`line`].

use std::borrow::Cow;

use sexton_system::harmless;

/// The most characters of a line, which may hold names from a component.
const LONGEST: usize = 500;

/// Returns the words of an error and of its causes, on one bounded line, without directories of the host.
pub(super) fn of_error(error: &wasmtime::Error) -> String {
    // The alternate `Display` form has words only, whatever the environment says.
    line(&format!("{error:#}"))
}

/// Returns `text` on one bounded line, with absolute paths shortened to their last part.
pub(super) fn line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        let (before, path) = split_path(word);
        line.push_str(before);
        line.push_str(path);
        if let Some((end, _)) = line.char_indices().nth(LONGEST) {
            line.truncate(end);
            line.push('…');
            break;
        }
    }
    match harmless::line(&line) {
        Cow::Borrowed(_) => line,
        Cow::Owned(harmless) => harmless,
    }
}

/// Splits `word` into the part before an absolute path, and the last part of that path. A word without a path is
/// returned whole.
fn split_path(word: &str) -> (&str, &str) {
    let quote = |c: char| matches!(c, '`' | '"' | '\'' | '(' | '[' | '<' | '=');
    let bare = word.trim_start_matches(quote);
    let before = &word[..word.len() - bare.len()];
    match bare.strip_prefix('/').and_then(|path| path.rsplit('/').next()) {
        Some(last) if last.contains(char::is_alphanumeric) => (before, last),
        _ => (word, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_printed_without_a_backtrace_whatever_the_environment_says() {
        let error = wasmtime::Error::from(std::io::Error::from_raw_os_error(9)).context("cannot write");

        let words = of_error(&error);

        assert_eq!(words, "cannot write: Bad file descriptor (os error 9)");
    }

    #[test]
    fn directories_of_the_host_are_left_out_and_names_of_components_are_kept() {
        for (text, told) in [
            ("cannot open `/srv/sexton/var/code/ab12.cwasm`: gone", "cannot open `ab12.cwasm`: gone"),
            ("panicked at /root/.cargo/registry/src/x-1.0/src/lower.rs:93:5: oh", "panicked at lower.rs:93:5: oh"),
            ("unknown import `wasi:io/poll@0.2.12`", "unknown import `wasi:io/poll@0.2.12`"),
            ("see https://example.org/a/b", "see https://example.org/a/b"),
            ("4 / 2", "4 / 2"),
        ] {
            assert_eq!(line(text), told);
        }
    }

    #[test]
    fn a_components_name_cannot_control_a_terminal() {
        let told = line("`\u{1b}[2J\u{0}\u{202e}` is not a valid name\u{2028}\u{85}of an import");

        assert_eq!(told, "`\\u001b[2J\\u0000\\u202e` is not a valid name of an import");
    }

    #[test]
    fn a_message_with_a_name_of_a_megabyte_is_a_short_line() {
        let name = "x".repeat(1 << 20);

        let long = line(&format!("unknown\n  import `{name}`"));

        assert!(long.starts_with("unknown import `xxx"), "{long}");
        assert_eq!(long.chars().count(), LONGEST + 1);
        assert_eq!(line(" a\n b "), "a b");
    }
}
