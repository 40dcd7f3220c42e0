//! Compiles one component from stdin to stdout in the child, within limits that the child sets before it reads.
//!
//! Reading a component's debug information is as dangerous, and is tried here first; see [`Work`]. The child gives up
//! every right that it does not need. It reports a failure on stderr in a line, and by the exit code.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{
    DumpableBehavior, Pid, Resource, Rlimit, Signal, getppid, getpriority_process, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setpriority_process, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

use crate::runtime::engine::{CodeSettings, engine_hash};
use crate::runtime::{debug_info, wording};

use super::{instances, names};

/// The work of a child: the first of its arguments, which is not a command for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Compiles the component.
    Compile,
    /// Reads all of its debug information, and tells by the exit code whether the limits were enough for that.
    ReadLines,
}

impl Work {
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Compile => "compile-component",
            Self::ReadLines => "read-debug-info",
        }
    }
}

/// Whether this program's `main` checks if the process is a child.
static ANSWERS: AtomicBool = AtomicBool::new(false);

/// Address space beyond the allowed memory, for the program itself and its libraries.
const PROGRAM: u64 = 512 << 20;

/// Stack in bytes, as a main thread usually has.
const STACK: u64 = 8 << 20;

/// The same low priority as the host's loading threads, whatever thread started the child.
const PRIORITY: i32 = 10;

/// Compiles, if this process was started as a compiler.
///
/// It must be called first in `main`, before there are threads and files. If it returns a code, the process must exit
/// with it.
pub fn compile_if_asked() -> Option<ExitCode> {
    ANSWERS.store(true, Ordering::Relaxed);
    let mut args = std::env::args_os().skip(1);
    let command = args.next()?;
    let work = [Work::Compile, Work::ReadLines].into_iter().find(|work| command == work.command())?;
    let exit = match ChildArgs::parse(args) {
        Some(brief) => confined(work, &brief),
        None => Err(Exit::NotSetUp.because("this command is for hosts, which start it by themselves")),
    };
    Some(match exit {
        Ok(()) => Exit::Done.into(),
        Err((exit, reason)) => {
            // Fails if the host is gone, which then needs no reason.
            let _ = writeln!(io::stderr(), "{reason}");
            exit.into()
        }
    })
}

/// Returns whether a child of this program would compile.
pub(super) fn answers() -> bool {
    ANSWERS.load(Ordering::Relaxed)
}

/// The arguments of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChildArgs {
    /// See [`CodeSettings`].
    pub(super) reservation: u64,
    /// The most memory, in bytes.
    pub(super) memory: u64,
    /// The most processor time, in seconds.
    pub(super) seconds: u64,
    /// The most compiled code, in bytes.
    pub(super) code: u64,
    /// The host's process, which the child must not outlive.
    pub(super) host: u64,
    /// The hash of the host's engine.
    pub(super) engine: u64,
}

impl ChildArgs {
    pub(super) fn args(self) -> [String; 6] {
        let Self { reservation, memory, seconds, code, host, engine } = self;
        [reservation, memory, seconds, code, host, engine].map(|number| number.to_string())
    }

    fn parse(args: impl Iterator<Item = OsString>) -> Option<Self> {
        let numbers: Option<Vec<u64>> = args.map(|arg| arg.to_str()?.parse().ok()).collect();
        let [reservation, memory, seconds, code, host, engine] = numbers?.try_into().ok()?;
        Some(Self { reservation, memory, seconds, code, host, engine })
    }
}

/// The exit code of a child that ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    Done = 0,
    /// The component is not a valid one.
    Invalid = 10,
    /// Compiling needed more memory than is allowed.
    OutOfMemory = 11,
    /// The code could not be written.
    NoRoom = 12,
    /// The child could not begin.
    NotSetUp = 13,
    /// Any other code: a panic, most likely.
    Unknown = 255,
}

impl Exit {
    pub(super) fn from_code(code: i32) -> Self {
        let known = [Self::Done, Self::Invalid, Self::OutOfMemory, Self::NoRoom, Self::NotSetUp];
        known.into_iter().find(|exit| *exit as i32 == code).unwrap_or(Self::Unknown)
    }

