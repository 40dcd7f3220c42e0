//! A preprocessor of mdBook: brings documents that lie outside of `docs/` into the book, and turns links to other files of the
//! repository, which the book does not have, into plain text.
//!
//! A chapter that is one link to a Markdown file outside of `docs/` becomes that file.
#![expect(clippy::print_stdout, reason = "mdBook reads the book from there")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use guards::documents::beside;
use guards::markdown::replace_links;
use serde_json::Value;

/// The directory with the book's chapters.
const DOCS: &str = "docs/";

fn main() -> Result<()> {
    // mdBook asks whether a renderer is supported before it sends the book; exit code 0 means yes.
    if std::env::args().nth(1).as_deref() == Some("supports") {
        return Ok(());
    }
    let mut sent = String::new();
    std::io::stdin().read_to_string(&mut sent)?;
    let [_, mut book]: [Value; 2] = serde_json::from_str(&sent).context("this is not what mdBook sends")?;
    let mut adopted = BTreeMap::new();
    each_chapter(&mut book, &mut |path, content| {
        if let Some(file) = adopts(path, content) {
            adopted.insert(file, path.to_owned());
        }
    });
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut failed = None;
    each_chapter(&mut book, &mut |path, content| {
        let file = adopts(path, content);
        if let Some(file) = &file {
            match fs::read_to_string(root.join(file)) {
                Ok(text) => *content = text,
                Err(error) => failed = Some(anyhow::Error::new(error).context(format!("cannot read `{file}`"))),
            }
        }
        let base = file.unwrap_or_else(|| path.to_owned());
        *content = replace_links(content, |target| within_book(target, &base, path, &adopted));
    });
    match failed {
        Some(error) => Err(error),
        None => {
            println!("{book}");
            Ok(())
        }
    }
}

/// The file that stands in the place of a chapter, relative to the repository.
fn adopts(path: &str, content: &str) -> Option<String> {
    let (_, target) = content.trim().strip_prefix('[')?.strip_suffix(')')?.split_once("](")?;
    beside(path, target).filter(|file| file.ends_with(".md") && !file.starts_with(DOCS))
}

/// Returns what a link of the file `base`, shown in the chapter `path`, is in the book.
fn within_book(target: &str, base: &str, path: &str, adopted: &BTreeMap<String, String>) -> Option<String> {
    if target.contains("://") || target.starts_with('#') {
        return Some(target.to_owned());
    }
    let (file, anchor) = target.split_once('#').map_or((target, String::new()), |(f, a)| (f, format!("#{a}")));
    let file = beside(base, file)?;
    let file = adopted.get(&file).cloned().unwrap_or(file);
    let below = file.strip_prefix(DOCS).filter(|_| file.contains('.'))?;
    // mdBook makes an index of it.
    let below = below.strip_suffix("README.md").map_or_else(|| below.to_owned(), |place| format!("{place}index.md"));
    let up = "../".repeat(path.matches('/').count().saturating_sub(1));
    Some(format!("{up}{below}{anchor}"))
}

/// Calls `with` for the path (relative to the repository) and the content of each chapter.
fn each_chapter(value: &mut Value, with: &mut dyn FnMut(&str, &mut String)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each_chapter(item, with)),
        Value::Object(fields) => {
            if let Some(path) = fields.get("path").and_then(Value::as_str).map(|path| format!("{DOCS}{path}"))
                && let Some(Value::String(content)) = fields.get_mut("content")
            {
                with(&path, content);
            }
            fields.values_mut().for_each(|field| each_chapter(field, with));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chapter_that_is_one_link_out_of_the_book_becomes_that_file() {
        let adopted = adopts("docs/internals/security.md", "[Security](../../SECURITY.md)\n");

        assert_eq!(adopted, Some("SECURITY.md".into()));
        assert_eq!(adopts("docs/a.md", "[B](b.md)"), None);
        assert_eq!(adopts("docs/a.md", "See [B](../B.md)."), None);
    }

    #[test]
    fn links_lead_to_chapters_and_links_out_of_the_book_become_text() {
        let adopted = BTreeMap::from([("SECURITY.md".to_owned(), "docs/internals/security.md".to_owned())]);
        let of_page = |target: &str| within_book(target, "docs/guides/a.md", "docs/guides/a.md", &adopted);
        let of_adopted = |target: &str| within_book(target, "SECURITY.md", "docs/internals/security.md", &adopted);

        assert_eq!(of_page("../concepts/b.md#c"), Some("../concepts/b.md#c".into()));
        assert_eq!(of_page("../../SECURITY.md#x"), Some("../internals/security.md#x".into()));
        assert_eq!(of_page("../../host/src/run.rs"), None);
        assert_eq!(of_page("#here"), Some("#here".into()));
        assert_eq!(of_adopted("docs/design/README.md"), Some("../design/index.md".into()));
        assert_eq!(of_adopted("docs"), None);
        assert_eq!(of_adopted("https://example.org"), Some("https://example.org".into()));
    }

    #[test]
    fn every_chapter_of_a_book_is_found() {
        let inner = serde_json::json!({"Chapter": {"path": "b/c.md", "content": "c", "sub_items": []}});
        let mut book =
            serde_json::json!({"items": [{"Chapter": {"path": "a.md", "content": "a", "sub_items": [inner]}}]});
        let mut seen = Vec::new();

        each_chapter(&mut book, &mut |path, content| {
            seen.push(path.to_owned());
            content.push('!');
        });

        assert_eq!(seen, ["docs/a.md", "docs/b/c.md"]);
        assert!(book.to_string().contains("\"c!\""));
    }
}
