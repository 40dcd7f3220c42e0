//! Decides how an attempt ended: from what the guest returned, a trap, or what ended it. No other place does.

use std::time::Duration;

use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::attempt::stack::Stack;
use crate::attempt::{ChargeError, Interrupt, InterruptReason, Stop};
use sexton_domain::lengths;
use sexton_domain::lifecycle::Ending;
use sexton_domain::run::{Outcome, Output};
use sexton_domain::task::Limits;

use super::backtrace::stack_of;
use super::guarded_call::Interruption;
use super::kinds::{Answer, Kind};
use super::limits::{Breach, Space};
use sexton_system::harmless;

/// The end of an attempt.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) ending: Ending,
    pub(super) message: Option<String>,
    /// The guest's stack, not yet in words.
    pub(super) stack: Option<Stack>,
    pub(super) claim_lost: bool,
}

/// The facts from which a verdict is found.
pub(super) struct Evidence<'a> {
    pub(super) result: Result<wasmtime::Result<Answer>, Interruption>,
    pub(super) limits: &'a Limits,
    pub(super) kind: Kind,
    pub(super) space: &'a Space,
    /// The guest's stack when its call was dropped.
    pub(super) stack: Option<Stack>,
    /// The guest's state then.
    pub(super) place: &'static str,
    /// The printed bytes: a program's output.
    pub(super) stdout: &'a [u8],
    pub(super) stderr: &'a [u8],
}

impl Verdict {
    fn other(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { ending: Ending::Other(outcome), message: Some(cut(message.into())), stack: None, claim_lost: false }
    }

    fn plain(ending: Ending) -> Self {
        Self { ending, message: None, stack: None, claim_lost: false }
    }

    fn at(mut self, stack: Option<Stack>) -> Self {
        self.stack = stack.filter(|stack| !stack.is_empty());
        self
    }

    /// Makes the verdict of an attempt whose guest never started.
    pub(super) fn refused(message: String) -> Self {
        Self::other(Outcome::Refused, message)
    }

    /// Makes the verdict of an attempt that the stopping runtime gave up.
    pub(super) fn abandoned() -> Self {
        Self::other(Outcome::Lost, "the host was shut down")
    }
}

/// The longest message that is kept, in bytes: a guest's own words are shown in lists and in the host's log.
const LONGEST_MESSAGE: usize = 4 << 10;

/// Cuts `message` to the length that is kept.
fn cut(message: String) -> String {
    harmless::cut(message, LONGEST_MESSAGE)
}

/// Returns whether a call used up its fuel.
pub(super) fn out_of_fuel(result: &Result<wasmtime::Result<Answer>, Interruption>) -> bool {
    matches!(result, Ok(Err(error)) if error.downcast_ref::<Trap>() == Some(&Trap::OutOfFuel))
}

/// Finds how the attempt ended.
pub(super) fn classify(evidence: Evidence<'_>) -> Verdict {
    let Evidence { limits, kind, space, stdout, stderr, .. } = evidence;
    match evidence.result {
        Ok(Ok(answer)) => answered(answer, limits, stdout),
        Ok(Err(error)) => trapped(&error, kind, limits, space, stdout, stderr),
        Err(interrupt) => interrupted(interrupt, evidence.place, limits).at(evidence.stack),
    }
}

fn answered(answer: Answer, limits: &Limits, stdout: &[u8]) -> Verdict {
    match answer {
        Answer::Output(output) => produced(output, limits),
        Answer::Transient(why) => Verdict::other(Outcome::FailedTransient, why),
        Answer::Permanent(why) => Verdict::other(Outcome::FailedPermanent, why),
        Answer::Deferred(ms) => Verdict::plain(Ending::Deferred(Duration::from_millis(ms))),
        Answer::Exited(code) => exited(code, limits, stdout),
        Answer::Refused(why) => Verdict::refused(why),
    }
}

fn produced(output: Output, limits: &Limits) -> Verdict {
    let bytes = output.body.len() as u64;
    if bytes > limits.output {
        return Verdict::other(
            Outcome::FailedPermanent,
            format!("its output of {bytes} bytes is over its limit of {} bytes", limits.output),
        );
    }
    Verdict::plain(Ending::Output(output))
}

fn exited(code: i32, limits: &Limits, stdout: &[u8]) -> Verdict {
    if code != 0 {
        return Verdict::other(Outcome::FailedTransient, exit_words(code));
    }
    if stdout.len() as u64 > limits.output {
        return Verdict::other(
            Outcome::FailedPermanent,
            format!("what it printed is over its output limit of {} bytes", limits.output),
        );
    }
    produced(Output { content_type: Some("text/plain; charset=utf-8".into()), body: stdout.to_vec() }, limits)
}

/// Words a program's exit code. `exit` of WASI 0.2 passes on only whether a program succeeded: any failing code arrives
/// as 1, so naming that code would be wrong.
fn exit_words(code: i32) -> String {
    match code {
        1 => "exit code other than 0; WASI 0.2 does not tell the host which".to_owned(),
        code => format!("exit code {code}"),
    }
}

