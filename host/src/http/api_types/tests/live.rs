//! Attempts under way, and their stacks.

use super::{at, is_written_and_read, name};
use crate::http::api_types::live::{Live, LiveAttempt, Others, Stack, StackSample, StackVerdict, Wait};
use sexton_domain::run::RunId;

fn wait() -> Wait {
    Wait { call: Some("locks.acquire".to_owned()), what: Some("ledger".to_owned()), for_ms: 12 }
}

#[test]
fn an_attempt_under_way_shows_what_it_uses_and_what_it_waits_for() {
    let attempt = LiveAttempt {
        run: RunId(7),
        task: name("greet"),
        tenant: name("acme"),
        attempt: 2,
        age_ms: 1,
        lane: "fresh".to_owned(),
        fuel: 3,
        memory: 4,
        guest_us: 5,
        host_calls: 6,
        lock_wait_ms: 7,
        bytes_in: 8,
        bytes_out: 9,
        waiting: Some(wait()),
        observers: 10,
        ending: true,
    };
    let others = Others { attempts: 1, guest_us: 2 };
    is_written_and_read(
        &Live { paused_at: Some(at(1)), draining: true, attempts: vec![attempt], others },
        r#"{"paused_at":"1970-01-01T00:00:01.000Z","draining":true,"attempts":[{"run":7,"task":"greet",
            "tenant":"acme","attempt":2,"age_ms":1,"lane":"fresh","fuel":3,"memory":4,"guest_us":5,"host_calls":6,
            "lock_wait_ms":7,"bytes_in":8,"bytes_out":9,
            "waiting":{"call":"locks.acquire","what":"ledger","for_ms":12},"lookers":10,"ending":true}],
            "others":{"attempts":1,"guest_us":2}}"#,
    );
}

#[test]
fn a_stack_has_its_meaning_and_its_samples() {
    let sample = |waiting| StackSample {
        age_ms: 1,
        doing: "waiting".to_owned(),
        waiting,
        fuel: 2,
        guest_us: 3,
        stack: vec!["run (lib.rs:7)".to_owned()],
    };
    let verdict = StackVerdict { kind: "waits".to_owned(), text: "waits in `locks.acquire`".to_owned() };
    let samples = vec![sample(Some(wait())), sample(None)];
    is_written_and_read(
        &Stack { run: RunId(7), attempt: 2, verdict, samples },
        r#"{"run":7,"attempt":2,"verdict":{"kind":"waits","text":"waits in `locks.acquire`"},
            "samples":[{"age_ms":1,"doing":"waiting","waiting":{"call":"locks.acquire","what":"ledger","for_ms":12},
            "fuel":2,"guest_us":3,"stack":["run (lib.rs:7)"]},
            {"age_ms":1,"doing":"waiting","waiting":null,"fuel":2,"guest_us":3,"stack":["run (lib.rs:7)"]}]}"#,
    );
}
