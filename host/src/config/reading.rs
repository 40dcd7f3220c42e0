//! Reads the TOML files that people write for the host. Each error is one line with its position and the allowed
//! values. A host needs the first error, `sexton check` all of them.
//!
//! Manifests and the host's own configuration share this module. The meaning of the values is theirs.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

use sexton_domain::schedule::instant_parser::{excerpt, on_one_line};

/// The most characters of an error. All keys of a task take some four hundred.
const LONGEST: usize = 1000;

/// An error in a file, in one line: `NAME.toml:LINE: the fault; the remedy`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct BadFile {
    file: String,
    line: usize,
    what: String,
}

impl BadFile {
    /// Creates an error at the bytes `at` of `text`.
    pub(crate) fn new(file: &str, text: &str, at: Option<Range<usize>>, what: &str) -> Self {
        let before = at.and_then(|at| text.get(..at.start)).unwrap_or_default();
        // The quoted part of a file may contain anything. The message stays one line of bounded length that is safe for
        // a terminal.
        let mut what: String = what.chars().map(on_one_line).collect();
        if let Some((end, _)) = what.char_indices().nth(LONGEST) {
            what.truncate(end);
            what.push('…');
        }
        Self { file: file.to_owned(), line: before.matches('\n').count() + 1, what }
    }

    /// Returns the line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// Reads a file's `text` as a `T`. Keys that `T` does not know are errors if it has `deny_unknown_fields`.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, BadFile> {
    let document = toml::Deserializer::parse(text)
        .map_err(|e| BadFile::new(file, text, e.span(), &format!("this is not TOML: {}", e.message())))?;
    T::deserialize(document).map_err(|e| BadFile::new(file, text, e.span(), &explain(&e)))
}

/// The most errors that are reported for one file. An author with more fixes some and checks again.
const MOST_ERRORS: usize = 20;

/// A file without those of its entries that are wrong.
pub(crate) struct Readable<T> {
    /// The value; `None` if nothing can be read.
    pub(crate) value: Option<T>,
    /// The errors, at most [`MOST_ERRORS`].
    pub(crate) errors: Vec<BadFile>,
    /// The keys, from the outermost, of the entries that were left out because they are wrong.
    pub(crate) left_out: Vec<Vec<String>>,
}

/// Reads a file's `text` as a `T`, and leaves out each wrong entry in turn to find further errors.
pub(crate) fn read_all<T: DeserializeOwned>(file: &str, text: &str) -> Readable<T> {
    let (mut table, broken) = DeTable::parse_recoverable(text);
    let not_toml =
        |e: &toml::de::Error| BadFile::new(file, text, e.span(), &format!("this is not TOML: {}", e.message()));
    let mut errors: Vec<BadFile> = broken.iter().take(MOST_ERRORS).map(not_toml).collect();
    let mut left_out = Vec::new();
    // After a syntax error, later errors would depend on where the parser continued.
    while errors.is_empty() || !left_out.is_empty() {
        let error = match T::deserialize(toml::Deserializer::from(table.clone())) {
            Ok(value) => return Readable { value: Some(value), errors, left_out },
            Err(error) => error,
        };
        errors.push(BadFile::new(file, text, error.span(), &explain(&error)));
        let found = error.span().and_then(|at| remove_innermost(table.get_mut(), at.start));
        match found {
            Some(path) if errors.len() < MOST_ERRORS => left_out.push(path),
            _ => break,
        }
    }
    Readable { value: None, errors, left_out }
}

/// Removes from `table` the innermost entry whose key or value contains the byte `at`. Returns its keys, from the
/// outermost.
fn remove_innermost(table: &mut DeTable<'_>, at: usize) -> Option<Vec<String>> {
    let mut found = None;
    search(table, at, &mut Vec::new(), &mut found);
    let path = found?;
    let (key, tables) = path.split_last()?;
    let mut inner = table;
    for name in tables {
        let DeValue::Table(next) = inner.get_mut(name.as_str())?.get_mut() else { return None };
        inner = next;
    }
    inner.remove(key.as_str())?;
    Some(path)
}

