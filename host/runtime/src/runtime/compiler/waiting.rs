//! Waits for a child while it computes, or for its turn.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::cpu_time::process_time;
use crate::runtime::compiler::{Failure, host_failure};
use crate::runtime::components::LoadError;
use sexton_domain::lengths;

/// Time between two checks whether the code is still wanted. The child's end is noticed at once.
const LOOK: Duration = Duration::from_millis(100);

/// The most bytes of a child's words that are read.
const WORDS: usize = 4 << 10;

/// The conditions that end the wait for a child.
#[derive(Debug)]
pub(super) struct Patience {
    child: u32,
    /// The processor time after which the child's turn is over; `None` if it may use all that its limits allow.
    turn: Option<Duration>,
    /// A child that computes nothing for this long is stopped.
    standstill: Duration,
    /// The child's processor time when it was last read.
    used: Duration,
    /// When the child is stopped unless `used` grows.
    until: Instant,
}

impl Patience {
    pub(super) fn new(child: u32, turn: Option<Duration>, standstill: Duration) -> Self {
        Self { child, turn, standstill, used: Duration::ZERO, until: Instant::now() + standstill }
    }

    /// Returns the time that is left.
    ///
    /// # Errors
    ///
    /// If no time is left: [`Failure::TurnOver`], or an error for a child that stands still.
    fn left(&mut self) -> Result<Duration, Failure> {
        let now = Instant::now();
        // If the system does not tell the processor time, the child has one standstill for all of its work.
        if let Some(used) = process_time(self.child).filter(|used| *used > self.used) {
            (self.used, self.until) = (used, now + self.standstill);
        }
        if self.turn.is_some_and(|turn| self.used >= turn) {
            return Err(Failure::TurnOver);
        }
        let left = self.until.saturating_duration_since(now);
        if left.is_zero() {
            let period = lengths::exact(self.standstill);
            let reason = format!("the compiler computed nothing for {period}, and did not end");
            return Err(Failure::Error(LoadError::NotCompiled(reason)));
        }
        Ok(left)
    }
}

/// Reads what a child says until it ends, up to [`WORDS`] bytes.
pub(super) fn listen(
    said: &mut UnixStream,
    mut patience: Patience,
    wanted: impl Fn() -> bool,
) -> Result<Vec<u8>, Failure> {
    let mut words = Vec::new();
    let mut buffer = [0; 1 << 10];
    loop {
        let left = patience.left()?;
        if !wanted() {
            return Err(Failure::Unwanted);
        }
        said.set_read_timeout(Some(left.min(LOOK))).map_err(host_failure)?;
        match said.read(&mut buffer) {
            Ok(0) => return Ok(words),
            Ok(n) => words.extend_from_slice(&buffer[..n.min(WORDS.saturating_sub(words.len()))]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(host_failure(error)),
        }
    }
}

/// Ends a child and what it may have started, and waits until it is gone. Returns its status and its processor time.
pub(super) fn end(child: &mut Child) -> io::Result<(ExitStatus, Option<Duration>)> {
    let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return Ok((child.wait()?, None)) };
    // Fails if the child ended by itself and was alone. Its number stays its own until it is waited for.
    let _ = kill_process_group(group, Signal::KILL);
    // The child's processor time can be read until it is waited for.
    let _ = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    let used = process_time(child.id());
    Ok((child.wait()?, used))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::Command;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Starts a child like the host: in a group of its own.
    fn child(program: &str) -> Child {
        Command::new("sh").args(["-c", program]).process_group(0).spawn().unwrap()
    }

    #[test]
    fn a_child_is_heard_while_wanted_and_up_to_a_number_of_bytes() {
        let (mut said, says) = UnixStream::pair().unwrap();
        let patience = || Patience::new(std::process::id(), None, HOUR);

        let unwanted = listen(&mut said, patience(), || false);
        std::thread::spawn(move || {
            use std::io::Write;
            (&says).write_all(&[b'x'; 1 << 20]).unwrap();
        });
        let words = listen(&mut said, patience(), || true);

        assert_eq!(unwanted, Err(Failure::Unwanted));
        assert_eq!(words.map(|words| words.len()), Ok(WORDS));
    }

    #[test]
    fn a_computing_child_is_waited_for_until_its_turn_is_over() {
        let (mut said, _says) = UnixStream::pair().unwrap();
        let turn = Duration::from_millis(200);
        let mut busy = child("while :; do :; done");

        // Only its own processor time ends it, however long it waits for a processor.
        let over = listen(&mut said, Patience::new(busy.id(), Some(turn), HOUR), || true);
        let (status, used) = end(&mut busy).unwrap();

        assert_eq!((over, status.signal()), (Err(Failure::TurnOver), Some(9)));
        assert!(used >= Some(turn), "{used:?}");
    }

    #[test]
    fn a_child_that_neither_computes_nor_ends_is_stopped_without_blame_for_its_component() {
        let (mut said, _says) = UnixStream::pair().unwrap();
        let mut idle = child("exec sleep 3600");

        let standstill = listen(&mut said, Patience::new(idle.id(), None, Duration::from_millis(200)), || true);
        end(&mut idle).unwrap();

        let Err(Failure::Error(error)) = standstill else { panic!("{standstill:?}") };
        assert!(error.is_temporary() && error.to_string().contains("computed nothing for 200ms"), "{error}");
    }

    #[test]
    fn a_child_that_computes_renews_the_patience() {
        let mut busy = child("while :; do :; done");
        // Long enough that even a busy machine gives the child a processor in that time.
        let mut patience = Patience::new(busy.id(), None, Duration::from_secs(5));
        let first = patience.until;

        while patience.used.is_zero() {
            std::thread::sleep(patience.left().unwrap().min(LOOK)); // like `listen` with a silent child
        }
        end(&mut busy).unwrap();

        assert!(patience.until > first);
    }
}
