//! Puts the stacks of ended guests into words, after they were taken in an instant.
//!
//! Finding file and line takes milliseconds, more for a large component, and a guest that must end ends at once. So
//! only numbers and names are taken while it ends. The words come from the component's own debug information, which is
//! read when it is first needed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::attempt::stack::{Frame, Place, Stack, Symbolizer, cut};
use crate::cpu_time::Effort;
use sexton_system::supervisor::guarded;

use super::compiler::Apart;
use super::components::hex;
use super::debug_info::{DebugInfo, places, source};

/// Components whose debug information is kept at hand. Each takes a few times the size of its file.
const AT_HAND: usize = 8;

/// The most components that are remembered as having unreadable debug information. Forgetting one costs another try.
const REMEMBERED: usize = 1000;
/// The longest stack in words, in bytes.
const LONGEST_STACK: usize = 32 << 10;

/// Bytes of words of frames that are remembered. When there are more, all are forgotten: a task that traps at the same
/// place again needs few.
const REMEMBERED_BYTES: usize = 4 << 20;

/// Returns `function (file:line)`, one a line, cut to the longest stack.
fn format_stack(places: &[Vec<Place>]) -> String {
    cut(&lines(places), LONGEST_STACK).to_owned()
}

fn lines(places: &[Vec<Place>]) -> String {
    let lines: Vec<String> = places.iter().flatten().map(Place::to_string).collect();
    lines.join("\n")
}

/// Returns the places of `frames`, as far as `info` is known.
fn places_of(frames: &[Frame], info: &Known) -> Vec<Vec<Place>> {
    match info {
        Some(info) => places(frames, Some(&info.lock().unwrap_or_else(PoisonError::into_inner))),
        None => places(frames, None),
    }
}

/// Returns the names of a stack's functions, one a line.
pub(super) fn names(stack: &Stack) -> String {
    format_stack(&places(stack.frames(), None))
}

/// Finds files and lines for the stacks of all components.
#[derive(Debug)]
pub(super) struct DebugLines {
    /// The directory that keeps components with debug information, by digest.
    directory: PathBuf,
    /// Starts the child that first tries to read a component's debug information; `None` if all components are trusted.
    apart: Option<Arc<Apart>>,
    at_hand: Mutex<VecDeque<(String, Known)>>,
    /// Components whose debug information cannot be read.
    unreadable: Mutex<HashSet<String>>,
    found: Mutex<Found>,
    /// Held while debug information is read, so that one thread reads at a time.
    reading: Mutex<()>,
    /// Processor time of the children that try to read, and of the thread that puts stacks into words.
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
            // Words that are longer than any stack may be are of no use.
            let bytes = words.len() + frame.function.len() + digest.len() + 64; // the map's overhead
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

/// A component's debug information; `None` if it has none. The mutex is needed because looking up a place may read more
/// of it.
type Known = Option<Arc<Mutex<DebugInfo>>>;

/// The machine did not let anything be read. That says nothing about the component, and the next reader tries again.
struct TemporaryFailure;

impl Symbolizer for DebugLines {
    fn places(&self, digest: &str, frames: &[Frame]) -> Vec<Vec<Place>> {
        places_of(frames, &self.of(digest).unwrap_or_default())
    }
}

impl DebugLines {
    /// Reads components from `directory`, where the code cache has put them.
    pub(super) fn new(directory: PathBuf, apart: Option<Arc<Apart>>) -> Self {
        let (at_hand, unreadable, found, reading, effort) = Default::default();
        Self { directory, apart, at_hand, unreadable, found, reading, effort }
    }

    /// Returns `stack`, of the component with this digest, in words. Reads files, and computes for a while, unless its
    /// words are remembered.
    pub(super) fn words(&self, digest: &str, stack: &Stack) -> String {
        self.remembered(digest, stack).unwrap_or_else(|| {
            let Ok(info) = self.of(digest) else { return names(stack) };
            let places = places_of(stack.frames(), &info);
            self.found.lock().unwrap_or_else(PoisonError::into_inner).add(digest, stack.frames(), &places);
            format_stack(&places)
        })
    }

    /// Returns the same at once, if all of its words are remembered.
    pub(super) fn remembered(&self, digest: &str, stack: &Stack) -> Option<String> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).words(digest, stack.frames())
    }

    fn of(&self, digest: &str) -> Result<Known, TemporaryFailure> {
        let at_hand = || self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let find = || at_hand().iter().find(|(of, _)| of == digest).map(|(_, lines)| lines.clone());
        if let Some(lines) = find() {
            return Ok(lines);
        }
        // Many runs of one component may end at once, and only the first must read.
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

    fn read(&self, digest: &str) -> Result<Option<DebugInfo>, TemporaryFailure> {
        let unreadable = || self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if unreadable().contains(digest) {
            return Ok(None);
        }
        let read = |mut file: std::fs::File| {
            let mut wasm = Vec::new();
            file.read_to_end(&mut wasm).map(|_| (file, wasm))
        };
        let Ok((file, wasm)) = sexton_system::regular_file::open(&source(&self.directory, digest)).and_then(read)
        else {
            return Ok(None);
        };
        // Only the component that was loaded may explain a stack of its runs.
        if hex(&Sha256::digest(&wasm)) != digest {
            return Ok(None);
        }
        // The information is the guest's own. A megabyte of it can be made to take all memory, or days, so a child
        // process tries to read it first, which harms no other run.
        let can_read = |apart: &Arc<Apart>| apart.can_read_lines(&file, &self.effort).map_err(|_| TemporaryFailure);
        if !self.apart.as_ref().map_or(Ok(true), can_read)? {
            let mut unreadable = unreadable();
            if unreadable.len() >= REMEMBERED {
                unreadable.clear();
            }
            unreadable.insert(digest.to_owned());
            return Ok(None);
        }
        // A panic is the fault of the guest's own information, so it raises no alert.
        Ok(guarded(|| DebugInfo::read(&wasm)).ok().flatten())
    }
}

#[cfg(test)]
mod tests;
