//! Where a guest was when it ended: taken down in an instant, and put into words afterwards.
//!
//! Finding file and line takes milliseconds, more for a large component, and a guest that is to end ends at once. So what is
//! taken while it ends is numbers and names only. The words come from the component's own debug information, which is read
//! when it is first needed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::io::Read as _;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, LittleEndian, SectionId};
use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};
use wasmtime::WasmBacktrace;

use super::author::is_authors_place;
use super::compiler::Apart;
use super::components::hex;
use super::processor::Effort;
use crate::supervisor::guarded;

/// Components whose debug information is kept at hand. Each takes a few times the size of its file.
const AT_HAND: usize = 8;

/// Components of which is remembered that their debug information cannot be read. Forgetting costs another try.
const REMEMBERED: usize = 1000;
/// Bytes of a function's name that are kept, and half of those of a file's. The guest chooses them.
const LONGEST_NAME: usize = 256;
/// Longest stack in words, in bytes.
const LONGEST_STACK: usize = 32 << 10;

/// Bytes from the head of a loop in which its first instruction with a place of its own is looked for: the opcode and the type
/// of the loop, and the operands of that instruction, which compilers often give to no line.
const HEAD: usize = 16;

/// Bytes of code before an instruction without a line in which one with a line is looked for.
const NEAR: u64 = 64;

/// Bytes of words of frames that are remembered. When there are more, all are forgotten: a task that traps at the same place
/// again needs few.
const REMEMBERED_BYTES: usize = 4 << 20;

/// A guest's stack, innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stack(Vec<Frame>);

/// A frame of it: a place in the compiled code, which may stand for several functions of the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    /// As the component names it.
    function: Box<str>,
    /// Where the instruction is, in bytes from the start of the component's file.
    offset: Option<usize>,
    /// Whether the guest stands at the head of a loop or of a function: what it does is told by the instructions that follow.
    ahead: bool,
}

/// Where in the source something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) function: String,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
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
    /// What wasmtime knows without looking anything up.
    pub(super) fn of(backtrace: &WasmBacktrace) -> Self {
        let frame = |frame: &wasmtime::FrameInfo| Frame {
            function: match frame.func_name() {
                // Whole if it can be: what is cut cannot be demangled.
                Some(name) => cut(name, 4 * LONGEST_NAME).into(),
                None => format!("function {}", frame.func_index()).into(),
            },
            offset: frame.module_offset(),
            ahead: false,
        };
        Self(backtrace.frames().iter().map(frame).collect())
    }

    /// The same of a guest that has yielded or come to the end of its fuel, which it does at the head of a loop or of a function.
    pub(super) fn ahead(mut self) -> Self {
        if let Some(innermost) = self.0.first_mut() {
            innermost.ahead = true;
        }
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Innermost first.
    pub(super) fn frames(&self) -> &[Frame] {
        &self.0
    }

    /// A stack of functions with these names.
    #[cfg(test)]
    pub(super) fn named(functions: &[&str]) -> Self {
        Self(functions.iter().map(|name| Frame { function: (*name).into(), offset: None, ahead: false }).collect())
    }

    /// The functions' names alone.
    pub(super) fn names(&self) -> String {
        in_words(&places(&self.0, None))
    }
}

#[cfg(test)]
impl Frame {
    pub(super) fn name(&self) -> String {
        plain(&self.function)
    }

    /// Where its instruction is in the component's file.
    pub(super) fn offset(&self) -> usize {
        self.offset.expect("wasmtime knows where the instructions of a component are")
    }

    pub(super) fn is_ahead(&self) -> bool {
        self.ahead
    }
}

/// `function (file:line)`, one a line, as much of it as is kept.
fn in_words(places: &[Vec<Place>]) -> String {
    cut(&lines(places), LONGEST_STACK).to_owned()
}

fn lines(places: &[Vec<Place>]) -> String {
    let lines: Vec<String> = places.iter().flatten().map(Place::to_string).collect();
    lines.join("\n")
}

/// Of each frame, as far as `info` knows: the function, after those that were inlined into it, innermost first.
fn places(frames: &[Frame], info: Option<&DebugInfo>) -> Vec<Vec<Place>> {
    let place = |frame: &Frame| {
        let known = frame.offset.zip(info).map(|(offset, info)| info.at(offset, frame));
        let nameless = || vec![Place { function: plain(&frame.function), file: None, line: None }];
        known.filter(|known| !known.is_empty()).unwrap_or_else(nameless)
    };
    frames.iter().map(place).collect()
}

/// The same by what is known of the component.
fn places_by(frames: &[Frame], info: &Known) -> Vec<Vec<Place>> {
    match info {
        Some(info) => places(frames, Some(&info.lock().unwrap_or_else(PoisonError::into_inner))),
        None => places(frames, None),
    }
}

