//! Implements `trigger --from`: makes a run for each line of a file, a thousand with each request.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::Serialize;
use serde_json::value::RawValue;

use super::args::TriggerArgs;
use super::client::{Client, decode};
use super::error::{CliError, Exit};
use super::screen::{Screen, eprint_line, one_line};
use crate::http::MAX_BODY;
use crate::http::api_types::batches::{Batch, BatchItem};

/// The most runs of a request, as the API says.
const MOST: usize = 1000;

/// The begin and the end of a request's body.
const HEAD: &str = r#"{"runs":["#;
const TAIL: &str = "]}";

/// The most bytes of a line, so that it fits a body alone.
const LONGEST: usize = MAX_BODY - HEAD.len() - TAIL.len();

/// The lines of one request.
#[derive(Default)]
struct Piece {
    body: String,
    /// The numbers of the lines, from 1.
    lines: Vec<usize>,
}

impl Piece {
    fn has_room_for(&self, line: &str) -> bool {
        self.lines.len() < MOST && self.body.len() + line.len() < LONGEST
    }

    fn push(&mut self, number: usize, line: &str) {
        if !self.lines.is_empty() {
            self.body.push(',');
        }
        self.body.push_str(line);
        self.lines.push(number);
    }
}

/// A line of the output for programs.
#[derive(Serialize)]
struct Told<'a> {
    line: usize,
    #[serde(flatten)]
    answer: &'a BatchItem,
}

/// Sends pieces, and counts the answers.
struct Sender<'a> {
    client: &'a Client,
    args: &'a TriggerArgs,
    screen: &'a Screen,
    pieces: usize,
    created: usize,
    existing: usize,
    failed: usize,
}

/// Makes a run for each line of `file`. Every line that is wrong is reported, and keeps no other from being made.
pub(super) fn trigger(client: &Client, file: &Path, args: &TriggerArgs, screen: &Screen) -> Result<(), CliError> {
    let unreadable = |e: io::Error| CliError::usage(format!("cannot read `{}`: {e}", file.display()));
    let source: Box<dyn Read> = match file == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(file).map_err(unreadable)?),
    };
    let mut reader = BufReader::new(source);
    let mut sender = Sender { client, args, screen, pieces: 0, created: 0, existing: 0, failed: 0 };
    let (mut piece, mut line, mut number) = (Piece::default(), Vec::new(), 0);
    loop {
        line.clear();
        // A line that is much longer is a wrong file, and must not fill the memory.
        let most = MAX_BODY as u64 * 2;
        if reader.by_ref().take(most).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        number += 1;
        match checked(&line) {
            Ok("") => {}
            Ok(run) => {
                if !piece.has_room_for(run) {
                    sender.send(std::mem::take(&mut piece))?;
                }
                piece.push(number, run);
            }
            Err(_) if line.len() as u64 == most && line.last() != Some(&b'\n') => {
                sender.send(piece)?;
                let message = format!("line {number} has more than {most} bytes, so the rest of the file is not read");
                return Err(CliError::usage(message).hint("is it a file with JSON on each line?"));
            }
            Err(why) => sender.fault(number, &why),
        }
    }
    sender.send(piece)?;
    sender.finish()
}

/// Returns the run on a line, which is empty if the line is.
fn checked(line: &[u8]) -> Result<&str, String> {
    let line = std::str::from_utf8(line).map_err(|_| "this is not UTF-8".to_owned())?.trim();
    if line.len() > LONGEST {
        return Err(format!("this has more than {LONGEST} bytes; send it with `sexton trigger TASK --input-file`"));
    }
    match line.is_empty() {
        true => Ok(line),
        false => serde_json::from_str::<&RawValue>(line).map(|_| line).map_err(|e| format!("this is not JSON: {e}")),
    }
}

impl Sender<'_> {
    fn fault(&mut self, line: usize, why: &str) {
        self.failed += 1;
        eprint_line(&format!("error: line {line}: {}", one_line(why)));
    }

    fn send(&mut self, piece: Piece) -> Result<(), CliError> {
        let (Some(first), Some(last)) = (piece.lines.first(), piece.lines.last()) else { return Ok(()) };
        self.pieces += 1;
        let key = self.args.key.as_ref().map(|key| format!("{key}-{}", self.pieces));
        let body = format!("{HEAD}{}{TAIL}", piece.body);
        let (answer, is_replayed) = self.client.make("/v1/runs", key.as_deref(), body.as_bytes()).map_err(|error| {
            let message = format!("lines {first} to {last} were not sent: {}", error.message());
            let told = CliError::new(error.exit(), message);
            match self.made() {
                0 => told,
                made => told.hint(format!("{made} runs of the lines before them exist")),
            }
        })?;
        let batch: Batch = decode(&answer)?;
        if batch.runs.len() != piece.lines.len() {
            return Err(CliError::failed("the host did not answer for each of the runs"));
        }
        // All runs of a request that an earlier one has made exist already.
        let created = if is_replayed { 0 } else { batch.created };
        self.created += created;
        self.existing += batch.created + batch.existing - created;
        for (line, answer) in piece.lines.iter().copied().zip(&batch.runs) {
            if let BatchItem::Problem(problem) = answer {
                let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                self.fault(line, &format!("{}{hint}", problem.detail));
            }
            if self.args.list.json {
                let told = serde_json::to_string(&Told { line, answer });
                self.screen.json(&told.map_err(|e| CliError::failed(format!("an answer is no JSON: {e}")))?)?;
            }
        }
        Ok(())
    }

    fn made(&self) -> usize {
        self.created + self.existing
    }

    fn finish(self) -> Result<(), CliError> {
        if !self.args.list.json {
            let existing = match self.existing {
                0 => String::new(),
                existing => format!("; {existing} existed already"),
            };
            self.screen.line(&format!("Created {} runs{existing}.", self.created))?;
        }
        match self.failed {
            0 => Ok(()),
            failed => Err(CliError::new(Exit::Failed, format!("{failed} of the lines made no run"))),
        }
    }
}
