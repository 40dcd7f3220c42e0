//! Compiles components apart: each in a child process with limits on time, memory and size.
//!
//! Parsing and compiling are neither fuelled nor interruptible, and both can be made to take for ever, or all memory. So
//! the host does neither: it hands the bytes to a child, waits no longer than it may take, and loads what comes back. What
//! the child does about its own limits is in [`child`].

pub(super) mod child;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::RuntimeError;
use super::components::{LoadError, clipped};
use super::engine::CodeSettings;
use child::{Brief, Exit};

/// This very program, even if its file was replaced since it was started.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How often to look whether somebody still waits for what is compiled. Its end is noticed at once.
const LOOK: Duration = Duration::from_millis(100);

/// The most of a child's words that are read, in bytes.
const WORDS: usize = 4 << 10;

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
    /// How long it may take, by the clock and in processor time.
    pub time: Duration,
    /// Memory of the child, in bytes. The program itself needs a few MiB of it.
    pub memory: u64,
}

impl Compiler {
    /// In children of this very program.
    pub fn this_program(limits: CompileLimits) -> Self {
        Self::Apart { program: THIS_PROGRAM.into(), limits }
    }

    /// Check that there is such a compiler.
    ///
    /// # Errors
    ///
    /// If children of this program would not compile, but do whatever else it does.
    pub(super) fn check(&self) -> Result<(), RuntimeError> {
        match self {
            Self::Apart { program, .. } if program.as_os_str() == THIS_PROGRAM && !child::answers() => {
                Err(RuntimeError::NoCompiler)
            }
            _ => Ok(()),
        }
    }
}

/// Why there is no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It was stopped after the time that it was given.
    OutOfTime,
    /// Nobody waits for it any more.
    Unwanted,
    /// There was no room to write the code. One line.
    NoRoom(String),
    /// Anything else.
    Error(LoadError),
}

/// Starts children that compile.
#[derive(Debug)]
pub(super) struct Apart {
    pub(super) program: PathBuf,
    pub(super) limits: CompileLimits,
    /// The largest compiled code, in bytes.
    pub(super) most_code: u64,
    pub(super) settings: CodeSettings,
    /// The hash of the host's engine, which that of the child must match.
    pub(super) engine: u64,
}

impl Apart {
    /// Compile `wasm` into `code`, and wait for it no longer than `time`, and no longer than it is `wanted`.
    ///
    /// To be called on a plain thread that lives on: the child dies with the thread that started it.
    pub(super) fn compile(
        &self,
        mut wasm: &File,
        code: File,
        time: Duration,
        wanted: impl Fn() -> bool,
    ) -> Result<(), Failure> {
        let until = Instant::now() + time;
        wasm.rewind().map_err(trouble)?;
        let input = wasm.try_clone().map_err(trouble)?;
        let (mut said, says) = UnixStream::pair().map_err(trouble)?;
        let mut child = self.start(input, code, says).map_err(trouble)?;
        let said = listen(&mut said, until, wanted);
        // Whatever became of it, nothing of it is left behind. One that ended by itself keeps its own status.
        let status = end(&mut child).map_err(trouble)?;
        self.judge(status, &said?)
    }

    fn start(&self, wasm: File, code: File, says: UnixStream) -> io::Result<Child> {
        let brief = Brief {
            reservation: self.settings.reservation,
            memory: self.limits.memory,
            // The clock decides. This is for a host that cannot, and for more than one thread.
            seconds: self.limits.time.as_secs().saturating_add(2),
            code: self.most_code,
            host: u64::from(std::process::id()),
            engine: self.engine,
        };
        Command::new(&self.program)
            .arg0("sexton")
            .arg(child::COMMAND)
            .args(brief.args())
            .env_clear()
            .current_dir("/")
            // Signals of a terminal are for the host.
            .process_group(0)
            .stdin(wasm)
            .stdout(code)
            .stderr(Stdio::from(OwnedFd::from(says)))
            .spawn()
    }

    /// What an end means.
    fn judge(&self, status: ExitStatus, said: &[u8]) -> Result<(), Failure> {
        let said = clipped(&String::from_utf8_lossy(said));
        let CompileLimits { time, memory } = self.limits;
        let error = match (status.code().map(Exit::from_code), status.signal().and_then(Signal::from_named_raw)) {
            (Some(Exit::Done), _) => return Ok(()),
            (Some(Exit::NoRoom), _) => return Err(Failure::NoRoom(said)),
            (Some(Exit::Invalid), _) => LoadError::Invalid(said),
            (Some(Exit::NotSetUp), _) => LoadError::NotCompiled(said),
            (Some(Exit::OutOfMemory), _) => LoadError::TooMuchMemory { limit: memory },
            // How the standard library says it before it aborts.
            (None, Some(Signal::ABORT)) if said.contains("memory allocation of") => {
                LoadError::TooMuchMemory { limit: memory }
            }
            (None, Some(Signal::XCPU)) => LoadError::TooSlow { limit: time },
            (None, Some(Signal::XFSZ)) => LoadError::TooMuchCode { limit: self.most_code },
            _ => LoadError::Crashed(crash(status, &said)),
        };
        Err(Failure::Error(error))
    }
}

/// What a child says until it ends, as far as that is read.
fn listen(said: &mut UnixStream, until: Instant, wanted: impl Fn() -> bool) -> Result<Vec<u8>, Failure> {
    let mut words = Vec::new();
    let mut buffer = [0; 1 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::OutOfTime);
        }
        if !wanted() {
            return Err(Failure::Unwanted);
        }
        said.set_read_timeout(Some(left.min(LOOK))).map_err(trouble)?;
        match said.read(&mut buffer) {
            Ok(0) => return Ok(words),
            Ok(n) => words.extend_from_slice(&buffer[..n.min(WORDS.saturating_sub(words.len()))]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(trouble(error)),
        }
    }
}

/// End a child and what it may have started, and wait until it is gone.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Not there any more, if it ended by itself and was alone: its number is its own until it was waited for.
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.wait()
}

fn crash(status: ExitStatus, said: &str) -> String {
    let end = status.to_string().replace("signal: ", "signal ").replace("exit status: ", "exit status ");
    match (status.signal(), said) {
        (Some(9), _) => format!("{end}; was the machine out of memory?"),
        (_, "") => end,
        (_, said) => format!("{end}; it said: {said}"),
    }
}

/// The host's own trouble with a child.
fn trouble(error: impl std::fmt::Display) -> Failure {
    Failure::Error(LoadError::NotCompiled(format!("cannot run a compiler: {error}")))
}
