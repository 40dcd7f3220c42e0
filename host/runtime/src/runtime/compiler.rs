//! Compiles components apart: each in a child process with limits on processor time, memory and size.
//!
//! Parsing and compiling are neither fuelled nor interruptible, and both can be made to take for ever, or all memory.
//! So the host does neither: it hands the bytes to a child, waits for it while it computes, and loads the result. The
//! child sets its own limits in [`child`].
//!
//! A limit on time counts processor time, because a machine that has other work to do makes every child slower in
//! elapsed time, which is no fault of the component.

pub(super) mod child;
pub(super) mod instances;
pub(super) mod names;
mod waiting;

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::cpu_time::Effort;

use super::components::LoadError;
use super::config::{CompileLimits, Compiler, RuntimeError};
use super::engine::{CodeSettings, engine_hash};
use super::wording;
use child::{ChildArgs, Exit, Work};
use waiting::{Patience, end, listen};

/// This very program, even if its file was replaced since it was started.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// A child that neither computes nor ends is stopped after this many times its allowed processor time has elapsed. A
/// busy machine delays a child by less than this.
const STANDSTILL: u32 = 10;

/// The most bytes of compiled code for each byte that a component may have. Code is usually 2 to 4 times as large as
/// the instructions it is made from.
const CODE_PER_BYTE: u64 = 16;

/// The limits for reading debug information. That of honest compilers takes some ten milliseconds, and memory of a few
/// times the size of the component's file.
const LINES: CompileLimits = CompileLimits { time: Duration::from_secs(2), memory: 128 << 20 };

impl Compiler {
    /// Compiles in children of this very program.
    pub fn this_program(limits: CompileLimits) -> Self {
        Self::Apart { program: THIS_PROGRAM.into(), limits }
    }

    /// Makes the [`Apart`] for this engine and components of up to `max_component` bytes; returns `None` if components
    /// are compiled in this process.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::NoCompiler`] if children of this program would run its usual `main` instead of compiling.
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

/// The reason that there is no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Compiling was not done when its turn was over.
    TurnOver,
    /// The code is not wanted any more.
    Unwanted,
    /// There was no room to write the code, for a reason of one line.
    NoRoom(String),
    /// Anything else went wrong.
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
    /// The hash of the host's engine, which the child's engine must match.
    pub(super) engine: u64,
}

impl Apart {
    /// Compiles `wasm` into `code`, and gives up when the child's turn is over (if it has one), or when the code is not
    /// `wanted` any more.
    ///
    /// It must be called on a plain thread that lives on, because the child dies with the thread that started it.
    pub(super) fn compile(
        &self,
        wasm: &File,
        code: File,
        turn: Option<Duration>,
        wanted: impl Fn() -> bool,
    ) -> Result<(), Failure> {
        let wait = Wait { turn, wanted, effort: &Effort::default() };
        let end = self.child(Work::Compile, self.limits, (wasm, code.into()), wait)?;
        self.judge(&end)
    }

    /// Returns whether all of the debug information in `wasm` can be read within limits. The child's processor time is
    /// added to `effort` while it runs.
    ///
    /// It must be called where blocking is allowed: it blocks while the child runs, within [`LINES`].
    ///
    /// # Errors
    ///
    /// If the machine did not let the child run, which says nothing about the component.
    pub(super) fn can_read_lines(&self, wasm: &File, effort: &Effort) -> Result<bool, Failure> {
        let wait = Wait { turn: None, wanted: || true, effort };
        let end = self.child(Work::ReadLines, LINES, (wasm, Stdio::null()), wait)?;
        let killed = end.status.signal() == Some(Signal::KILL.as_raw());
        // The system or a person killed the child, rather than its own limit.
        if killed && !end.used_all_time(LINES.time) {
            return Err(host_failure(crash(end.status, "")));
        }
        Ok(end.status.success())
    }

