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
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::RuntimeError;
use super::code_cache::engine_hash;
use super::components::{LoadError, clipped};
use super::engine::CodeSettings;
use child::{Brief, Exit, Work};

/// This very program, even if its file was replaced since it was started.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How often to look whether somebody still waits for what is compiled. Its end is noticed at once.
const LOOK: Duration = Duration::from_millis(100);

/// The most of a child's words that are read, in bytes.
const WORDS: usize = 4 << 10;

/// Compiled code that is kept, in bytes, for each byte that a component may have. It is usually 2 to 4 times as large as
/// the instructions it is made from.
const CODE_PER_BYTE: u64 = 16;

/// What reading debug information may use. What comes from honest compilers takes some ten milliseconds, and a few times
/// the size of the component's file.
const LINES: CompileLimits = CompileLimits { time: Duration::from_secs(2), memory: 128 << 20 };

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

    /// What starts the children, for this engine and components of up to so many bytes; `None` if there are to be none.
    ///
    /// # Errors
    ///
    /// If children of this program would not compile, but do whatever else it does.
    pub(super) fn apart(
        &self,
        engine: &wasmtime::Engine,
        settings: CodeSettings,
        max_component: u64,
    ) -> Result<Option<Arc<Apart>>, RuntimeError> {
        let Self::Apart { program, limits } = self.clone() else { return Ok(None) };
        if program.as_os_str() == THIS_PROGRAM && !child::answers() {
            return Err(RuntimeError::NoCompiler);
        }
        let most_code = max_component.saturating_mul(CODE_PER_BYTE);
        Ok(Some(Arc::new(Apart { program, limits, most_code, settings, engine: engine_hash(engine) })))
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
        wasm: &File,
        code: File,
        time: Duration,
        wanted: impl Fn() -> bool,
    ) -> Result<(), Failure> {
        let (status, said) = self.child(Work::Compile, self.limits, time, (wasm, code.into()), wanted)?;
        self.judge(status, &said)
    }

    /// Whether all of the debug information in `wasm` can be read within limits.
    ///
    /// To be called where waiting is allowed: it takes as long as that, and [`LINES`] at most.
    pub(super) fn can_read_lines(&self, wasm: &File) -> bool {
        let read = self.child(Work::ReadLines, LINES, LINES.time, (wasm, Stdio::null()), || true);
        read.is_ok_and(|(status, _)| status.success())
    }

    /// Have a child do something with `wasm`; how it ended, and what it said.
    fn child(
        &self,
        work: Work,
        limits: CompileLimits,
        time: Duration,
        (mut wasm, out): (&File, Stdio),
        wanted: impl Fn() -> bool,
    ) -> Result<(ExitStatus, Vec<u8>), Failure> {
        let until = Instant::now() + time;
        wasm.rewind().map_err(trouble)?;
        let input = wasm.try_clone().map_err(trouble)?;
        let (mut said, says) = UnixStream::pair().map_err(trouble)?;
        let mut child = self.start(work, limits, (input, out, says)).map_err(trouble)?;
        let said = listen(&mut said, until, wanted);
        // Whatever became of it, nothing of it is left behind. One that ended by itself keeps its own status.
        let status = end(&mut child).map_err(trouble)?;
        Ok((status, said?))
    }

    fn start(
        &self,
        work: Work,
        limits: CompileLimits,
        (wasm, out, says): (File, Stdio, UnixStream),
    ) -> io::Result<Child> {
        let brief = Brief {
            reservation: self.settings.reservation,
            memory: limits.memory,
            // The clock decides. This is for a host that cannot, and for more than one thread.
            seconds: limits.time.as_secs().saturating_add(2),
            code: self.most_code,
            host: u64::from(std::process::id()),
            engine: self.engine,
        };
        Command::new(&self.program)
            .arg0("sexton")
            .arg(work.command())
            .args(brief.args())
            .env_clear()
            .current_dir("/")
            // Signals of a terminal are for the host.
            .process_group(0)
            .stdin(wasm)
            .stdout(out)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn apart() -> Apart {
        let limits = CompileLimits { time: Duration::from_secs(60), memory: 1 << 30 };
        let settings = CodeSettings { reservation: 0 };
        Apart { program: "/nowhere/sexton".into(), limits, most_code: 1 << 20, settings, engine: 0 }
    }

    #[test]
    fn each_end_of_a_child_has_its_own_meaning() {
        let (apart, signal, code) = (apart(), ExitStatus::from_raw, |code: i32| ExitStatus::from_raw(code << 8));
        let crashed = |text: &str| LoadError::Crashed(text.into());

        for (status, said, expected) in [
            (code(10), "bad\n magic", LoadError::Invalid("bad magic".into())),
            (code(11), "", LoadError::TooMuchMemory { limit: 1 << 30 }),
            (signal(6), "memory allocation of 8 bytes failed", LoadError::TooMuchMemory { limit: 1 << 30 }),
            (code(13), "no limits", LoadError::NotCompiled("no limits".into())),
            (signal(24), "", LoadError::TooSlow { limit: Duration::from_secs(60) }),
            (signal(25), "", LoadError::TooMuchCode { limit: 1 << 20 }),
            (signal(11), "", crashed("signal 11 (SIGSEGV)")),
            (signal(6), "stack overflow", crashed("signal 6 (SIGABRT); it said: stack overflow")),
            (signal(9), "", crashed("signal 9 (SIGKILL); was the machine out of memory?")),
            (code(101), "index out of bounds", crashed("exit status 101; it said: index out of bounds")),
        ] {
            assert_eq!(apart.judge(status, said.as_bytes()), Err(Failure::Error(expected)), "{status} {said}");
        }
        assert_eq!(apart.judge(code(0), b""), Ok(()));
        assert_eq!(apart.judge(code(12), b"disk full"), Err(Failure::NoRoom("disk full".into())));
    }

    #[test]
    fn a_program_that_is_not_there_is_no_fault_of_the_component() {
        let (wasm, code) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());

        let failure = apart().compile(&wasm, code, Duration::from_secs(60), || true).unwrap_err();

        let Failure::Error(error) = failure else { panic!("{failure:?}") };
        assert!(error.may_pass() && error.to_string().contains("cannot run a compiler"), "{error}");
    }

    #[test]
    fn a_child_that_says_nothing_or_too_much_is_waited_for_no_longer_than_it_may_take() {
        let (mut said, says) = UnixStream::pair().unwrap();

        let silent = listen(&mut said, Instant::now() + Duration::from_millis(50), || true);
        let unwanted = listen(&mut said, Instant::now() + Duration::from_secs(3600), || false);
        std::thread::spawn(move || {
            use std::io::Write;
            (&says).write_all(&[b'x'; 1 << 20]).unwrap();
        });
        let words = listen(&mut said, Instant::now() + Duration::from_secs(3600), || true);

        assert_eq!((silent, unwanted), (Err(Failure::OutOfTime), Err(Failure::Unwanted)));
        assert_eq!(words.map(|words| words.len()), Ok(WORDS));
    }

    #[test]
    fn a_program_that_would_not_compile_is_not_started() {
        let limits = CompileLimits { time: Duration::from_secs(60), memory: 1 << 30 };

        let (engine, settings) = (wasmtime::Engine::default(), CodeSettings { reservation: 0 });
        let apart = |compiler: Compiler| compiler.apart(&engine, settings, 1 << 20);

        // This test's own `main` is the test harness's.
        assert!(matches!(apart(Compiler::this_program(limits)), Err(RuntimeError::NoCompiler)));
        assert!(matches!(apart(Compiler::InProcess), Ok(None)));
        assert!(matches!(apart(Compiler::Apart { program: "/bin/sexton".into(), limits }), Ok(Some(_))));
    }
}
