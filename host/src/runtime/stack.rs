//! Where a guest was when it ended: taken down in an instant, and put into words afterwards.
//!
//! Finding file and line takes milliseconds, more for a large component, and a guest that is to end ends at once. So what is
//! taken while it ends is numbers and names only. The words come from the component's own debug information, which is read
//! when it is first needed.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, LittleEndian, SectionId};
use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};
use wasmtime::WasmBacktrace;

use super::components::hex;

/// Components whose debug information is kept at hand. Each takes a few times the size of its file.
const AT_HAND: usize = 8;

/// Longest name of a function, and longest stack in words, in bytes: names are the guest's own, and may have megabytes.
const LONGEST_NAME: usize = 1 << 10;
const LONGEST_STACK: usize = 32 << 10;

/// A guest's stack, innermost first.
#[derive(Clone, Debug, Default)]
pub(super) struct Stack(Vec<Frame>);

#[derive(Clone, Debug)]
struct Frame {
    function: String,
    /// Where the instruction is, in bytes from the start of the component's file.
    offset: Option<usize>,
}

impl Stack {
    /// What wasmtime knows without looking anything up.
    pub(super) fn of(backtrace: &WasmBacktrace) -> Self {
        let frame = |frame: &wasmtime::FrameInfo| Frame {
            function: frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), plain),
            offset: frame.module_offset(),
        };
        Self(backtrace.frames().iter().map(frame).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `function (file:line)`, one a line, as far as `lines` knows. Inlined functions have lines of their own.
    fn words(&self, lines: Option<&DebugInfo>) -> String {
        let mut words = Vec::new();
        for frame in &self.0 {
            let known = frame.offset.zip(lines).map(|(offset, lines)| lines.at(offset, &frame.function));
            match known.filter(|known| !known.is_empty()) {
                Some(known) => words.extend(known),
                None => words.push(frame.function.clone()),
            }
        }
        let mut words = words.join("\n");
        words.truncate(words.floor_char_boundary(LONGEST_STACK));
        words
    }

    /// The functions' names alone.
    pub(super) fn names(&self) -> String {
        self.words(None)
    }
}

/// A function's name as it is in the source, without the hash that Rust adds.
fn plain(name: &str) -> String {
    let name = &name[..name.floor_char_boundary(LONGEST_NAME)];
    format!("{:#}", rustc_demangle::demangle(name))
}

/// Finds files and lines for the stacks of all components.
#[derive(Debug)]
pub(super) struct Lines {
    /// Where components that have debug information are kept, by digest.
    directory: PathBuf,
    at_hand: Mutex<VecDeque<(String, Known)>>,
}

/// What a component's debug information is; `None` if it has none. In a mutex, as it is read piece by piece when it is asked.
type Known = Option<Arc<Mutex<DebugInfo>>>;

impl Lines {
    /// Components lie in `directory`, where [`keep`] has put them.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, at_hand: Mutex::default() }
    }

    /// `stack`, of the component with this digest, in words. Reads files, and computes for a while.
    pub(super) fn words(&self, digest: &str, stack: &Stack) -> String {
        match self.of(digest) {
            Some(lines) => stack.words(Some(&lines.lock().unwrap_or_else(PoisonError::into_inner))),
            None => stack.names(),
        }
    }

    fn of(&self, digest: &str) -> Known {
        let at_hand = || self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, lines)) = at_hand().iter().find(|(of, _)| of == digest) {
            return lines.clone();
        }
        // Outside of the lock: two that read the same do no harm.
        let lines = self.read(digest).map(|lines| Arc::new(Mutex::new(lines)));
        let mut at_hand = at_hand();
        at_hand.push_back((digest.to_owned(), lines.clone()));
        if at_hand.len() > AT_HAND {
            at_hand.pop_front();
        }
        lines
    }

    fn read(&self, digest: &str) -> Option<DebugInfo> {
        let wasm = std::fs::read(source(&self.directory, digest)).ok()?;
        // Only what was loaded may explain what was run.
        if hex(&Sha256::digest(&wasm)) != digest {
            return None;
        }
        // The information is the guest's own, and the readers of it are not to be trusted with every lie.
        std::panic::catch_unwind(|| DebugInfo::read(&wasm)).ok().flatten()
    }
}

/// The file that a component is kept in.
pub(super) fn source(directory: &std::path::Path, digest: &str) -> PathBuf {
    directory.join(format!("{digest}.wasm"))
}

/// Whether a component seems to say which code is from which line.
pub(super) fn has_lines(wasm: &[u8]) -> bool {
    const SECTION: &[u8] = b".debug_line";
    wasm.windows(SECTION.len()).any(|window| window == SECTION)
}

type Reader = EndianArcSlice<LittleEndian>;

/// The debug information of a component: DWARF, one for each core module in it.
struct DebugInfo {
    modules: Vec<(Range<usize>, Context<Reader>)>,
}

/// A core module while it is read.
#[derive(Default)]
struct Sections {
    code: Option<Range<usize>>,
    debug: HashMap<String, Arc<[u8]>>,
}

impl DebugInfo {
    fn read(wasm: &[u8]) -> Option<Self> {
        let mut modules = Vec::new();
        let mut open: Vec<Option<Sections>> = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.ok()? {
                Payload::Version { encoding: Encoding::Module, .. } => open.push(Some(Sections::default())),
                Payload::Version { .. } => open.push(None),
                Payload::CodeSectionStart { range, .. } => {
                    if let Some(Some(module)) = open.last_mut() {
                        module.code = Some(range);
                    }
                }
                Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                    if let Some(Some(module)) = open.last_mut() {
                        module.debug.insert(section.name().to_owned(), section.data().into());
                    }
                }
                Payload::End(_) => modules.extend(open.pop().flatten().and_then(Sections::context)),
                _ => {}
            }
        }
        Some(Self { modules }).filter(|info| !info.modules.is_empty())
    }

    /// What is at `offset` bytes into the component's file: the function and those inlined into it, innermost first.
    fn at(&self, offset: usize, function: &str) -> Vec<String> {
        let Some((code, context)) = self.modules.iter().find(|(code, _)| code.contains(&offset)) else {
            return Vec::new();
        };
        // DWARF counts from the start of the code section.
        let Ok(mut frames) = context.find_frames((offset - code.start) as u64).skip_all_loads() else {
            return Vec::new();
        };
        let mut words = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|inlined| inlined.raw_name().ok());
            let name = name.as_deref().map_or_else(|| function.to_owned(), plain);
            let (file, line) = frame.location.map_or((None, None), |location| (location.file, location.line));
            words.push(match (file, line) {
                (Some(file), Some(line)) => format!("{name} ({file}:{line})"),
                (Some(file), None) => format!("{name} ({file})"),
                (None, _) => name,
            });
        }
        words
    }
}

impl Sections {
    fn context(self) -> Option<(Range<usize>, Context<Reader>)> {
        let section = |id: SectionId| {
            let bytes = self.debug.get(id.name()).cloned().unwrap_or_default();
            Ok::<_, gimli::Error>(Reader::new(bytes, LittleEndian))
        };
        let dwarf = Dwarf::load(section).ok()?;
        Some((self.code?, Context::from_dwarf(dwarf).ok()?))
    }
}

impl std::fmt::Debug for DebugInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DebugInfo").field("modules", &self.modules.len()).finish_non_exhaustive()
    }
}