    /// Has a child do `work` with `wasm`, and returns how that ended.
    fn child(
        &self,
        work: Work,
        limits: CompileLimits,
        (mut wasm, out): (&File, Stdio),
        wait: Wait<'_, impl Fn() -> bool>,
    ) -> Result<End, Failure> {
        wasm.rewind().map_err(host_failure)?;
        let input = wasm.try_clone().map_err(host_failure)?;
        let (mut said, says) = UnixStream::pair().map_err(host_failure)?;
        let mut child = self.start(work, limits, (input, out, says)).map_err(host_failure)?;
        wait.effort.child_begins(child.id());
        let patience = Patience::new(child.id(), wait.turn, limits.time * STANDSTILL);
        let said = listen(&mut said, patience, wait.wanted);
        // Ends the child in any case, so that nothing of it is left behind. A child that ended by itself keeps its own
        // status.
        let ended = end(&mut child);
        wait.effort.child_ended(ended.as_ref().map_or(None, |(_, used)| *used));
        let (status, used) = ended.map_err(host_failure)?;
        Ok(End { status, used, said: said? })
    }

    fn start(
        &self,
        work: Work,
        limits: CompileLimits,
        (wasm, out, says): (File, Stdio, UnixStream),
    ) -> io::Result<Child> {
        let brief = ChildArgs {
            reservation: self.settings.reservation,
            memory: limits.memory,
            seconds: limits.time.as_secs() + u64::from(limits.time.subsec_nanos() > 0),
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
            // Keeps a terminal's signals away from the child; they are for the host.
            .process_group(0)
            .stdin(wasm)
            .stdout(out)
            .stderr(Stdio::from(OwnedFd::from(says)))
            .spawn()
    }

    /// Judges the end of a child.
    fn judge(&self, end: &End) -> Result<(), Failure> {
        let status = end.status;
        let said = wording::line(&String::from_utf8_lossy(&end.said));
        let CompileLimits { time, memory } = self.limits;
        let error = match (status.code().map(Exit::from_code), status.signal().and_then(Signal::from_named_raw)) {
            (Some(Exit::Done), _) => return Ok(()),
            (Some(Exit::NoRoom), _) => return Err(Failure::NoRoom(said)),
            (Some(Exit::Invalid), _) => LoadError::Invalid(said),
            (Some(Exit::NotSetUp), _) => LoadError::NotCompiled(said),
            (Some(Exit::OutOfMemory), _) => LoadError::TooMuchMemory { limit: memory },
            // The standard library prints this before it aborts.
            (None, Some(Signal::ABORT)) if said.contains("memory allocation of") => {
                LoadError::TooMuchMemory { limit: memory }
            }
            (None, Some(Signal::XCPU)) => LoadError::TooSlow { limit: time },
            // The last limit, a second later, kills a child that the first signal does not end.
            (None, Some(Signal::KILL)) if end.used_all_time(time) => LoadError::TooSlow { limit: time },
            (None, Some(Signal::XFSZ)) => LoadError::TooMuchCode { limit: self.most_code },
            (None, Some(signal)) if !is_self_inflicted(signal) => LoadError::Ended(crash(status, &said)),
            _ => LoadError::Crashed(crash(status, &said)),
        };
        Err(Failure::Error(error))
    }
}

/// The conditions under which a child is waited for.
struct Wait<'a, W> {
    /// Processor time after which the child's turn is over; `None` if it may use all that its limits allow.
    turn: Option<Duration>,
    /// Tells whether a caller still waits for the result.
    wanted: W,
    /// Sum to which the child's processor time is added.
    effort: &'a Effort,
}

/// The end of a child.
#[derive(Debug)]
struct End {
    status: ExitStatus,
    /// Processor time; `None` if the system does not say.
    used: Option<Duration>,
    /// Its stderr, up to a limit.
    said: Vec<u8>,
}

impl End {
    /// Returns whether the child used all of its allowed processor time.
    fn used_all_time(&self, limit: Duration) -> bool {
        self.used.is_some_and(|used| used >= limit)
    }
}

