//! Reference pages that are generated from the code, and the check that those in `docs/reference/` are current.

use std::fs;
use std::path::Path;

/// The most characters of a line, as everywhere in the documents.
const WIDTH: usize = 120;

/// If this variable is in the environment, pages are written before they are compared.
pub(crate) const WRITE: &str = "SEXTON_WRITE_REFERENCE";

/// Fails unless `docs/reference/` has `generated` as its page `name`.
pub(crate) fn assert_current(name: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, generated).unwrap();
    }

    let published = fs::read_to_string(&path).unwrap_or_default();

    assert!(published == generated, "docs/reference/{name} is out of date; run this test with {WRITE}=1");
}

/// An item of a list, wrapped.
pub(crate) fn item(text: &str) -> String {
    wrapped(text, "- ", "  ")
}

/// A paragraph, wrapped.
pub(crate) fn paragraph(text: &str) -> String {
    format!("\n{}", wrapped(text, "", ""))
}

/// The words of `text` in lines of which the first begins with `first` and the others with `next`.
fn wrapped(text: &str, first: &str, next: &str) -> String {
    let mut lines = vec![first.to_owned()];
    let mut is_empty = true;
    for word in words(text) {
        let line = lines.last_mut().expect("there is one");
        let fits = line.chars().count() + 1 + word.chars().count() <= WIDTH;
        match (is_empty, fits) {
            (true, _) => line.push_str(&word),
            (false, true) => line.push_str(&format!(" {word}")),
            (false, false) => lines.push(format!("{next}{word}")),
        }
        is_empty = false;
    }
    lines.join("\n") + "\n"
}

/// Returns the words of a text. Text in backticks is not split, so that its spaces stay as they are.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut in_code = false;
    for sign in text.trim().chars() {
        in_code ^= sign == '`';
        match sign.is_whitespace() && !in_code {
            true if word.is_empty() => {}
            true => words.push(std::mem::take(&mut word)),
            false => word.push(if sign == '\n' { ' ' } else { sign }),
        }
    }
    words.push(word);
    words
}

#[test]
fn words_are_put_into_lines_and_code_stays_in_one_piece() {
    let text = format!("{} `a  b` c", "x".repeat(WIDTH - 4));

    assert_eq!(item(&text), format!("- {}\n  `a  b` c\n", "x".repeat(WIDTH - 4)));
    assert_eq!(paragraph("a\n b `c\nd`"), "\na b `c d`\n");
}
