//! Reads from a Markdown page what the checks need.

use std::collections::{BTreeSet, HashMap};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A page, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) links: Vec<Mention>,
    /// Texts in backticks within prose.
    pub(crate) code: Vec<Mention>,
    /// The anchors that may follow `#` in a link to the page.
    pub(crate) anchors: BTreeSet<String>,
    /// Lines that can be wrapped: no table, no block of code, and more than one word.
    pub(crate) prose: Vec<Line>,
}

/// A link's target or a text in backticks, and where it stands.
#[derive(Debug)]
pub(crate) struct Mention {
    pub(crate) target: String,
    pub(crate) line: usize,
}

/// A line and how wide it is, in characters.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) width: usize,
}

/// Takes a page apart.
pub(crate) fn read(text: &str) -> Page {
    let mut page = Page::default();
    let mut heading: Option<String> = None;
    let mut seen = HashMap::new();
    let mut fixed = BTreeSet::new();
    let line_at = |at: usize| text[..at].matches('\n').count() + 1;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let before = seen.entry(anchor.clone()).and_modify(|count| *count += 1).or_insert(0);
                page.anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
            }
            Event::Text(words) | Event::Code(words) if heading.is_some() => {
                heading.get_or_insert_default().push_str(&words);
            }
            Event::Code(words) => page.code.push(Mention { target: words.to_string(), line: line_at(range.start) }),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(Mention { target: dest_url.to_string(), line: line_at(range.start) });
            }
            Event::Start(Tag::CodeBlock(_) | Tag::Table(_) | Tag::HtmlBlock) => {
                fixed.extend(line_at(range.start)..=line_at(range.end.saturating_sub(1)));
            }
            _ => {}
        }
    }
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let can_wrap = |line: &str| line.trim_start_matches([' ', '-', '#', '>']).contains(' ');
    page.prose = lines
        .filter(|(number, line)| !fixed.contains(number) && can_wrap(line))
        .map(|(number, line)| Line { number, width: line.chars().count() })
        .collect();
    page
}

/// The anchor of a heading, as mdBook and GitHub make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|sign| match sign {
        sign if sign.is_alphanumeric() || sign == '_' || sign == '-' => Some(sign),
        sign if sign.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect::<String>().to_lowercase()
}

/// Replaces the links of a page: `with` returns the new target of each, or `None` to leave only its text.
#[must_use]
pub fn replace_links(text: &str, with: impl Fn(&str) -> Option<String>) -> String {
    let mut links = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        if let Event::Start(Tag::Link { dest_url, .. }) = event {
            links.push((range, dest_url.to_string()));
        }
    }
    let mut replaced = text.to_owned();
    // From the last to the first, so that the places of those before stay right.
    for (range, target) in links.into_iter().rev() {
        let whole = &text[range.clone()];
        let Some((label, _)) = whole.strip_prefix('[').and_then(|rest| rest.rsplit_once("](")) else { continue };
        let link = match with(&target) {
            Some(target) => format!("[{label}]({target})"),
            None => label.to_owned(),
        };
        replaced.replace_range(range, &link);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::{anchor, read, replace_links};

    #[test]
    fn anchors_are_those_of_the_book() {
        assert_eq!(anchor("`[tasks.NAME.limits]`"), "tasksnamelimits");
        assert_eq!(anchor("After the end of the last run"), "after-the-end-of-the-last-run");
        assert_eq!(anchor("`sexton schedule add`"), "sexton-schedule-add");
        let page = read("# A\n\n## B\n\n## B\n");
        assert_eq!(page.anchors.into_iter().collect::<Vec<_>>(), ["a", "b", "b-1"]);
    }

    #[test]
    fn links_are_replaced_where_they_stand() {
        let text = "See [the *plan*](../plan.md#a), [b](b.md) and `[c](c.md)`.\n\n```\n[d](d.md)\n```\n";

        let replaced = replace_links(text, |target| (target == "b.md").then(|| "x.html".to_owned()));

        assert_eq!(replaced, "See the *plan*, [b](x.html) and `[c](c.md)`.\n\n```\n[d](d.md)\n```\n");
    }

    #[test]
    fn tables_and_code_are_not_prose() {
        let page = read("one line\n\n| a | b |\n|---|---|\n| c | d |\n\n```text\nx y\n```\n\nhttps://a-single-word\n");

        assert_eq!(page.prose.iter().map(|line| line.number).collect::<Vec<_>>(), [1]);
    }
}
