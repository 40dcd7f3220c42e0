//! Checks the documents: every relative link and anchor leads somewhere, every page is part of the book, every file that a text
//! names exists, and prose is wrapped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::files;
use crate::markdown::{self, Page};

/// The book's table of contents.
const CONTENTS: &str = "docs/SUMMARY.md";

/// The document whose every path must exist.
const MAP: &str = "ARCHITECTURE.md";

/// The directories that the paths of [`MAP`] may be relative to: those of the host's crates.
const CRATES: &[&str] = &["host/src", "host/domain/src", "host/runtime/src", "host/store/src", "host/system/src"];

/// The most characters of a line of prose, as `rustfmt.toml` has them for code.
const WIDTH: usize = 120;

/// Documents whose lines are longer: figures that are measured again, and a list of changes that many people add to.
const UNWRAPPED: &[&str] = &["CHANGELOG.md"];

/// The checks themselves, whose tests mention documents that do not exist.
const PLANTED: &str = "tests/guards/";

/// The files that may mention a document by its path.
const SOURCES: &[&str] = &["rs", "sql", "toml", "sh", "wit", "Makefile"];

/// Returns one line for each fault of the documents below `repository`, and the number of links that were followed.
///
/// # Errors
///
/// A file cannot be read.
pub fn check(repository: &Path) -> Result<(Vec<String>, usize)> {
    let files = files::below(repository)?;
    let is_page = |name: &&String| name.ends_with(".md");
    let mut pages = BTreeMap::new();
    for name in files.iter().filter(is_page) {
        pages.insert(name.clone(), markdown::read(&text(repository, name)?));
    }
    let mut faults = Vec::new();
    let mut followed = 0;
    for (name, page) in &pages {
        followed += links(repository, name, page, &pages, &mut faults);
        widths(name, page, &mut faults);
    }
    contents(&pages, &mut faults);
    map(repository, &pages, &mut faults);
    let is_source = |name: &&String| SOURCES.iter().any(|kind| name.ends_with(kind)) && !name.starts_with(PLANTED);
    for name in files.iter().filter(is_source) {
        mentions(repository, name, &text(repository, name)?, &files, &mut faults);
    }
    Ok((faults, followed))
}

fn text(repository: &Path, name: &str) -> Result<String> {
    fs::read_to_string(repository.join(name)).with_context(|| format!("cannot read `{name}`"))
}

/// Follows the relative links of a page. Returns how many there are.
fn links(
    repository: &Path,
    name: &str,
    page: &Page,
    pages: &BTreeMap<String, Page>,
    faults: &mut Vec<String>,
) -> usize {
    let relative = page.links.iter().filter(|link| !link.target.contains("://") && !link.target.starts_with("mailto:"));
    let mut followed = 0;
    for link in relative {
        followed += 1;
        let (path, anchor) = link.target.split_once('#').unwrap_or((&link.target, ""));
        let target = if path.is_empty() { Some(name.to_owned()) } else { beside(name, path) };
        let Some(target) = target.filter(|target| repository.join(target).exists()) else {
            faults.push(format!("{name}:{}: the link `{}` leads nowhere", link.line, link.target));
            continue;
        };
        let has_anchor = |page: &Page| page.anchors.contains(anchor);
        if !anchor.is_empty() && !pages.get(&target).is_some_and(has_anchor) {
            faults.push(format!("{name}:{}: {target} has no heading `#{anchor}`", link.line));
        }
    }
    followed
}

