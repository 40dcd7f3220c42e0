//! How the TOML files that people write for the host are read: one line about the first thing that is wrong, with where
//! it is and what may stand there.
//!
//! Manifests and the host's own configuration share it. What the values mean is theirs.

use std::ops::Range;

use serde::de::DeserializeOwned;

/// What is wrong with a file, in one line: `NAME.toml:LINE: what is wrong; what to do`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct BadFile {
    file: String,
    line: usize,
    what: String,
}

impl BadFile {
    /// Something wrong at the bytes `at` of `text`.
    pub(crate) fn new(file: &str, text: &str, at: Option<Range<usize>>, what: &str) -> Self {
        let before = at.and_then(|at| text.get(..at.start)).unwrap_or_default();
        // Control characters are possible wherever the file is quoted; the message stays one line that a terminal takes.
        let what = what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { file: file.to_owned(), line: before.matches('\n').count() + 1, what }
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// Read a file's `text` as a `T`. Keys that `T` does not know are errors if it says `deny_unknown_fields`.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, BadFile> {
    let document = toml::Deserializer::parse(text)
        .map_err(|e| BadFile::new(file, text, e.span(), &format!("this is not TOML: {}", e.message())))?;
    T::deserialize(document).map_err(|e| BadFile::new(file, text, e.span(), &explain(&e)))
}

/// serde's words turned into ours.
fn explain(error: &toml::de::Error) -> String {
    let path = path(error);
    let message = error.message();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let mut names = rest.split('`').skip(1).step_by(2);
        let key = names.next().unwrap_or_default();
        let known: Vec<&str> = names.collect();
        let place = if path.is_empty() { "at the top".into() } else { format!("in [{path}]") };
        let meant = nearest(key, &known).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
        return format!("unknown key `{key}` {place}; {meant}known keys: {}", known.join(", "));
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

/// What serde found, as it stands in the file: without the type before it.
fn plain_found(found: &str) -> &str {
    match found {
        "sequence" => "a list",
        "map" => "a table",
        _ => found.split_once(' ').map_or(found, |(_, value)| value).trim_matches('`'),
    }
}

/// What serde expected, in the words of TOML.
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

/// The key that an error is about, dotted; empty if it is the file itself.
fn path(error: &toml::de::Error) -> String {
    // The only place where the error tells it is the last line of how it is shown without its input.
    let mut error = error.clone();
    error.set_input(None);
    let shown = error.to_string();
    let last = shown.trim_end().rsplit_once("\nin `").map(|(_, path)| path.trim_end_matches('`'));
    last.unwrap_or_default().to_owned()
}

/// The one of `known` that was probably meant.
pub(crate) fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    // Below this, Jaro-Winkler finds words alike that nobody would mistake for one another.
    const ALIKE: f64 = 0.8;
    let text = text.to_lowercase();
    let near = |name: &&'a str| (strsim::jaro_winkler(&text, &name.to_lowercase()), *name);
    let best = known.iter().map(near).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}
