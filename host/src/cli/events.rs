//! Implements `events`: follows the events of a host, and goes on where it was when the connection breaks.

use std::io::{self, BufRead, BufReader};
use std::time::Duration;

use super::args::EventsArgs;
use super::client::{Client, decode, with_query};
use super::error::{CliError, Exit};
use super::screen::{Screen, eprint_line, safe};
use crate::http::api_types::events::{EventShape, StreamNotice};
use sexton_domain::task::Name;

/// The time before a broken connection is made again.
const AGAIN: Duration = Duration::from_millis(500);

/// A message of the stream. A sign of life has no data.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    /// The id after which to go on.
    id: Option<u64>,
    /// The type of a message about the stream itself; empty for an event.
    about: String,
    data: String,
}

/// Follows events until the user ends the command.
pub(super) fn events(client: &Client, args: &EventsArgs, screen: &Screen) -> Result<(), CliError> {
    let (mut after, mut is_connected) = (args.after, false);
    loop {
        match client.stream(&path(args, after)) {
            Ok(stream) => {
                is_connected = true;
                follow(BufReader::new(stream), &mut after, args, screen)?;
                eprint_line("note: the connection to the host ended; connecting again");
            }
            // A host that is started again is away for a moment. Without a first connection there is nothing to go on.
            Err(error) if is_connected && error.exit() == Exit::Unreachable => {}
            Err(error) => return Err(error),
        }
        std::thread::sleep(AGAIN);
    }
}

fn path(args: &EventsArgs, after: Option<u64>) -> String {
    let kinds = (!args.kind.is_empty()).then(|| args.kind.join(","));
    let task = args.task.as_ref().map(|task| task.as_str().to_owned());
    let after = after.map(|after| after.to_string());
    with_query("/v1/events", &[("task", task), ("kind", kinds), ("after", after)])
}

/// Prints events until the stream ends, and remembers in `after` how far it has come.
fn follow(
    mut lines: impl BufRead,
    after: &mut Option<u64>,
    args: &EventsArgs,
    screen: &Screen,
) -> Result<(), CliError> {
    // A stream that breaks is followed again, like one that ends.
    while let Ok(Some(message)) = next_message(&mut lines) {
        if !message.data.is_empty() {
            print(&message, args, screen)?;
        }
        *after = message.id.or(*after);
    }
    Ok(())
}

fn print(message: &Message, args: &EventsArgs, screen: &Screen) -> Result<(), CliError> {
    if message.about.is_empty() {
        return match args.list.json {
            true => screen.json(&message.data),
            false => screen.line(&event_line(&decode(&message.data)?)),
        };
    }
    match decode(&message.data)? {
        StreamNotice::Reset { newest } => {
            eprint_line(&format!("note: some events are no longer kept; going on after event {newest}"));
        }
        StreamNotice::End { message, .. } => eprint_line(&format!("note: the host ended the stream: {message}")),
    }
    if args.list.json { screen.json(&message.data) } else { Ok(()) }
}

/// Reads the next message; `None` at the end of the stream.
fn next_message(lines: &mut impl BufRead) -> io::Result<Option<Message>> {
    let mut message = Message::default();
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        // Lines without a name before the colon are comments.
        match line.trim_end_matches(['\r', '\n']).split_once(": ") {
            Some(("id", id)) => message.id = id.parse().ok(),
            Some(("event", about)) => message.about = about.to_owned(),
            Some(("data", data)) => message.data = data.to_owned(),
            Some(_) => {}
            None if line.trim_end().is_empty() => return Ok(Some(message)),
            None => {}
        }
    }
}

/// Returns an event as a line for people.
fn event_line(event: &EventShape) -> String {
    let clock = event.at.to_utc().with_timezone(&chrono::Local).format("%H:%M:%S%.3f");
    let mut line = format!("{clock} {:17}", safe(&event.kind));
    let mut add = |part: String| {
        line.push(' ');
        line.push_str(&part);
    };
    let of_other_tenant = event.tenant.as_ref().filter(|tenant| **tenant != Name::default_tenant());
    match (of_other_tenant, &event.task) {
        (Some(tenant), Some(task)) => add(format!("{tenant}/{task}")),
        (Some(tenant), None) => add(format!("tenant {tenant}")),
        (None, Some(task)) => add(task.to_string()),
        (None, None) => {}
    }
    if let Some(name) = &event.name {
        add(name.to_string());
    }
    if let Some(run) = event.run {
        add(format!("run {run}"));
    }
    if let Some(attempt) = event.attempt.filter(|attempt| *attempt > 1) {
        add(format!("attempt {attempt}"));
    }
    if let Some(outcome) = event.outcome {
        add(outcome.to_string());
    }
    if let Some(host) = &event.host {
        add(format!("on {}", safe(host)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_signs_of_life_and_notices_are_read() {
        let text =
            ": heartbeat\nid: 4\n\nid: 5\ndata: {\"a\": 1}\n\nid: 9\nevent: reset\ndata: {}\n\nid: 10\ndata: cut";
        let mut lines = text.as_bytes();
        let mut next = || next_message(&mut lines).unwrap();
        let message = |id, about: &str, data: &str| Message { id: Some(id), about: about.into(), data: data.into() };

        assert_eq!(next(), Some(message(4, "", "")));
        assert_eq!(next(), Some(message(5, "", "{\"a\": 1}")));
        assert_eq!(next(), Some(message(9, "reset", "{}")));
        assert_eq!(next(), None, "a message that was cut is not shown");
    }

    #[test]
    fn an_event_is_a_line_with_the_parts_that_it_has() {
        let line = |json: &str| event_line(&decode(json).unwrap())[13..].to_owned();

        let finished = r#"{"id": 1, "kind": "run.finished", "at": "2027-01-01T00:00:00Z", "tenant": "acme", "task": "a",
             "run": 7, "attempt": 2, "state": "failed", "outcome": "trapped", "host": "box\u001b[2J"}"#;
        let drained = r#"{"id": 2, "kind": "host.left", "at": "2027-01-01T00:00:00Z", "host": "box"}"#;

        let expected = ["run.finished      acme/a run 7 attempt 2 trapped on ", "host.left         on box"];
        assert!(line(finished).starts_with(expected[0]) && !line(finished).contains('\u{1b}'), "{}", line(finished));
        assert_eq!(line(drained), expected[1]);
    }
}
