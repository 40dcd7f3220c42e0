//! How a runtime is set up, and why it cannot be.

use std::path::PathBuf;
use std::time::Duration;

/// How the runtime is set up.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Where compiled code is kept, by digest. Only this host may be able to write there: what lies in it is executed.
    pub code_cache: PathBuf,
    /// Threads that run guests. Fewer than cores starves guests, more makes them fight; 0 is one per core.
    pub guest_threads: usize,
    /// Runs at once, and instances that memory is reserved for.
    pub slots: u32,
    /// The most memory that any task may be given, in bytes (address space is reserved for it, per slot).
    pub max_memory: u64,
    /// How often a guest that does not yield is asked to. Longer is less overhead, and later ends.
    pub tick: Duration,
    /// Largest component file that is read, in bytes.
    pub max_component: u64,
    /// Where components are compiled.
    pub compiler: Compiler,
}

/// Where components are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// Each in a child process of its own.
    Apart {
        /// The program to start: `sexton` of the same build, or another whose `main` begins with
        /// [`compile_if_asked`](super::compile_if_asked).
        program: PathBuf,
        /// What each may use.
        limits: CompileLimits,
    },
    /// In this process, without limits. Only for components that are trusted: a bad one can stall the process, or have it
    /// killed for want of memory.
    InProcess,
}

/// What compiling one component may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Processor time, counted in whole seconds: what is between two of them is rounded up.
    pub time: Duration,
    /// Memory of the child, in bytes. The program itself needs a few MiB of it.
    pub memory: u64,
}

/// Why a runtime cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// Most likely so much address space cannot be reserved.
    #[error(
        "cannot reserve the address space for {slots} slots of up to {} each: {reason}; lower `[runtime] slots` or `max-memory`, or lift the limit of \
         address space (`ulimit -v unlimited`, in a unit `LimitAS=infinity`)",
        bytesize::ByteSize(*max_memory).display().iec()
    )]
    Engine {
        /// As configured.
        slots: u32,
        /// As configured, in bytes.
        max_memory: u64,
        /// What wasmtime said.
        reason: String,
    },
    /// The directory for compiled code cannot be used.
    #[error("cannot use `{}` for compiled code", path.display())]
    CodeCache {
        /// The directory.
        path: PathBuf,
        /// Why the directory cannot be used.
        source: std::io::Error,
    },
    /// Nobody in this program would compile.
    #[error(
        "this program cannot compile components apart: its `main` must begin with `sexton::runtime::compile_if_asked`"
    )]
    NoCompiler,
    /// The system gives no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}