/// A function's name as it is in the source, without the hash that Rust adds.
fn plain(name: &str) -> String {
    let plain = format!("{:#}", rustc_demangle::demangle(cut(name, 4 * LONGEST_NAME)));
    cut(&plain, LONGEST_NAME).to_owned()
}

/// At most so many bytes of `text`.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Finds files and lines for the stacks of all components.
#[derive(Debug)]
pub(super) struct Lines {
    /// Where components that have debug information are kept, by digest.
    directory: PathBuf,
    /// Where to try first whether a component's debug information can be read; `None` if all are trusted.
    apart: Option<Arc<Apart>>,
    at_hand: Mutex<VecDeque<(String, Known)>>,
    /// Components of which it cannot.
    unreadable: Mutex<HashSet<String>>,
    found: Mutex<Found>,
    /// Held by whoever reads some: one at a time.
    reading: Mutex<()>,
    /// Processor time of the children that try it, and of the thread that puts stacks into words.
    pub(super) effort: Effort,
}

/// The words of frames of components, by digest.
#[derive(Debug, Default)]
struct Found {
    frames: HashMap<String, HashMap<Frame, Box<str>>>,
    bytes: usize,
}

impl Found {
    fn add(&mut self, digest: &str, frames: &[Frame], places: &[Vec<Place>]) {
        for (frame, places) in frames.iter().zip(places) {
            let words = lines(std::slice::from_ref(places));
            // Longer than any stack may be: of no use.
            let bytes = words.len() + frame.function.len() + digest.len() + 64; // and what keeps them together
            if words.len() > LONGEST_STACK {
                return;
            }
            if self.bytes + bytes > REMEMBERED_BYTES {
                *self = Self::default();
            }
            let known = match self.frames.get_mut(digest) {
                Some(known) => known,
                None => self.frames.entry(digest.to_owned()).or_default(),
            };
            if known.insert(frame.clone(), words.into()).is_none() {
                self.bytes += bytes;
            }
        }
    }

    fn words(&self, digest: &str, frames: &[Frame]) -> Option<String> {
        let known = self.frames.get(digest)?;
        let words = frames.iter().map(|frame| known.get(frame).map(|words| &**words));
        let words = words.collect::<Option<Vec<&str>>>()?.join("\n");
        Some(cut(&words, LONGEST_STACK).to_owned())
    }
}

/// What a component's debug information is; `None` if it has none. In a mutex, as it is read piece by piece when it is asked.
type Known = Option<Arc<Mutex<DebugInfo>>>;

/// The machine did not let anything be read. That says nothing about the component, and the next reader tries again.
struct NotNow;

impl Lines {
    /// Components lie in `directory`, where the code cache has put them.
    pub(super) fn new(directory: PathBuf, apart: Option<Arc<Apart>>) -> Self {
        let (at_hand, unreadable, found, reading, effort) = Default::default();
        Self { directory, apart, at_hand, unreadable, found, reading, effort }
    }

    /// `stack`, of the component with this digest, in words. Reads files, and computes for a while, where that was not found
    /// before.
    pub(super) fn words(&self, digest: &str, stack: &Stack) -> String {
        self.remembered(digest, stack).unwrap_or_else(|| {
            let Ok(info) = self.of(digest) else { return stack.names() };
            let places = places_by(&stack.0, &info);
            self.found.lock().unwrap_or_else(PoisonError::into_inner).add(digest, &stack.0, &places);
            in_words(&places)
        })
    }

