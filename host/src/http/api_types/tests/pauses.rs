//! Pauses of one task and of many.

use super::{at, is_written_and_read, name};
use crate::http::api_types::pauses::{Paused, PausedMany};
use sexton_domain::pause::PausedBy;

#[test]
fn a_pause_of_a_task_names_its_owner_and_its_reason() {
    let paused = Paused {
        task: name("greet"),
        paused: true,
        paused_by: Some(PausedBy::Task),
        paused_at: Some(at(1)),
        paused_why: Some("upgrade".to_owned()),
        already: true,
    };
    is_written_and_read(
        &paused,
        r#"{"task":"greet","paused":true,"paused_by":"task","paused_at":"1970-01-01T00:00:01.000Z",
            "paused_why":"upgrade","already":true}"#,
    );
    let resumed =
        Paused { paused: false, paused_by: None, paused_at: None, paused_why: None, already: false, ..paused };
    is_written_and_read(&resumed, r#"{"task":"greet","paused":false,"already":false}"#);
}

#[test]
fn a_pause_of_many_names_their_tenant() {
    let paused = PausedMany {
        tenant: Some(name("acme")),
        paused: true,
        paused_by: Some(PausedBy::All),
        paused_at: Some(at(1)),
        paused_why: Some("upgrade".to_owned()),
        already: false,
    };
    is_written_and_read(
        &paused,
        r#"{"tenant":"acme","paused":true,"paused_by":"all","paused_at":"1970-01-01T00:00:01.000Z",
            "paused_why":"upgrade","already":false}"#,
    );
    let none = PausedMany { tenant: None, paused: false, paused_by: None, paused_at: None, paused_why: None, ..paused };
    is_written_and_read(
        &none,
        r#"{"tenant":null,"paused":false,"paused_by":null,"paused_at":null,"paused_why":null,"already":false}"#,
    );
}