fn trapped(
    error: &wasmtime::Error,
    kind: Kind,
    limits: &Limits,
    space: &Space,
    stdout: &[u8],
    stderr: &[u8],
) -> Verdict {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return match exit.0 {
            code if kind.is_program() => exited(code, limits, stdout),
            // A library gave up midway: a task is done only when it has returned its answer.
            0 => Verdict::other(Outcome::Trapped, "exited and returned no result"),
            _ => Verdict::other(Outcome::Trapped, "exited with an error and returned no result"),
        };
    }
    let at = error.downcast_ref::<WasmBacktrace>().map(stack_of);
    if let Some(interrupt) = error.downcast_ref::<Interrupt>() {
        let place = format!("in `{}`", interrupt.in_call);
        return interrupted(Interruption::Over(interrupt.why.clone()), &place, limits).at(at);
    }
    if error.downcast_ref::<wasmtime::PoolConcurrencyLimitError>().is_some() {
        return Verdict::other(Outcome::Lost, "the host had no place for it");
    }
    if error.downcast_ref::<Trap>() == Some(&Trap::OutOfFuel) {
        return Verdict::other(Outcome::OutOfFuel, format!("used up its {} units of fuel", limits.fuel))
            .at(at.map(Stack::ahead));
    }
    if let Some(no_room) = error.downcast_ref::<ChargeError>() {
        return Verdict::other(charge_outcome(no_room), no_room.to_string()).at(at);
    }
    if let Some(no_room) = space.memory_refused {
        return Verdict::other(charge_outcome(&no_room), format!("{no_room}: {}", reason(error, stderr))).at(at);
    }
    Verdict::other(Outcome::Trapped, explained(error, limits, space, stderr)).at(at)
}

/// Returns the outcome of an attempt that got no more memory. If other runs have it all, its task is not at fault.
fn charge_outcome(no_room: &ChargeError) -> Outcome {
    match no_room {
        ChargeError::Task { .. } | ChargeError::State { .. } => Outcome::OutOfMemory,
        ChargeError::Host { .. } => Outcome::Lost,
    }
}

fn explained(error: &wasmtime::Error, limits: &Limits, space: &Space, stderr: &[u8]) -> String {
    if let Some(breach) = error.downcast_ref::<Breach>() {
        return breach.to_string();
    }
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full)) {
        return format!("held more than {} handles", limits.handles);
    }
    let reason = reason(error, stderr);
    if space.table_refused {
        return format!("asked for more than its {} table elements: {reason}", limits.table_elements);
    }
    if reason.contains("fuel allocated for hostcalls") {
        return format!("handed more than {} bytes to the host in one call", limits.host_call_bytes);
    }
    reason
}

/// Returns the first cause of a trap, or the panic message of a Rust guest that panicked.
fn reason(error: &wasmtime::Error, stderr: &[u8]) -> String {
    let text = error.root_cause().to_string();
    if error.downcast_ref::<Trap>() == Some(&Trap::UnreachableCodeReached)
        && let Some(words) = panic_words(stderr)
    {
        return words;
    }
    text
}

/// Finds `panicked at src/lib.rs:5:9: words`, from the two lines of the last panic that Rust's runtime printed.
fn panic_words(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().rposition(|line| line.contains("panicked at "))?;
    let place = &lines[at][lines[at].find("panicked at ")?..];
    let words: String = lines.get(at + 1).copied().unwrap_or_default().chars().take(500).collect();
    Some(format!("{place} {words}").trim_end().to_owned())
}

fn interrupted(cut: Interruption, place: &str, limits: &Limits) -> Verdict {
    match cut {
        Interruption::Over(InterruptReason::Deadline) => {
            let limit = lengths::exact(limits.deadline);
            Verdict::other(Outcome::TimedOut, format!("still running at its deadline of {limit}, {place}"))
        }
        Interruption::Over(InterruptReason::Stopped(Stop::Killed(why))) => Verdict::other(Outcome::Killed, why),
        Interruption::Over(InterruptReason::Stopped(Stop::Idle)) => {
            let limit = lengths::exact(limits.idle.unwrap_or_default());
            Verdict::other(Outcome::Idle, format!("was idle for {limit}, {place}"))
        }
        // The run itself need not end: another host will run it again, or this one after its restart.
        Interruption::Over(InterruptReason::Stopped(Stop::Shutdown)) => {
            Verdict::other(Outcome::Lost, format!("ended {place}: the host was shut down"))
        }
        Interruption::Over(InterruptReason::Stopped(Stop::Returned)) => {
            Verdict::other(Outcome::Lost, format!("ended {place}: its host takes no more runs"))
        }
        Interruption::Over(InterruptReason::Stopped(Stop::ClaimLost)) => {
            Verdict { claim_lost: true, ..Verdict::other(Outcome::Lost, format!("ended {place}: its claim was lost")) }
        }
        Interruption::Panicked(words) => {
            // The words are the host's own, and may hold what the guest must not see.
            tracing::error!(panic = %words, "A host function panicked");
            Verdict::other(Outcome::Trapped, "the host failed in a call that the guest made; the host's log says how")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_own_words_are_cut_between_characters() {
        assert_eq!(cut("short".to_owned()), "short");

        let said = cut(format!("x{}", "é".repeat(1 << 20)));
        assert_eq!(said, format!("x{}…[cut]", "é".repeat(LONGEST_MESSAGE / 2 - 1)));
    }
}