    /// The same, if all of it was found before; at once.
    pub(super) fn remembered(&self, digest: &str, stack: &Stack) -> Option<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).words(digest, &stack.0)
    }

    /// Where each of `frames`, of the component with this digest, is; see [`places`]. Reads files, and computes for a while.
    pub(super) fn places(&self, digest: &str, frames: &[Frame]) -> Vec<Vec<Place>> {
        places_by(frames, &self.of(digest).unwrap_or_default())
    }

    fn of(&self, digest: &str) -> Result<Known, NotNow> {
        let at_hand = || self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let find = || at_hand().iter().find(|(of, _)| of == digest).map(|(_, lines)| lines.clone());
        if let Some(lines) = find() {
            return Ok(lines);
        }
        // Many runs of one component may end at once, and only the first need read.
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = find() {
            return Ok(lines);
        }
        let lines = self.read(digest)?.map(|lines| Arc::new(Mutex::new(lines)));
        let mut at_hand = at_hand();
        at_hand.push_back((digest.to_owned(), lines.clone()));
        if at_hand.len() > AT_HAND {
            at_hand.pop_front();
        }
        Ok(lines)
    }

    fn read(&self, digest: &str) -> Result<Option<DebugInfo>, NotNow> {
        let unreadable = || self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if unreadable().contains(digest) {
            return Ok(None);
        }
        let read = |mut file: std::fs::File| {
            let mut wasm = Vec::new();
            file.read_to_end(&mut wasm).map(|_| (file, wasm))
        };
        let Ok((file, wasm)) = crate::regular_file::open(&source(&self.directory, digest)).and_then(read) else {
            return Ok(None);
        };
        // Only what was loaded may explain what was run.
        if hex(&Sha256::digest(&wasm)) != digest {
            return Ok(None);
        }
        // The information is the guest's own. A megabyte of it can be made to take all memory, or days: whoever reads it tries
        // apart first, where that harms nobody.
        let can_read = |apart: &Arc<Apart>| apart.can_read_lines(&file, &self.effort).map_err(|_| NotNow);
        if !self.apart.as_ref().map_or(Ok(true), can_read)? {
            let mut unreadable = unreadable();
            if unreadable.len() >= REMEMBERED {
                unreadable.clear();
            }
            unreadable.insert(digest.to_owned());
            return Ok(None);
        }
        // A panic is the fault of what is read, which is the guest's: nobody is alarmed by it.
        Ok(guarded(|| DebugInfo::read(&wasm)).ok().flatten())
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

/// Read all the debug information in a component, which may take as long and as much memory as it likes. Whether there is
/// some.
pub(super) fn can_be_read(wasm: &[u8]) -> bool {
    // All that is read piece by piece when it is asked for.
    let read = |(_, context): &(_, Context<Reader>)| {
        context.parse_lines().is_ok() && context.parse_inlined_functions().is_ok()
    };
    DebugInfo::read(wasm).is_some_and(|info| info.modules.iter().all(read))
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

    /// What is at `offset` bytes into the component's file, where `frame` is: the function and those inlined into it, innermost
    /// first.
    ///
    /// The head of a loop belongs to whatever the loop was inlined into. Of a guest that stands there, the function is told that
    /// the first instructions of the loop are of.
    fn at(&self, offset: usize, frame: &Frame) -> Vec<Place> {
        let here = self.exactly_at(offset, &frame.function);
        let following =
            (1..=HEAD).filter(|_| frame.ahead).map(|bytes| self.exactly_at(offset + bytes, &frame.function));
        // What the first instructions are of is the author's function, whichever of the library's was inlined into it there.
        let authors = |places: Vec<Place>| places.into_iter().skip_while(|place| !is_authors_place(place)).collect();
        let mut loops = following.map(authors).filter(|places: &Vec<Place>| are_within(places, &here));
        loops.next().unwrap_or(here)
    }

    fn exactly_at(&self, offset: usize, function: &str) -> Vec<Place> {
        let Some((code, context)) = self.modules.iter().find(|(code, _)| code.contains(&offset)) else {
            return Vec::new();
        };
        // DWARF counts from the start of the code section.
        let address = (offset - code.start) as u64;
        let Ok(mut frames) = context.find_frames(address).skip_all_loads() else {
            return Vec::new();
        };
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|inlined| inlined.raw_name().ok());
            places.push(Place {
                function: plain(name.as_deref().unwrap_or(function)),
                file: frame
                    .location
                    .as_ref()
                    .and_then(|location| location.file)
                    .map(|file| cut(file, 2 * LONGEST_NAME).to_owned()),
                line: frame.location.as_ref().and_then(|location| {
                    let innermost = places.is_empty();
                    location.line.or_else(|| innermost.then(|| line_before(context, address, location.file)).flatten())
                }),
            });
        }
        places
    }
}

/// The line of the last instruction before `address` that has one and is of the same file. Compilers make instructions that are
/// of no line, such as the jump that closes a loop.
fn line_before(context: &Context<Reader>, address: u64, file: Option<&str>) -> Option<u32> {
    let at = |back: u64| context.find_location(address.checked_sub(back)?).ok().flatten();
    (1..=NEAR).filter_map(at).find(|location| location.file == file && location.line.is_some())?.line
}

/// Whether `places` are of functions that were inlined into what `outer` is. Files are not compared: an instruction that a
/// macro made has the macro's file, while what was inlined beside it names the file that calls the macro.
fn are_within(places: &[Place], outer: &[Place]) -> bool {
    let mut pairs = places.iter().rev().zip(outer.iter().rev());
    places.len() > outer.len() && pairs.all(|(a, b)| a.function == b.function)
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

impl fmt::Debug for DebugInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugInfo").field("modules", &self.modules.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
