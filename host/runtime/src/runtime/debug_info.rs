//! Finds the source line of a component's code in its DWARF, which compilers leave in custom sections.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, LittleEndian, SectionId};
use wasmparser::{Encoding, Parser, Payload};

use crate::attempt::stack::{Frame, LONGEST_NAME, Place, cut, plain};

use super::author::is_authors_place;

/// Bytes from the head of a loop in which its first instruction with a place of its own is looked for: the opcode and
/// the type of the loop, and the operands of that instruction, which compilers often give to no line.
const HEAD: usize = 16;

/// Bytes of code before an instruction without a line in which one with a line is looked for.
const NEAR: u64 = 64;

/// Returns the path under which a component is kept.
pub(super) fn source(directory: &Path, digest: &str) -> PathBuf {
    directory.join(format!("{digest}.wasm"))
}

/// Returns for each frame its function, as far as `info` knows it, after the functions that were inlined into it,
/// innermost first.
pub(super) fn places(frames: &[Frame], info: Option<&DebugInfo>) -> Vec<Vec<Place>> {
    let place = |frame: &Frame| {
        let known = frame.offset.zip(info).map(|(offset, info)| info.at(offset, frame));
        let nameless = || vec![Place { function: plain(&frame.function), file: None, line: None }];
        known.filter(|known| !known.is_empty()).unwrap_or_else(nameless)
    };
    frames.iter().map(place).collect()
}

/// Returns whether a component seems to have line information.
pub(super) fn has_lines(wasm: &[u8]) -> bool {
    const SECTION: &[u8] = b".debug_line";
    wasm.windows(SECTION.len()).any(|window| window == SECTION)
}

/// Reads all the debug information in a component, which may take as long and as much memory as it likes. Returns
/// whether it has any and all of it is valid.
pub(super) fn can_be_read(wasm: &[u8]) -> bool {
    // Otherwise these are read piece by piece when they are needed.
    let read = |(_, context): &(_, Context<Reader>)| {
        context.parse_lines().is_ok() && context.parse_inlined_functions().is_ok()
    };
    DebugInfo::read(wasm).is_some_and(|info| info.modules.iter().all(read))
}

type Reader = EndianArcSlice<LittleEndian>;

/// The debug information of a component: the DWARF of each core module in it.
pub(super) struct DebugInfo {
    modules: Vec<(Range<usize>, Context<Reader>)>,
}

/// The sections of a core module that is being read.
#[derive(Default)]
struct Sections {
    code: Option<Range<usize>>,
    debug: HashMap<String, Arc<[u8]>>,
}

impl DebugInfo {
    pub(super) fn read(wasm: &[u8]) -> Option<Self> {
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

    /// Returns the functions at `offset` bytes into the component's file, where `frame` is: the function and those
    /// inlined into it, innermost first.
    ///
    /// The head of a loop belongs to the function into which the loop was inlined. For a guest that stands there, this
    /// returns the function of the loop's first instructions instead.
    pub(super) fn at(&self, offset: usize, frame: &Frame) -> Vec<Place> {
        let here = self.exactly_at(offset, &frame.function);
        let following =
            (1..=HEAD).filter(|_| frame.ahead).map(|bytes| self.exactly_at(offset + bytes, &frame.function));
        // The first instructions count as the author's function, whichever library functions were inlined into it
        // there.
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

/// Returns the line of the last instruction before `address` that has one and is of the same file. Compilers make
/// instructions that belong to no line, such as the jump that closes a loop.
fn line_before(context: &Context<Reader>, address: u64, file: Option<&str>) -> Option<u32> {
    let at = |back: u64| context.find_location(address.checked_sub(back)?).ok().flatten();
    (1..=NEAR).filter_map(at).find(|location| location.file == file && location.line.is_some())?.line
}

/// Returns whether `places` are functions that were inlined into `outer`. Files are not compared: an instruction that a
/// macro made has the macro's file, while a function inlined beside it names the file that calls the macro.
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