/// Returns whether a child causes this signal by its own actions. Others are sent to it: by the system when the machine
/// has no memory left, or by people.
fn is_self_inflicted(signal: Signal) -> bool {
    let own = [Signal::ABORT, Signal::BUS, Signal::FPE, Signal::ILL, Signal::SEGV, Signal::SYS, Signal::TRAP];
    own.contains(&signal)
}

fn crash(status: ExitStatus, said: &str) -> String {
    let end = status.to_string().replace("signal: ", "signal ").replace("exit status: ", "exit status ");
    match (status.signal(), said) {
        (Some(9), _) => format!("{end}; most likely the machine had no memory left"),
        (_, "") => end,
        (_, said) => format!("{end}; it said: {said}"),
    }
}

/// Makes the failure for the host's own trouble with a child.
fn host_failure(error: impl std::fmt::Display) -> Failure {
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
        let ended = |text: &str| LoadError::Ended(text.into());
        let judge = |status, said: &str, used| apart.judge(&End { status, used, said: said.into() });
        let little = Some(Duration::from_secs(1));

        for (status, said, expected) in [
            (code(10), "bad\n magic", LoadError::Invalid("bad magic".into())),
            (code(11), "", LoadError::TooMuchMemory { limit: 1 << 30 }),
            (signal(6), "memory allocation of 8 bytes failed", LoadError::TooMuchMemory { limit: 1 << 30 }),
            (code(13), "no limits", LoadError::NotCompiled("no limits".into())),
            (signal(24), "", LoadError::TooSlow { limit: Duration::from_secs(60) }),
            (signal(25), "", LoadError::TooMuchCode { limit: 1 << 20 }),
            (signal(11), "", crashed("signal 11 (SIGSEGV)")),
            (signal(6), "stack overflow", crashed("signal 6 (SIGABRT); it said: stack overflow")),
            (signal(9), "", ended("signal 9 (SIGKILL); most likely the machine had no memory left")),
            (signal(15), "", ended("signal 15 (SIGTERM)")),
            (code(101), "index out of bounds", crashed("exit status 101; it said: index out of bounds")),
        ] {
            assert_eq!(judge(status, said, little), Err(Failure::Error(expected)), "{status} {said}");
        }
        assert_eq!(judge(code(0), "", little), Ok(()));
        assert_eq!(judge(code(12), "disk full", little), Err(Failure::NoRoom("disk full".into())));
    }

    #[test]
    fn a_child_that_is_killed_at_its_last_limit_was_too_slow() {
        let end = |used| End { status: ExitStatus::from_raw(9), used, said: Vec::new() };
        let too_slow = LoadError::TooSlow { limit: Duration::from_secs(60) };

        let judged = |used| apart().judge(&end(used)).unwrap_err();

        assert_eq!(judged(Some(Duration::from_secs(60))), Failure::Error(too_slow.clone()));
        assert_ne!(judged(Some(Duration::from_secs(59))), Failure::Error(too_slow.clone()));
        assert_ne!(judged(None), Failure::Error(too_slow));
    }

    #[test]
    fn a_missing_compiler_is_no_fault_of_the_component() {
        let (wasm, code) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());

        let failure = apart().compile(&wasm, code, None, || true).unwrap_err();

        let Failure::Error(error) = failure else { panic!("{failure:?}") };
        assert!(error.is_temporary() && error.to_string().contains("cannot run a compiler"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_compile_components_is_not_started() {
        let limits = CompileLimits { time: Duration::from_secs(60), memory: 1 << 30 };

        let (engine, settings) = (wasmtime::Engine::default(), CodeSettings { reservation: 0 });
        let apart = |compiler: Compiler| compiler.apart(&engine, settings, 1 << 20);

        // The `main` of this test is the test harness's.
        assert!(matches!(apart(Compiler::this_program(limits)), Err(RuntimeError::NoCompiler)));
        assert!(matches!(apart(Compiler::InProcess), Ok(None)));
        assert!(matches!(apart(Compiler::Apart { program: "/bin/sexton".into(), limits }), Ok(Some(_))));
    }
}
