//! Chains, explained schedules, and added schedules.

use super::tasks::{DUE, due, trigger};
use super::{at, is_written_and_read, name};
use crate::http::api_types::Due;
use crate::http::api_types::following::{ChainShape, Chains, LinkEndShape, LinkShape};
use crate::http::api_types::schedule::{Explained, FireShape};
use crate::http::api_types::schedules::{
    AddedSchedules, DataShape, ScheduleChanged, ScheduleEffect, ScheduleRequest, ScheduleShape, ScheduleState,
};
use sexton_domain::pause::PausedBy;
use sexton_domain::run::{RunId, RunState};
use sexton_domain::schedule::{LinkEnd, OnFailure};

#[test]
fn a_chain_shows_its_position_and_the_last_ends_of_its_links() {
    let end = LinkEnd { task: name("a"), round: 2, run: Some(RunId(7)), state: Some(RunState::Succeeded), at: at(1) };
    let link = |task: &str, last: Option<LinkEnd>| LinkShape {
        task: name(task),
        success_cooldown_ms: 1,
        fail_cooldown_ms: 2,
        last: last.map(LinkEndShape::from),
    };
    let chain = ChainShape {
        name: name("nightly"),
        tenant: name("acme"),
        plugin: name("batch"),
        description: Some("All of it.".to_owned()),
        links: vec![link("a", Some(end)), link("b", None)],
        on_failure: OnFailure::GoOn,
        success_cooldown_ms: 3,
        fail_cooldown_ms: 4,
        round: 2,
        link: 1,
        since: Some(at(2)),
        run: Some(RunId(8)),
        next: Some(at(3)),
        paused: true,
        paused_by: Some(PausedBy::All),
        paused_at: Some(at(4)),
        paused_why: Some("upgrade".to_owned()),
        waits_for: Some("no plugin".to_owned()),
    };
    is_written_and_read(
        &Chains { chains: vec![chain] },
        r#"{"chains":[{"name":"nightly","tenant":"acme","plugin":"batch","description":"All of it.",
            "links":[{"task":"a","success_cooldown_ms":1,"fail_cooldown_ms":2,
            "last":{"task":"a","round":2,"run":7,"state":"succeeded","at":"1970-01-01T00:00:01.000Z"}},
            {"task":"b","success_cooldown_ms":1,"fail_cooldown_ms":2,"last":null}],"on_failure":"go-on",
            "success_cooldown_ms":3,"fail_cooldown_ms":4,"round":2,"link":1,"since":"1970-01-01T00:00:02.000Z","run":8,
            "next":"1970-01-01T00:00:03.000Z","paused":true,"paused_by":"all","paused_at":"1970-01-01T00:00:04.000Z",
            "paused_why":"upgrade","waits_for":"no plugin"}]}"#,
    );
}

#[test]
fn an_explained_schedule_has_its_words_and_its_next_instants() {
    let fire = FireShape { due: Due { mark: None, starts_at: None, ..due() }, mark: due().mark };
    let explained = Explained {
        trigger: trigger(),
        words: "every 10s".to_owned(),
        zone: "UTC".to_owned(),
        notes: vec!["a note".to_owned()],
        next: vec![fire],
    };
    is_written_and_read(
        &explained,
        r#"{"trigger":{"kind":"every","text":"every 10s"},"words":"every 10s","zone":"UTC","notes":["a note"],
            "next":[{"at":"1970-01-01T00:00:01.000Z","local":"1970-01-01T01:00:01+01:00",
            "mark":{"kind":"gap","text":"the clock skips 02:30"}}]}"#,
    );
}

fn added() -> ScheduleShape {
    ScheduleShape {
        key: name("order-7"),
        tenant: name("acme"),
        task: Some(name("greet")),
        version: 3,
        state: ScheduleState::Active,
        trigger: trigger(),
        zone: "UTC".to_owned(),
        delay_ms: 4,
        start: Some(at(1)),
        end: Some(at(2)),
        times: Some(5),
        data_bytes: Some(6),
        next: Some(due()),
        fired: 7,
        skipped: 8,
        created_at: at(3),
        finished_at: Some(at(4)),
        set_back: Some("the clock was set back".to_owned()),
        kind: None,
        reason: None,
        first: None,
        added_by: None,
        data: None,
    }
}

