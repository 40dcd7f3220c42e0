//! Checks the words of comments, pages and names of tests, and holds each area of the repository to a count that may only
//! fall.
//!
//! The patterns find the worst of what made sentences hard to read: subjects that name nothing, transactions with a pronoun
//! of a person, and doc comments of one word.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use regex_lite::Regex;

use crate::files;
use crate::text::{self, Paragraph};

/// A part of the repository, and how many of its sentences may still match a pattern.
#[derive(Debug, Clone, Copy)]
pub struct Area {
    /// Path below the repository, without an ending: `host/src/store` holds `host/src/store.rs` too. The longest path that
    /// fits a file is that file's area, and `""` holds what no other area does.
    pub path: &'static str,
    /// This number only goes down.
    pub most: usize,
}

/// A way of writing that is refused, and what to write instead.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    pub expression: &'static str,
    pub instead: &'static str,
    /// Whether it is for doc comments of Rust only.
    pub only_docs: bool,
}

/// The sentences that match, by area.
#[derive(Debug, Default)]
pub struct Prose {
    /// One line for each area that has more than it may, and for each place in it.
    pub faults: Vec<String>,
    /// One line for each place in any area.
    pub places: Vec<String>,
    /// The number of places in each area.
    pub counts: BTreeMap<&'static str, usize>,
}

/// Creates a pattern that applies to comments, pages and names of tests.
const fn anywhere(expression: &'static str, instead: &'static str) -> Pattern {
    Pattern { expression, instead, only_docs: false }
}

/// The patterns. A sentence is counted once for each that it matches.
pub const PATTERNS: &[Pattern] = &[
    anywhere(r"(?i)\b(nobody|no one|somebody|someone|whoever|whomever)\b", "name the host, run, guest or user"),
    anywhere(r"(?i)\b(he|him|his|himself)\b", "a host, transaction or guest is `it`; better, repeat its name"),
    anywhere(
        r"(?:^|[.:;!] )(?:Who|Whom|Whose|Which)\b[^.?!]*(?:[.:;!]|$)",
        "begin with the thing: `The host that ...`, not `Who ...`",
    ),
    anywhere(
        r"(?:^|[.:;!] |: |; )(?:[Ww]hat|Where)\b[^.?!]*(?:[.:;!]|$)",
        "begin with a noun or a verb: `Returns ...`, `The runs that ...`, not `What ...`",
    ),
    anywhere(
        r"(?i)\b(?:for|of|by|to|from|with|than|but|as|that|if|only|tells|asks) who(?:m|se)?\b",
        "name the thing: `for the caller that ...`, not `for who ...`",
    ),
    anywhere(
        r"(?i)\b(?:it|this|that|what) (?:comes|came|come) to\b|\bcomes? to nothing\b",
        "say the result or the sum",
    ),
    anywhere(
        r"(?i)\bwhat(?:ever)? (?:there )?(?:is|was|are) there\b|\b(?:what|all) there (?:is|was)\b",
        "name what exists",
    ),
    anywhere(
        r"(?i)\b(?:is|are|was|were|am) to (?:be|have|go|end|run|start|come|do|make)\b",
        "say `must`, `will` or `should`",
    ),
    anywhere(r"(?i)\bmeanwhile\b", "say `while ...`, and what happens in that time"),
    anywhere(r"(?i)\bone (?:knows|sees|wants|asks)\b", "name the caller, operator or author"),
    anywhere(r"(?i)\bturns the clock\b|\bit is told\b|\bgoes by\b|\bhave been asked\b", "say it in the field's words"),
    Pattern {
        expression: r"^(?:\w+|How \w+|Why not|What for)[.?]$",
        instead: "delete it, or say what the name and the type do not",
        only_docs: true,
    },
    Pattern {
        expression: r"^(?:Of|By|To|Those|That|So|Than|From|With|How|Why)\b",
        instead: "begin a doc comment with a verb in the third person or with a noun",
        only_docs: true,
    },
];

/// Checks every comment, page and name of a test below `repository`.
///
/// # Errors
///
/// A file cannot be read, or a pattern is no regular expression.
pub fn check(repository: &Path, areas: &[Area], patterns: &[Pattern]) -> Result<Prose> {
    let patterns = patterns
        .iter()
        .map(|pattern| Ok((Regex::new(pattern.expression)?, pattern)))
        .collect::<Result<Vec<_>>>()
        .context("a pattern is no regular expression")?;
    let mut by_area: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut prose = Prose::default();
    for file in files::below(repository)?.iter().filter(|file| text::has_words(file)) {
        let text = fs::read_to_string(repository.join(file)).with_context(|| format!("cannot read `{file}`"))?;
        let Some(area) = area_of(areas, file) else { continue };
        for paragraph in text::paragraphs(file, &text) {
            for (line, found, instead) in matches(&paragraph, &patterns) {
                by_area.entry(area.path).or_default().push(format!("{file}:{line}: `{found}`: {instead}"));
            }
        }
    }
    for area in areas {
        let places = by_area.remove(area.path).unwrap_or_default();
        prose.counts.insert(area.path, places.len());
        if places.len() > area.most {
            prose.faults.extend(places.iter().cloned());
            prose.faults.push(format!(
                "`{}` has {} places that are hard to read, the most is {}",
                area.path,
                places.len(),
                area.most
            ));
        }
        prose.places.extend(places);
    }
    Ok(prose)
}

/// Returns the line, the words and the advice for each match in `paragraph`.
fn matches<'p>(paragraph: &Paragraph, patterns: &[(Regex, &'p Pattern)]) -> Vec<(usize, String, &'p str)> {
    let mut found = Vec::new();
    for (expression, pattern) in patterns {
        if pattern.only_docs && !paragraph.is_doc {
            continue;
        }
        for hit in expression.find_iter(&paragraph.text) {
            let words: String = hit.as_str().trim_matches([' ', '.', ':', ';', '!']).chars().take(60).collect();
            let begin =
                hit.start() + (hit.as_str().len() - hit.as_str().trim_start_matches([' ', '.', ':', ';', '!']).len());
            found.push((paragraph.line_at(begin), words, pattern.instead));
        }
    }
    found
}

/// Returns the area with the longest path that `file` lies in.
fn area_of(areas: &[Area], file: &str) -> Option<Area> {
    let within = |path: &str| {
        path.is_empty() || file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
    };
    areas.iter().copied().filter(|area| within(area.path)).max_by_key(|area| area.path.len())
}

#[cfg(test)]
mod tests;