    fn because(self, reason: impl Into<String>) -> (Self, String) {
        (self, reason.into())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

fn confined(work: Work, brief: &ChildArgs) -> Result<(), (Exit, String)> {
    let not_set_up = |error: io::Error| Exit::NotSetUp.because(format!("cannot confine a compiler: {error}"));
    close_inherited_descriptors().map_err(not_set_up)?;
    confine(brief).map_err(not_set_up)?;
    // Set before anything is read that is not the host's.
    std::panic::set_hook(Box::new(|panic| {
        let _ = writeln!(io::stderr(), "{}", panic.payload_as_str().unwrap_or("a panic without words"));
    }));
    match work {
        Work::Compile => compile(brief),
        Work::ReadLines => match debug_info::can_be_read(&component()?) {
            true => Ok(()),
            false => Err(Exit::Invalid.because("there is no debug information in it that makes sense")),
        },
    }
}

fn component() -> Result<Vec<u8>, (Exit, String)> {
    let mut wasm = Vec::new();
    io::stdin().lock().read_to_end(&mut wasm).map_err(not_read)?;
    Ok(wasm)
}

fn compile(brief: &ChildArgs) -> Result<(), (Exit, String)> {
    let engine = engine(brief.reservation)?;
    if engine_hash(&engine) != brief.engine {
        return Err(Exit::NotSetUp.because("the compiler is of another build than the host; restart the host"));
    }
    let code = code(&engine, component()?)?;
    let mut out = io::stdout().lock();
    out.write_all(&code).and_then(|()| out.flush()).map_err(|error| Exit::NoRoom.because(error.to_string()))
}

fn engine(reservation: u64) -> Result<wasmtime::Engine, (Exit, String)> {
    CodeSettings { reservation }.compiling().map_err(|error| Exit::NotSetUp.because(wording::of_error(&error)))
}

fn code(engine: &wasmtime::Engine, wasm: Vec<u8>) -> Result<Vec<u8>, (Exit, String)> {
    let wasm = names::without_endless(wasm.into());
    instances::precompile(engine, &wasm).map_err(|error| match error.is::<wasmtime::OutOfMemory>() {
        true => Exit::OutOfMemory.because(wording::of_error(&error)),
        false => Exit::Invalid.because(wording::of_error(&error)),
    })
}

/// Does in this process, without limits, all that children do with a component, for fuzzing. Returns the size of its
/// code, and whether its debug information can be read.
///
/// # Errors
///
/// The reason that a child would print.
pub fn compile_in_process(wasm: &[u8]) -> Result<(usize, bool), String> {
    // Made once, because making an engine takes longer than reading most of the inputs.
    static ENGINE: LazyLock<Result<wasmtime::Engine, (Exit, String)>> = LazyLock::new(|| engine(1 << 20));
    let readable = debug_info::can_be_read(wasm);
    let engine = ENGINE.as_ref().map_err(|(_, reason)| reason.clone())?;
    let code = code(engine, wasm.to_vec()).map_err(|(_, reason)| reason)?;
    Ok((code.len(), readable))
}

fn not_read(error: io::Error) -> (Exit, String) {
    match error.kind() {
        io::ErrorKind::OutOfMemory => Exit::OutOfMemory.because(error.to_string()),
        _ => Exit::NotSetUp.because(format!("cannot read the component: {error}")),
    }
}

/// Closes descriptors that the host itself inherited, such as a build tool's pipes.
#[expect(unsafe_code, reason = "closing descriptors by number cannot be checked by the compiler; see the proof")]
fn close_inherited_descriptors() -> io::Result<()> {
    // SAFETY: the process has just begun, in `main`, on its only thread: nothing in it has opened a descriptor yet, so
    // that none of those closed belongs to anything. Descriptors 0 to 2 stay.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets the limits. None of them can be lifted again.
fn confine(brief: &ChildArgs) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The signal above is not sent if the host died before it was set.
    if getppid().map(Pid::as_raw_nonzero).is_none_or(|host| u64::try_from(host.get()) != Ok(brief.host)) {
        return Err(io::Error::other("the host is gone"));
    }
    // Makes the system choose this process if the machine runs out of memory. If that fails, the limit still holds.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    give_way();
    rustix::thread::set_no_new_privs(true)?;
    drop_capabilities()?;
    // Makes no core files, and keeps other processes of this user from looking into this one.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // The child gets a signal that tells the reason at the first number, and is killed at the second.
    limit(Resource::Cpu, brief.seconds, brief.seconds.saturating_add(1))?;
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Fsize, brief.code),
        (Resource::Stack, STACK),
        // Memory in real use: its own memory that can be written to.
        (Resource::Data, brief.memory),
        // Everything else that could be mapped.
        (Resource::As, brief.memory.saturating_add(PROGRAM)),
        (Resource::Nproc, 0),
        // No further file or socket: stdin, stdout and stderr are open already.
        (Resource::Nofile, 0),
    ] {
        limit(resource, most, most)?;
    }
    // Set last, so that a process seen under this name is confined.
    Ok(rustix::thread::set_name(c"sexton-compile")?)
}

