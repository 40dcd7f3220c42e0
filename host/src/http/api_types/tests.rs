//! Compares a full value of each type with its JSON, byte by byte: the names and the order of fields are promises to
//! clients. A value that the host makes from a type of the store is made from one here, too.

mod attempts;
mod hosts;
mod live;
mod locks;
mod pauses;
mod plugins;
mod runs;
mod schedules;
mod tasks;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Failure, FailureBody};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// Checks that `value` is written as `json`, whose lines are indented for people.
#[track_caller]
fn is_written<T: Serialize>(value: &T, json: &str) {
    assert_eq!(serde_json::to_string(value).expect("texts and numbers are JSON"), on_one_line(json));
}

/// Checks the same for a value that the command line reads, and that reading it loses nothing.
#[track_caller]
fn is_written_and_read<T: Serialize + DeserializeOwned>(value: &T, json: &str) {
    is_written(value, json);
    is_written(&serde_json::from_str::<T>(&on_one_line(json)).expect("the API's own shape"), json);
}

fn on_one_line(json: &str) -> String {
    json.lines().map(str::trim).collect()
}

/// Returns the first instants of 1970: `1970-01-01T00:00:07.000Z` is 7.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

#[test]
fn an_error_has_a_code_a_message_and_a_hint() {
    let error = FailureBody { code: "no-such-run".to_owned(), message: "there is no run 7".to_owned(), hint: None };
    is_written_and_read(
        &Failure { error },
        r#"{"error":{"code":"no-such-run","message":"there is no run 7","hint":null}}"#,
    );
}
