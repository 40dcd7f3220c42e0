//! Takes the words out of a file: its comments by paragraph, the paragraphs of a page, and the names of tests.

/// Lines that are read as one text, because a sentence may go over several.
#[derive(Debug, Default)]
pub(crate) struct Paragraph {
    pub(crate) text: String,
    /// Whether it is the beginning of a doc comment of Rust.
    pub(crate) is_doc: bool,
    /// The number of each line, and the byte of `text` at which it begins.
    lines: Vec<(usize, usize)>,
}

impl Paragraph {
    fn push(&mut self, line: usize, text: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.lines.push((line, self.text.len()));
        self.text.push_str(text);
    }

    /// Returns the line of the file that contains the byte `at` of the text.
    pub(crate) fn line_at(&self, at: usize) -> usize {
        self.lines.iter().take_while(|(_, begin)| *begin <= at).last().map_or(0, |(line, _)| *line)
    }
}

/// Returns whether a file of this name is read.
pub(crate) fn has_words(name: &str) -> bool {
    [".rs", ".wit", ".sql", ".md"].iter().any(|ending| name.ends_with(ending))
}

/// Returns the paragraphs of a file.
pub(crate) fn paragraphs(file: &str, text: &str) -> Vec<Paragraph> {
    if file.ends_with(".md") {
        return split(text.lines().map(|line| Some((line.trim(), false))));
    }
    let marks: &[&str] = if file.ends_with(".sql") { &["--"] } else { &["//!", "///", "//"] };
    let mut found = split(text.lines().map(|line| {
        let line = line.trim_start();
        let mark = marks.iter().find(|mark| line.starts_with(**mark))?;
        Some((line[mark.len()..].trim(), *mark == "///" && file.ends_with(".rs")))
    }));
    if file.ends_with(".rs") {
        found.extend(names_of_tests(text));
    }
    found
}

/// Groups lines into paragraphs. `None` is a line without text; the flag tells whether a line belongs to a doc comment.
fn split<'t>(lines: impl Iterator<Item = Option<(&'t str, bool)>>) -> Vec<Paragraph> {
    let mut found = Vec::new();
    let mut open = Paragraph::default();
    let mut is_code = false;
    let mut was_doc = false;
    for (number, line) in lines.enumerate() {
        let (text, is_doc) = line.unwrap_or_default();
        let is_fence = text.starts_with("```");
        let ends = text.is_empty() || is_fence || text.starts_with(['#', '|', '-', '*', '>']) || is_doc != was_doc;
        if ends && !open.text.is_empty() {
            found.push(std::mem::take(&mut open));
        }
        is_code = (is_code && line.is_some()) != is_fence;
        if !text.is_empty() && !is_code && !is_fence && !text.starts_with('#') {
            if open.text.is_empty() {
                open.is_doc = is_doc && !was_doc;
            }
            open.push(number + 1, text.trim_start_matches(['|', '-', '*', '>', ' ']));
        }
        was_doc = is_doc;
    }
    found.push(open);
    found
}

/// Returns the names of functions that follow `#[test]` and its like, as sentences.
fn names_of_tests(text: &str) -> Vec<Paragraph> {
    let mut found = Vec::new();
    let mut is_test = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            let mut paragraph = Paragraph::default();
            let mut words = name.replace('_', " ");
            if let Some(first) = words.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            paragraph.push(number + 1, &words);
            found.push(paragraph);
            is_test = false;
        }
    }
    found
}
