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

use super::{Failure, FailureBody, Problem};
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
fn an_error_has_the_members_of_a_problem_and_the_shape_of_earlier_versions() {
    let error = FailureBody { code: "no-such-run".to_owned(), message: "there is no run 7".to_owned(), hint: None };
    let problem = Problem {
        kind: "urn:sexton:problem:no-such-run".to_owned(),
        title: "There is no such run".to_owned(),
        status: 404,
        detail: error.message.clone(),
        instance: Some("1a2b".to_owned()),
        code: error.code.clone(),
        hint: Some("list the runs".to_owned()),
        error: FailureBody { hint: Some("list the runs".to_owned()), ..error.clone() },
    };
    is_written_and_read(
        &problem,
        r#"{"type":"urn:sexton:problem:no-such-run","title":"There is no such run","status":404,
           "detail":"there is no run 7","instance":"1a2b","code":"no-such-run","hint":"list the runs",
           "error":{"code":"no-such-run","message":"there is no run 7","hint":"list the runs"}}"#,
    );
    is_written_and_read(&Failure { error }, r#"{"error":{"code":"no-such-run","message":"there is no run 7"}}"#);
}
