//! This host, its health, its store, and the hosts beside it.

use std::collections::BTreeMap;

use super::{at, is_written, is_written_and_read, name};
use crate::http::api_types::FailureBody;
use crate::http::api_types::host::{Health, Host};
use crate::http::api_types::hosts::{HostShape, Hosts};
use sexton_domain::run::RunState;
use sexton_domain::supervision::Pause;
use sexton_store::StoreStats;
use sexton_store::hosts::{HostInfo, HostRecord};
use sexton_system::supervisor::{Fault, Hung};

#[test]
fn a_host_shows_its_runs_and_its_store() {
    let host = Host {
        name: "box".to_owned(),
        version: "0.1.0".to_owned(),
        tzdata: "2026a",
        pid: 42,
        started_at: at(1),
        now: at(2),
        clock: Some("it was set back".to_owned()),
        paused_at: Some(at(3)),
        draining: true,
        all_paused: Some(Pause { since: Some(at(4)), why: Some("upgrade".to_owned()) }.into()),
        attempts: 5,
        runs: BTreeMap::from([(RunState::Waiting, 1), (RunState::Failed, 2)]),
        store: StoreStats { commits: 1, syncs: 2, writes: 3 }.into(),
    };
    is_written(
        &host,
        r#"{"name":"box","version":"0.1.0","tzdata":"2026a","pid":42,"started_at":"1970-01-01T00:00:01.000Z",
            "now":"1970-01-01T00:00:02.000Z","clock":"it was set back","paused_at":"1970-01-01T00:00:03.000Z",
            "draining":true,"all_paused":{"since":"1970-01-01T00:00:04.000Z","why":"upgrade"},"attempts":5,
            "runs":{"waiting":1,"failed":2},"store":{"commits":1,"syncs":2,"writes":3}}"#,
    );
}

#[test]
fn health_names_parts_that_panicked_and_loops_that_hang() {
    let fault = Fault {
        part: "worker".to_owned(),
        panics: 2,
        first_at: at(1),
        last_at: at(2),
        message: "no good".to_owned(),
        down: true,
    };
    let health = Health {
        status: "down".to_owned(),
        error: Some(FailureBody { code: "unhealthy".to_owned(), message: "down".to_owned(), hint: None }),
        parts: vec![fault.into()],
        hung: vec![Hung { part: "sweeper".to_owned(), silent_ms: 300_000 }.into()],
        clock: Some("it was set back".to_owned()),
        lost_log_lines: 3,
    };
    is_written_and_read(
        &health,
        r#"{"status":"down","error":{"code":"unhealthy","message":"down"},
            "parts":[{"part":"worker","panics":2,"first_at":"1970-01-01T00:00:01.000Z",
            "last_at":"1970-01-01T00:00:02.000Z","message":"no good","down":true}],
            "hung":[{"part":"sweeper","silent_ms":300000}],"clock":"it was set back","lost_log_lines":3}"#,
    );
    let well = Health {
        status: "ok".to_owned(),
        error: None,
        parts: Vec::new(),
        hung: Vec::new(),
        clock: None,
        lost_log_lines: 0,
    };
    is_written_and_read(&well, r#"{"status":"ok"}"#);
}

#[test]
fn a_host_of_the_store_is_up_draining_or_gone() {
    let host = HostRecord {
        name: "box".to_owned(),
        instance: 1,
        version: "0.1.0".to_owned(),
        address: "127.0.0.1:7777".to_owned(),
        labels: vec![name("gpu")],
        slots: 8,
        attempts: 2,
        plugins: 3,
        started_at: at(1),
    };
    let shown = |draining, alive_until| {
        let info = HostInfo { host: host.clone(), draining, seen_at: at(2), alive_until };
        HostShape::of(info, at(3))
    };
    for (shape, word) in [(shown(false, at(4)), "up"), (shown(true, at(4)), "draining"), (shown(false, at(3)), "gone")]
    {
        let host = format!(
            r#"{{"name":"box","state":"{word}","version":"0.1.0","address":"127.0.0.1:7777","labels":["gpu"],
                "slots":8,"attempts":2,"plugins":3,"started_at":"1970-01-01T00:00:01.000Z",
                "seen_at":"1970-01-01T00:00:02.000Z"}}"#
        );
        is_written_and_read(&Hosts { hosts: vec![shape] }, &format!(r#"{{"hosts":[{host}]}}"#));
    }
}