/// The path of a link in the file `name`, relative to the repository; `None` if it leads out of that.
#[must_use]
pub fn beside(name: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn widths(name: &str, page: &Page, faults: &mut Vec<String>) {
    if UNWRAPPED.contains(&name) {
        return;
    }
    for line in page.prose.iter().filter(|line| line.width > WIDTH) {
        faults.push(format!("{name}:{}: this line has {} characters, the most is {WIDTH}", line.number, line.width));
    }
}

/// Every page below `docs/` is in the table of contents: the book has no other pages, so links to them would be broken there.
fn contents(pages: &BTreeMap<String, Page>, faults: &mut Vec<String>) {
    let Some(contents) = pages.get(CONTENTS) else { return };
    let listed: BTreeSet<String> = contents.links.iter().filter_map(|link| beside(CONTENTS, &link.target)).collect();
    for name in pages.keys().filter(|name| name.starts_with("docs/") && *name != CONTENTS && !listed.contains(*name)) {
        faults.push(format!("{name} is not in {CONTENTS}"));
    }
}

/// Every path that the map of the code names exists.
fn map(repository: &Path, pages: &BTreeMap<String, Page>, faults: &mut Vec<String>) {
    let Some(page) = pages.get(MAP) else { return };
    let is_path = |code: &str| {
        let plain = code.chars().all(|sign| sign.is_ascii_alphanumeric() || "/._-".contains(sign));
        plain && (code.contains('/') || [".rs", ".md", ".wit", ".sql"].iter().any(|end| code.ends_with(end)))
    };
    for code in page.code.iter().filter(|code| is_path(&code.target)) {
        let places = ["."].iter().chain(CRATES);
        if !places.into_iter().any(|place| repository.join(place).join(&code.target).exists()) {
            faults.push(format!("{MAP}:{}: there is no file `{}`", code.line, code.target));
        }
    }
}

/// Every document that a source mentions exists. A design record may be mentioned by its number.
fn mentions(repository: &Path, name: &str, text: &str, files: &BTreeSet<String>, faults: &mut Vec<String>) {
    for (at, line) in text.lines().enumerate() {
        let words = line.split(|sign: char| !sign.is_ascii_alphanumeric() && !"/._-".contains(sign));
        for word in words.filter(|word| word.starts_with("docs/")) {
            let word = word.trim_end_matches(['.', '-', '/']);
            let is_there =
                repository.join(word).exists() || files.iter().any(|file| file.starts_with(&format!("{word}-")));
            if !is_there {
                faults.push(format!("{name}:{}: there is no document `{word}`", at + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{beside, check};

    /// Checks a repository with these files, besides a page that links to nothing.
    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let place = tempfile::tempdir().expect("a directory");
        let usual = [("docs/SUMMARY.md", "[A](a.md)\n"), ("docs/a.md", "# A heading\n"), ("host/src/a.rs", "")];
        for (name, text) in usual.iter().chain(files) {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().expect("it lies in a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        check(place.path()).expect("the files are read").0
    }

    #[test]
    fn documents_whose_links_lead_somewhere_have_no_faults() {
        let text = "[a](docs/a.md#a-heading), [b](#here), [c](docs), [d](https://example.org/nowhere#x)\n\n# Here\n";

        assert_eq!(faults(&[("README.md", text)]), Vec::<String>::new());
    }

    #[test]
    fn a_link_to_a_missing_file_and_one_to_a_missing_heading_are_found() {
        let found = faults(&[("README.md", "text\n[a](docs/b.md)\n[b](docs/a.md#b)\n[c](../../x.md)\n")]);

        assert_eq!(
            found,
            [
                "README.md:2: the link `docs/b.md` leads nowhere",
                "README.md:3: docs/a.md has no heading `#b`",
                "README.md:4: the link `../../x.md` leads nowhere",
            ]
        );
    }

    #[test]
    fn a_page_that_the_book_does_not_list_is_found() {
        assert_eq!(faults(&[("docs/guides/b.md", "")]), ["docs/guides/b.md is not in docs/SUMMARY.md"]);
    }

    #[test]
    fn a_file_that_the_architecture_names_and_that_is_gone_is_found() {
        let found =
            faults(&[("ARCHITECTURE.md", "`a.rs`, `host/src/a.rs`, `wasi:io/poll`, `b.rs` and\n`store/claims`\n")]);

        assert_eq!(
            found,
            ["ARCHITECTURE.md:1: there is no file `b.rs`", "ARCHITECTURE.md:2: there is no file `store/claims`"]
        );
    }

    #[test]
    fn a_document_that_a_source_names_and_that_is_gone_is_found() {
        let source = "//! See `docs/a.md`.\n// docs/design/0007 has why, docs/b.md not.\n// other/docs/c.md\n";
        let record = ("docs/design/0007-lanes.md", "");
        let contents = ("docs/SUMMARY.md", "[A](a.md) [B](design/0007-lanes.md)");

        let found = faults(&[("host/src/b.rs", source), record, contents]);

        assert_eq!(found, ["host/src/b.rs:2: there is no document `docs/b.md`"]);
    }

    #[test]
    fn prose_that_is_not_wrapped_is_found() {
        let wide = format!("{} a\n\n| {} |\n|---|\n", "x".repeat(119), "y ".repeat(90));

        assert_eq!(faults(&[("docs/a.md", &wide)]), ["docs/a.md:1: this line has 121 characters, the most is 120"]);
    }

    #[test]
    fn links_are_relative_to_their_file() {
        assert_eq!(beside("docs/guides/a.md", "../b.md"), Some("docs/b.md".into()));
        assert_eq!(beside("a.md", "./b/"), Some("b".into()));
        assert_eq!(beside("a.md", "../b"), None);
    }
}
