//! Describes how a runtime is set up, and why setting it up may fail.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of a runtime.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// The directory that keeps compiled code, by digest. Only this host may be able to write there, because the code
    /// is executed.
    pub code_cache: PathBuf,
    /// Threads that run guests. Fewer than cores starves guests, more makes them fight; 0 is one per core.
    pub guest_threads: usize,
    /// The number of runs at once, and of instances for which memory is reserved.
    pub slots: u32,
    /// The most memory that any task may be given, in bytes (address space is reserved for it, per slot).
    pub max_memory: u64,
    /// Time between two ticks, which ask guests to yield. A longer one means less overhead, and later ends.
    pub tick: Duration,
    /// The largest component file that is read, in bytes.
    pub max_component: u64,
    /// The place where components are compiled.
    pub compiler: Compiler,
}

/// The place where components are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// Each in a child process of its own.
    Apart {
        /// The program to start: `sexton` of the same build, or another whose `main` begins with
        /// [`compile_if_asked`](super::compile_if_asked).
        program: PathBuf,
        /// The limits of each child.
        limits: CompileLimits,
    },
    /// In this process, without limits. Only for trusted components: a bad one can stall the process, or exhaust its
    /// memory so that it is killed.
    InProcess,
}

/// The limits for compiling one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Processor time, rounded up to whole seconds.
    pub time: Duration,
    /// Memory of the child, in bytes. The program itself needs a few MiB of it.
    pub memory: u64,
}

/// The reason that a runtime cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// wasmtime makes no engine, most likely because so much address space cannot be reserved.
    #[error(
        "cannot reserve the address space for {slots} slots of up to {} each: {reason}; lower `[runtime] slots` or `max-memory`, or lift the limit of \
         address space (`ulimit -v unlimited`, in a unit `LimitAS=infinity`)",
        bytesize::ByteSize(*max_memory).display().iec()
    )]
    Engine {
        /// The configured slots.
        slots: u32,
        /// The configured memory, in bytes.
        max_memory: u64,
        /// wasmtime's error.
        reason: String,
    },
    /// The directory for compiled code cannot be used.
    #[error("cannot use `{}` for compiled code", path.display())]
    CodeCache {
        /// The directory.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The `main` of this program would not compile components.
    #[error(
        "this program cannot compile components apart: its `main` must begin with `sexton_runtime::runtime::compile_if_asked`"
    )]
    NoCompiler,
    /// The system gives no more threads.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}
