//! Each pattern is shown to match a sentence that is planted, and the ratchet to fail at one sentence too many.

use std::fs;

use regex_lite::Regex;

use super::{Area, PATTERNS, Prose, check};
use crate::house::AREAS;

/// A sentence for each of [`PATTERNS`], in their order.
const PLANTED: &[&str] = &[
    "Nobody waits for the lock.",
    "The transaction waits until he has committed.",
    "Who claims a run holds its lease.",
    "What is over lies in a partition.",
    "The answer for who turned it.",
    "The log has what it came to.",
    "Returns what there is.",
    "The run is to be ended.",
    "Meanwhile the lease ends.",
    "At once, as far as one knows.",
    "Of a simulation that turns the clock itself.",
    "Which.",
    "Of tests too.",
];

/// Sentences that say the same in plain words.
const PLAIN: &str = "/// Claims up to `limit` due runs and returns when the next one is due.\n\
    /// The row lock of a task enforces its limit, and `SKIP LOCKED` keeps claims from blocking each other.\n\
    /// The host that claims a run holds its lease, whatever the outcome is.\n\
    //\n\
    // What happens to a run whose host dies? Another host claims it.\n\
    fn f() {}\n";

const ALL: &[Area] = &[Area { path: "", most: 0 }];

/// Checks a repository with these files.
fn prose(files: &[(&str, &str)], areas: &[Area]) -> Prose {
    let place = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().expect("it lies in a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    check(place.path(), areas, PATTERNS).expect("it is text")
}

#[test]
fn each_pattern_matches_its_planted_sentence() {
    assert_eq!(PLANTED.len(), PATTERNS.len());
    for (pattern, planted) in PATTERNS.iter().zip(PLANTED) {
        let expression = Regex::new(pattern.expression).expect("a regular expression");
        assert!(expression.is_match(planted), "`{}` does not match `{planted}`", pattern.expression);
        let found = prose(&[("host/src/a.rs", &format!("/// {planted}\nfn f() {{}}\n"))], ALL);
        let expected = format!(": {}", pattern.instead);
        let fault = found.faults.iter().find(|fault| fault.ends_with(&expected));
        assert!(fault.is_some_and(|fault| fault.starts_with("host/src/a.rs:1: ")), "{planted}: {found:?}");
    }
}

#[test]
fn plain_sentences_and_code_are_no_faults() {
    let page = "# What a task is\n\nA task is a unit.\n\n```sh\nwhoever # nobody\n```\n";
    let code = "fn nobody() { let who = \"somebody\"; }\n";
    let found = prose(&[("a.rs", PLAIN), ("docs/a.md", page), ("b.rs", code), ("notes.txt", "nobody")], ALL);
    assert_eq!(found.faults, Vec::<String>::new());
}

#[test]
fn a_sentence_over_two_lines_is_reported_at_its_own_line() {
    let found = prose(&[("a.rs", "// The lock is held\n// until the run\n// is to\n// be ended.\n")], ALL);
    assert_eq!(found.places, ["a.rs:3: `is to be`: say `must`, `will` or `should`"]);
}

#[test]
fn pages_interfaces_sql_and_names_of_tests_are_read() {
    let files = [
        ("README.md", "Text.\n\n- Somebody waits.\n"),
        ("wit/a.wit", "/// Somebody waits.\ninterface a {}\n"),
        ("a.sql", "-- Somebody waits.\nSELECT 1;\n"),
        ("a.rs", "#[test]\n#[ignore]\nfn who_waits_is_told() {}\n"),
    ];
    let found = prose(&files, ALL);
    let places: Vec<&str> = found.places.iter().filter_map(|place| place.split(": ").next()).collect();
    assert_eq!(places, ["README.md:3", "a.rs:3", "a.sql:1", "wit/a.wit:1"], "{found:?}");
}

#[test]
fn an_area_fails_only_above_its_count_and_the_deepest_area_owns_a_file() {
    let files =
        [("host/src/a.rs", "// Nobody.\n"), ("host/src/a/b.rs", "// Nobody.\n"), ("host/src/ab.rs", "// Nobody.\n")];
    let areas = |most| [Area { path: "host", most: 1 }, Area { path: "host/src/a", most }];
    assert_eq!(prose(&files, &areas(2)).faults, Vec::<String>::new());
    let faults = prose(&files, &areas(1)).faults;
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert_eq!(faults[2], "`host/src/a` has 2 places that are hard to read, the most is 1");
}

#[test]
fn every_file_has_an_area_and_no_area_is_named_twice() {
    assert!(AREAS.iter().any(|area| area.path.is_empty()));
    for (number, area) in AREAS.iter().enumerate() {
        assert!(AREAS[..number].iter().all(|other| other.path != area.path), "{}", area.path);
    }
}