/// Finds the entry that contains `at`. The span of a table with a header is only that header, so the search visits all
/// tables, and the last match is the deepest.
fn search(table: &DeTable<'_>, at: usize, path: &mut Vec<String>, found: &mut Option<Vec<String>>) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        if key.span().contains(&at) || value.span().contains(&at) {
            *found = Some(path.clone());
        }
        if let DeValue::Table(table) = value.get_ref() {
            search(table, at, path, found);
        }
        path.pop();
    }
}

/// Rewrites serde's error in the project's words.
fn explain(error: &toml::de::Error) -> String {
    let path = path(error);
    let message = error.message();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let mut names = rest.split('`').skip(1).step_by(2);
        let key = names.next().unwrap_or_default();
        let known: Vec<&str> = names.collect();
        let place = if path.is_empty() { "at the top".into() } else { format!("in [{path}]") };
        let meant = suggestion(key, &known, &path);
        return format!("unknown key `{}` {place}; {meant}known keys: {}", excerpt(key), known.join(", "));
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        return format!("{rest} is missing in [{path}]; add it");
    }
    let message = match message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected ")) {
        Some((found, expected)) => {
            format!("{} is not allowed here; write {}", plain_found(found), plain_expected(expected))
        }
        None => message.to_owned(),
    };
    if path.is_empty() { message } else { format!("`{path}`: {message}") }
}

/// Keys of other programs, and their names here.
const CALLED: &[(&str, &str)] = &[
    ("timezone", "zone"),
    ("time-zone", "zone"),
    ("tz", "zone"),
    ("schedule", "cron"),
    ("interval", "every"),
    ("timeout", "deadline"),
    ("data", "input"),
    ("retries", "retry"),
    ("mode", "write"),
    ("path", "host"),
];

/// Keys of a task's tables, for authors who write them into the task itself. A test compares them with the schema.
pub(crate) const WITHIN: &[(&str, &[&str])] = &[
    (
        "limits",
        &[
            "deadline",
            "grace",
            "idle",
            "ladder",
            "fuel",
            "memory",
            "table-elements",
            "host-calls",
            "host-call-bytes",
            "handles",
            "files",
            "output",
            "log",
            "stdio",
        ],
    ),
    ("retry", &["attempts", "factor", "max-delay"]),
    ("budget", &["fuel-per-minute"]),
    ("grants", &["locks", "cache", "http", "directories"]),
];

/// Guesses which key was meant by the unknown `key` in the table at `path`, which has the keys `known`.
fn suggestion(key: &str, known: &[&str], path: &str) -> String {
    let called = CALLED.iter().find(|(other, _)| *other == key).map_or(key, |(_, here)| here);
    let within = WITHIN.iter().find(|(table, keys)| keys.contains(&called) && known.contains(table));
    match within {
        Some((table, _)) => format!("`{called}` belongs in [{path}.{table}]; "),
        None if known.contains(&called) => format!("did you mean `{called}`? "),
        None => nearest(key, known).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default(),
    }
}

/// Returns the value that serde found, as it stands in the file: without the type before it.
fn plain_found(found: &str) -> &str {
    match found {
        "sequence" => "a list",
        "map" => "a table",
        _ => found.split_once(' ').map_or(found, |(_, value)| value).trim_matches('`'),
    }
}

/// Returns the type that serde expected, in the words of TOML.
fn plain_expected(expected: &str) -> &str {
    match expected {
        "a string" => "a text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in brackets",
        "a map" => "a table",
        _ if expected.starts_with("struct ") => "a table",
        _ => expected,
    }
}

/// Returns the dotted key that an error is about; empty for the file itself.
fn path(error: &toml::de::Error) -> String {
    // The key is only in the last line of the error as it prints without its input.
    let mut error = error.clone();
    error.set_input(None);
    let shown = error.to_string();
    let last = shown.trim_end().rsplit_once("\nin `").map(|(_, path)| path.trim_end_matches('`'));
    last.unwrap_or_default().to_owned()
}

/// Returns the entry of `known` that was probably meant.
pub(crate) fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    // Below this value Jaro-Winkler finds words alike that differ clearly.
    const ALIKE: f64 = 0.8;
    // No key has half as many letters, and the cost of a comparison grows with the text.
    const LONGEST: usize = 64;
    if text.len() > LONGEST {
        return None;
    }
    let text = text.to_lowercase();
    let near = |name: &&'a str| (strsim::jaro_winkler(&text, &name.to_lowercase()), *name);
    let best = known.iter().map(near).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}
