//! Locks, the graph of waits, and cache entries.

use super::{at, is_written_and_read, name};
use crate::http::api_types::cache::{Entries, EntryDeleted, EntryHistoryShape, EntryShape, EntryWritten};
use crate::http::api_types::locks::{HeldLockShape, LockGraph, LockWaiter, Locks};
use sexton_domain::run::RunId;
use sexton_store::{EntryHistory, EntryInfo, HeldLock, LockKind, LockMode, LockName, LockWait, VersionInfo};

fn held(kind: LockKind, mode: LockMode) -> HeldLock {
    let lock = LockName { tenant: name("acme"), kind, name: "ledger".to_owned() };
    HeldLock { lock, mode, run: RunId(7), task: name("greet"), fence: 4, since: at(1) }
}

#[test]
fn a_held_lock_shows_its_kind_its_mode_and_its_holder() {
    for (kind, kind_word, mode, mode_word) in [
        (LockKind::Named, "named", LockMode::Exclusive, "exclusive"),
        (LockKind::Refresh, "refresh", LockMode::Shared, "shared"),
    ] {
        let lock = format!(
            r#"{{"tenant":"acme","kind":"{kind_word}","name":"ledger","mode":"{mode_word}","run":7,"task":"greet",
                "fence":4,"since":"1970-01-01T00:00:01.000Z"}}"#
        );
        let locks = Locks { locks: vec![HeldLockShape::from(held(kind, mode))] };
        is_written_and_read(&locks, &format!(r#"{{"locks":[{lock}]}}"#));
    }
}

#[test]
fn the_graph_shows_holders_waiters_and_circles() {
    let holder = held(LockKind::Named, LockMode::Exclusive);
    let waiter = LockWait {
        lock: holder.lock.clone(),
        mode: LockMode::Shared,
        run: RunId(7),
        task: name("greet"),
        since: at(2),
        place: 1,
    };
    is_written_and_read(
        &LockGraph::of(vec![holder.into()], vec![LockWaiter::of(waiter)]),
        r#"{"locks":[{"tenant":"acme","kind":"named","name":"ledger",
            "holders":[{"run":7,"task":"greet","mode":"exclusive","fence":4,"since":"1970-01-01T00:00:01.000Z"}],
            "waiters":[{"run":7,"task":"greet","mode":"shared","since":"1970-01-01T00:00:02.000Z","place":1,
            "stuck":true}]}],"circles":[[7]]}"#,
    );
}

#[test]
fn a_page_of_entries_has_their_sizes_and_not_their_values() {
    let entry = |expires_at| EntryInfo { key: "front/a".to_owned(), size: 3, version: 9, set_at: at(1), expires_at };
    let entries = vec![EntryShape::from(entry(Some(at(2)))), EntryShape::from(entry(None))];
    is_written_and_read(
        &Entries { entries, next: Some("front/a".to_owned()), cursor: Some("n61".to_owned()) },
        r#"{"entries":[{"key":"front/a","size":3,"version":9,"set_at":"1970-01-01T00:00:01.000Z",
            "expires_at":"1970-01-01T00:00:02.000Z"},
            {"key":"front/a","size":3,"version":9,"set_at":"1970-01-01T00:00:01.000Z","expires_at":null}],
            "next":"front/a","cursor":"n61"}"#,
    );
    let none = Entries { entries: Vec::new(), next: None, cursor: None };
    is_written_and_read(&none, r#"{"entries":[],"next":null}"#);
}

#[test]
fn a_history_has_the_sizes_of_its_versions_and_not_their_values() {
    let version = |version, expires_at| VersionInfo { version, size: 3, set_at: at(1), expires_at };
    let history = EntryHistory { keep: 5, versions: vec![version(9, None), version(7, Some(at(2)))] };
    is_written_and_read(
        &EntryHistoryShape::of("a".to_owned(), history),
        r#"{"key":"a","keep":5,"versions":[
            {"version":9,"size":3,"set_at":"1970-01-01T00:00:01.000Z","expires_at":null},
            {"version":7,"size":3,"set_at":"1970-01-01T00:00:01.000Z","expires_at":"1970-01-01T00:00:02.000Z"}]}"#,
    );
}

#[test]
fn a_change_of_an_entry_names_its_key() {
    is_written_and_read(&EntryWritten { key: "a".to_owned(), version: 9 }, r#"{"key":"a","version":9}"#);
    is_written_and_read(&EntryDeleted { key: "a".to_owned(), deleted: true }, r#"{"key":"a","deleted":true}"#);
}
