//! A guest's stack, as it is taken down in an instant: numbers and names only. A [`Symbolizer`] finds files and lines afterwards.

use std::fmt;

/// Bytes of a function's name that are kept, and half of those of a file's. The guest chooses them.
pub(crate) const LONGEST_NAME: usize = 256;

/// A guest's stack, innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stack(pub(crate) Vec<Frame>);

/// A frame of it: a place in the compiled code, which may stand for several functions of the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    /// As the component names it.
    pub(crate) function: Box<str>,
    /// Where the instruction is, in bytes from the start of the component's file.
    pub(crate) offset: Option<usize>,
    /// Whether the guest stands at the head of a loop or of a function: what it does is told by the instructions that follow.
    pub(crate) ahead: bool,
}

/// Where in the source something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) function: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{} ({file}:{line})", self.function),
            (Some(file), None) => write!(f, "{} ({file})", self.function),
            (None, _) => f.write_str(&self.function),
        }
    }
}

impl Stack {
    /// This stack, taken of a guest that has yielded or come to the end of its fuel, which it does at the head of a loop or of a function.
    pub(crate) fn ahead(mut self) -> Self {
        if let Some(innermost) = self.0.first_mut() {
            innermost.ahead = true;
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Innermost first.
    pub(crate) fn frames(&self) -> &[Frame] {
        &self.0
    }

    /// A stack of functions with these names.
    #[cfg(test)]
    pub(crate) fn named(functions: &[&str]) -> Self {
        Self(functions.iter().map(|name| Frame { function: (*name).into(), offset: None, ahead: false }).collect())
    }
}

#[cfg(test)]
impl Frame {
    pub(crate) fn name(&self) -> String {
        plain(&self.function)
    }

    /// Where its instruction is in the component's file.
    pub(crate) fn offset(&self) -> usize {
        self.offset.expect("wasmtime knows where the instructions of a component are")
    }

    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead
    }
}

/// Finds where frames are in the source.
pub(crate) trait Symbolizer: fmt::Debug + Send + Sync {
    /// Returns for each frame of the component with this digest the function that it is in, after those that were inlined into
    /// that, innermost first. Reads files and computes for a while.
    fn places(&self, digest: &str, frames: &[Frame]) -> Vec<Vec<Place>>;
}

/// A function's name as it is in the source, without the hash that Rust adds.
pub(crate) fn plain(name: &str) -> String {
    let plain = format!("{:#}", rustc_demangle::demangle(cut(name, 4 * LONGEST_NAME)));
    cut(&plain, LONGEST_NAME).to_owned()
}

/// At most so many bytes of `text`.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
