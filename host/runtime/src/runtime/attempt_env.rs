//! Holds what all attempts of a runtime share.

use std::sync::Arc;

use crate::attempt::AllMemory;
use crate::attempt::stack::Symbolizer;
use crate::imports::Services;

use super::file_threads::FileThreads;
use super::files::AllFiles;
use super::lanes::Lanes;
use super::quota::Directories;
use super::symbolizer::SymbolizerThread;

/// The parts of a runtime that its attempts need.
#[derive(Debug)]
pub(super) struct AttemptEnv {
    pub(super) engine: wasmtime::Engine,
    pub(super) services: Arc<Services>,
    pub(super) lanes: Lanes,
    pub(super) symbolizer: Arc<dyn Symbolizer>,
    pub(super) symbolizer_thread: SymbolizerThread,
    pub(super) files: Arc<AllFiles>,
    pub(super) file_threads: FileThreads,
    pub(super) directories: Arc<Directories>,
    pub(super) memory: Arc<AllMemory>,
}
