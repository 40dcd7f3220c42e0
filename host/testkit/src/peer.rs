//! Runs programs of other people that a bench measures beside its own. They stumble now and then (a deadlock of a job
//! queue in its own database), which says nothing about the rest of the bench, so it never ends that.

use std::process::{Command, Stdio};

/// The most of its words that are kept of a program that stumbled.
const WORDS: usize = 300;

/// A program that has stumbled each time it was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stumbled {
    /// The reasons, one line for each time.
    pub reasons: Vec<String>,
}

/// Tries `measure` up to `times` times, until it succeeds; it gets the number of the try, from 1. Tells `told` about each
/// time that it stumbles.
///
/// # Errors
///
/// It has stumbled each time.
pub fn tried<T>(
    times: usize,
    mut measure: impl FnMut(usize) -> Result<T, String>,
    mut told: impl FnMut(usize, &str),
) -> Result<T, Stumbled> {
    let mut reasons = Vec::new();
    for nth in 1..=times {
        match measure(nth) {
            Ok(measured) => return Ok(measured),
            Err(reason) => {
                told(nth, &reason);
                reasons.push(reason);
            }
        }
    }
    Err(Stumbled { reasons })
}

/// Runs a program to its end, and returns the last line of its output.
///
/// # Errors
///
/// It cannot be started, ends with a failure, or says nothing. The reason is one line, with the beginning of its errors.
pub fn last_line(command: &mut Command) -> Result<String, String> {
    let done = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&done.stderr);
    let words: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(WORDS).collect();
    if !done.status.success() {
        return Err(format!("{}: {words}", done.status));
    }
    let answer = String::from_utf8_lossy(&done.stdout);
    let last = answer.lines().rev().find(|line| !line.trim().is_empty());
    last.map(str::to_owned).ok_or_else(|| format!("it said nothing: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a program that stumbles until it has been started this many times in `folder`.
    fn stumbles(folder: &std::path::Path, times: usize) -> Command {
        let script = format!(
            "echo . >> tries\nif [ $(wc -l < tries) -le {times} ]; then echo 'error: deadlock\n  detected' >&2; exit 1; fi\n\
             echo warm\necho '{{\"jobs\": 7}}'\necho"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(folder);
        command
    }

    #[test]
    fn a_peer_that_stumbles_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut told = Vec::new();

        let measured =
            tried(3, |_| last_line(&mut stumbles(folder.path(), 2)), |nth, why| told.push((nth, why.to_owned())));

        assert_eq!(measured, Ok("{\"jobs\": 7}".to_owned()));
        let why = "exit status: 1: error: deadlock detected".to_owned();
        assert_eq!(told, [(1, why.clone()), (2, why)]);
    }

    #[test]
    fn a_peer_that_stumbles_each_time_is_an_answer_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();

        let measured = tried(2, |_| last_line(&mut stumbles(folder.path(), 9)), |_, _| {});

        let Err(Stumbled { reasons }) = measured else { panic!("{measured:?}") };
        assert_eq!(reasons, ["exit status: 1: error: deadlock detected"; 2]);
        assert!(last_line(&mut Command::new("/nowhere/peer")).is_err(), "a program that is missing");
        assert!(last_line(&mut Command::new("true")).unwrap_err().starts_with("it said nothing"));
    }
}
