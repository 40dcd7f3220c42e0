//! Attempts that have ended, and lines of their logs.

use std::time::Duration;

use super::{at, is_written_and_read, on_one_line};
use crate::http::api_types::attempts::{AccountsShape, AttemptShape, LogEvent};
use sexton_domain::run::{Accounts, CappedText, Outcome, Report};
use sexton_store::AttemptInfo;

/// Returns an attempt with a value in every field.
pub(super) fn full() -> AttemptInfo {
    let us = Duration::from_micros;
    let kept = |text: &str| CappedText { text: text.to_owned(), cut: text == "cut" };
    AttemptInfo {
        attempt: 2,
        host: "box".to_owned(),
        report: Report {
            outcome: Outcome::TimedOut,
            started_at: at(1),
            ended_at: at(2),
            message: Some("deadline of 1s".to_owned()),
            backtrace: Some("run (lib.rs:7)".to_owned()),
            accounts: Accounts {
                fuel: 1,
                peak_memory: 2,
                guest: us(3),
                host: us(4),
                queued: us(5),
                lock_wait: us(6),
                host_calls: 7,
                bytes_in: 8,
                bytes_out: 9,
            },
            log: kept("cut"),
            stdout: kept("out"),
            stderr: kept("err"),
        },
    }
}

pub(super) const FULL: &str = r#"{"attempt":2,"host":"box","outcome":"timed-out",
    "started_at":"1970-01-01T00:00:01.000Z","ended_at":"1970-01-01T00:00:02.000Z",
    "message":"deadline of 1s","backtrace":"run (lib.rs:7)",
    "accounts":{"fuel":1,"peak_memory":2,"guest_us":3,"host_us":4,"queued_us":5,"lock_wait_us":6,"host_calls":7,
    "bytes_in":8,"bytes_out":9},
    "log":{"text":"cut","cut":true},"stdout":{"text":"out","cut":false},"stderr":{"text":"err","cut":false}}"#;

#[test]
fn an_attempt_shows_its_outcome_what_it_used_and_what_it_wrote() {
    is_written_and_read(&AttemptShape::from(full()), FULL);
}

#[test]
fn an_attempt_without_message_and_stack_says_so() {
    let AttemptInfo { report, .. } = full();
    let silent = AttemptInfo { report: Report { message: None, backtrace: None, ..report }, ..full() };
    let json = on_one_line(FULL).replace(r#""deadline of 1s""#, "null").replace(r#""run (lib.rs:7)""#, "null");
    is_written_and_read(&AttemptShape::from(silent), &json);
}

#[test]
fn accounts_of_an_older_host_can_be_read() {
    let older = r#"{"fuel":1,"peak_memory":2,"guest_us":3,"host_us":4,"host_calls":7}"#;
    let expected = AccountsShape {
        queued_us: 0,
        lock_wait_us: 0,
        bytes_in: 0,
        bytes_out: 0,
        ..AttemptShape::from(full()).accounts
    };
    assert_eq!(serde_json::from_str::<AccountsShape>(older).expect("the API's own shape"), expected);
}

#[test]
fn a_log_has_lines_of_the_guest_and_ends_of_attempts() {
    let (level, message) = ("info".to_owned(), "hello".to_owned());
    is_written_and_read(
        &LogEvent::Line { attempt: 1, at: at(1), level, message },
        r#"{"attempt":1,"at":"1970-01-01T00:00:01.000Z","level":"info","message":"hello"}"#,
    );
    let outcome = Outcome::Succeeded;
    is_written_and_read(
        &LogEvent::End { attempt: 1, outcome, ended_at: at(2), message: None, cut: true },
        r#"{"attempt":1,"outcome":"succeeded","ended_at":"1970-01-01T00:00:02.000Z","message":null,"cut":true}"#,
    );
}