/// Lowers the priority of this process to [`PRIORITY`]. A priority that is lower still stays: only a child of root could
/// raise it, and its host was told to give way to others.
fn give_way() {
    // If it fails, the child competes with the host as an equal. Its limits still hold.
    if getpriority_process(None).is_ok_and(|niceness| niceness < PRIORITY) {
        let _ = setpriority_process(None, PRIORITY);
    }
}

/// Gives up what a child of root, or of a host with capabilities, could do beyond its user's own files. This is
/// permanent, because the process can gain no new privileges.
fn drop_capabilities() -> io::Result<()> {
    // Goes up to the last capability that this system knows. Only a process with the right to change the set can do so,
    // and a process without that right has none to gain.
    for number in 0..u64::BITS {
        if remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)).is_err() {
            break;
        }
    }
    // On systems that have an ambient set, it is emptied with the permitted one in any case.
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

/// Limits a resource, or leaves it at less if it was limited to that before.
fn limit(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let before = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    Ok(setrlimit(resource, Rlimit { current: Some(current.min(before)), maximum: Some(maximum.min(before)) })?)
}

#[cfg(test)]
mod tests {
    use rustix::process::{getpriority_process, setpriority_process};

    use super::{ChildArgs, Exit, PRIORITY, give_way};

    #[test]
    fn a_child_never_has_a_higher_priority_than_its_host() {
        // On Linux the calls are about the thread, and a new thread begins where the test is.
        let lowered_from = |niceness: i32| {
            let thread = std::thread::spawn(move || {
                setpriority_process(None, niceness).expect("it is not raised");
                give_way();
                getpriority_process(None).unwrap()
            });
            thread.join().unwrap()
        };

        let now = getpriority_process(None).unwrap();
        assert_eq!(lowered_from(now), now.max(PRIORITY));
        assert_eq!(lowered_from(15.max(now)), 15.max(now));
        assert_eq!(lowered_from(19), 19);
    }

    #[test]
    fn a_brief_arrives_unchanged() {
        let brief = ChildArgs { reservation: 4 << 30, memory: 1, seconds: 2, code: 3, host: 4, engine: u64::MAX };

        let arrived = ChildArgs::parse(brief.args().into_iter().map(Into::into));

        assert_eq!(arrived, Some(brief));
    }

    #[test]
    fn malformed_briefs_are_refused() {
        for args in ["", "1 2 3 4 5", "1 2 3 4 5 6 7", "1 2 3 4 5 six", "1 2 3 4 5 -6"] {
            assert_eq!(ChildArgs::parse(args.split_whitespace().map(Into::into)), None, "{args}");
        }
    }

    #[test]
    fn an_exit_is_recognized_by_its_code() {
        for exit in [Exit::Done, Exit::Invalid, Exit::OutOfMemory, Exit::NoRoom, Exit::NotSetUp] {
            assert_eq!(Exit::from_code(exit as i32), exit);
        }
        assert_eq!(Exit::from_code(101), Exit::Unknown);
    }
}