const ADDED: &str = r#"{"key":"order-7","tenant":"acme","task":"greet","version":3,"state":"active",
    "trigger":{"kind":"every","text":"every 10s"},"zone":"UTC","delay_ms":4,"start":"1970-01-01T00:00:01.000Z",
    "end":"1970-01-01T00:00:02.000Z","times":5,"data_bytes":6,"next":"#;

const ADDED_REST: &str = r#","fired":7,"skipped":8,"created_at":"1970-01-01T00:00:03.000Z",
    "finished_at":"1970-01-01T00:00:04.000Z","set_back":"the clock was set back"}"#;

#[test]
fn an_added_schedule_shows_its_definition_and_its_progress() {
    is_written_and_read(
        &AddedSchedules { schedules: vec![added()], next: Some(name("order-7")), cursor: Some("n61".to_owned()) },
        &format!(r#"{{"schedules":[{ADDED}{DUE}{ADDED_REST}],"next":"order-7","cursor":"n61"}}"#),
    );
    for state in [ScheduleState::Active, ScheduleState::Resting, ScheduleState::Paused, ScheduleState::Finished] {
        is_written_and_read(&state, &format!("\"{}\"", state.as_str()));
    }
}

#[test]
fn a_schedule_with_a_type_shows_the_reason_why_it_rests() {
    let typed = ScheduleShape {
        task: None,
        state: ScheduleState::Resting,
        kind: Some(name("mail-a")),
        reason: Some("no route".to_owned()),
        first: Some(at(5)),
        added_by: Some(name("signup")),
        data: Some(DataShape::of(b"hello", 5)),
        ..added()
    };
    let whole = format!("{ADDED}{DUE}{ADDED_REST}");
    let rests = whole.replace(r#""task":"greet""#, r#""task":null"#).replace(r#""active""#, r#""resting""#);
    let rest = r#","type":"mail-a","reason":"no route","first":"1970-01-01T00:00:05.000Z","added_by":"signup",
        "data":{"type":"text","text":"hello","cut":false}}"#;
    is_written_and_read(&typed, &format!("{}{rest}", rests.strip_suffix('}').unwrap()));
    assert_eq!((typed.whose(), added().whose()), ("type mail-a".to_owned(), "greet".to_owned()));
}

#[test]
fn data_is_shown_by_its_kind_and_cut_within_no_character() {
    let json = |text: &str| serde_json::to_value(DataShape::of(text.as_bytes(), text.len() as u64)).unwrap();
    assert_eq!(json(r#"{"a": [1]}"#), serde_json::json!({"type": "json", "json": {"a": [1]}}));
    assert_eq!(json("{}x"), serde_json::json!({"type": "text", "text": "{}x", "cut": false}));
    assert_eq!(DataShape::of(&[0xff, 0], 2), DataShape::Binary { hex: "ff00".to_owned(), cut: false });
    let cut = DataShape::of(&"[1]é".as_bytes()[..4], 9);
    assert_eq!(cut, DataShape::Text { text: "[1]".to_owned(), cut: true });
}

#[test]
fn a_change_of_an_added_schedule_names_its_effect() {
    for (effect, word) in [
        (ScheduleEffect::Added, "added"),
        (ScheduleEffect::Existing, "existing"),
        (ScheduleEffect::Replaced, "replaced"),
        (ScheduleEffect::Deleted, "deleted"),
        (ScheduleEffect::Reset, "reset"),
    ] {
        let changed = ScheduleChanged { effect, schedule: added(), notes: vec!["a note".to_owned()] };
        let schedule = format!("{ADDED}{DUE}{ADDED_REST}");
        is_written_and_read(&changed, &format!(r#"{{"effect":"{word}","schedule":{schedule},"notes":["a note"]}}"#));
    }
}

#[test]
fn a_request_for_a_schedule_has_the_keys_that_are_set() {
    let request = ScheduleRequest {
        task: Some("greet".to_owned()),
        after_now: Some("2h".to_owned()),
        times: Some(1),
        data: Some("hello".into()),
        replace: true,
        version: Some(3),
        ..ScheduleRequest::default()
    };
    is_written_and_read(&request, r#"{"task":"greet","in":"2h","times":1,"data":"hello","replace":true,"version":3}"#);
}
