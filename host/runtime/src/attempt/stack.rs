//! A guest's stack as it is captured: numbers and names only. A [`Symbolizer`] finds files and lines afterwards.

use std::fmt;

/// The bytes of a function's name that are kept, because the guest chooses the name. Names of files get half of that.
pub(crate) const LONGEST_NAME: usize = 256;

/// A guest's stack, innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stack(pub(crate) Vec<Frame>);

/// A frame of a stack: a place in the compiled code, which may stand for several functions of the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    /// The function's name in the component.
    pub(crate) function: Box<str>,
    /// The instruction's position, in bytes from the start of the component's file.
    pub(crate) offset: Option<usize>,
    /// Whether the guest is at the head of a loop or function, so that the instructions that follow show what it does.
    pub(crate) ahead: bool,
}

/// A place in the source.
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
    /// Marks the stack of a guest that has yielded or run out of fuel, which happens at the head of a loop or a
    /// function.
    pub(crate) fn ahead(mut self) -> Self {
        if let Some(innermost) = self.0.first_mut() {
            innermost.ahead = true;
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the frames, innermost first.
    pub(crate) fn frames(&self) -> &[Frame] {
        &self.0
    }

    /// Creates a stack of functions with these names.
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

    /// Returns the position of the instruction in the component's file.
    pub(crate) fn offset(&self) -> usize {
        self.offset.expect("wasmtime knows where the instructions of a component are")
    }

    pub(crate) fn is_ahead(&self) -> bool {
        self.ahead
    }
}

/// Finds the places of frames in the source.
pub(crate) trait Symbolizer: fmt::Debug + Send + Sync {
    /// Returns, for each frame of the component with this digest, the functions that the frame stands for, innermost
    /// first: inlined functions, then the one that contains them. Reads files and computes for a while.
    fn places(&self, digest: &str, frames: &[Frame]) -> Vec<Vec<Place>>;
}

/// Returns a function's name as it is in the source, without the hash that Rust adds.
pub(crate) fn plain(name: &str) -> String {
    let plain = format!("{:#}", rustc_demangle::demangle(cut(name, 4 * LONGEST_NAME)));
    cut(&plain, LONGEST_NAME).to_owned()
}

/// Returns the first `bytes` bytes of `text`, or fewer where a character ends earlier.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
