//! Runs, and the answers to requests about one.

use super::{at, is_written_and_read, name};
use crate::http::api_types::attempts::AttemptShape;
use crate::http::api_types::inputs::InputShape;
use crate::http::api_types::runs::{
    ChildShape, HeldBackShape, KillEffect, Killed, ReleasedRun, Repeated, RunDetail, RunShape, Runs, Triggered,
};
use sexton_domain::labels::Labels;
use sexton_domain::pause::PausedBy;
use sexton_domain::run::{Cause, HeldBack, Outcome, RunId, RunState};
use sexton_domain::task::TaskKey;
use sexton_store::RunInfo;
use sexton_store::views::{Child, ChildKind};

/// Returns a run with a value in every field.
fn full() -> RunInfo {
    RunInfo {
        id: RunId(7),
        task: TaskKey { tenant: name("acme"), task: name("greet") },
        state: RunState::Waiting,
        due_at: at(1),
        run_at: at(2),
        created_at: at(3),
        claimed_at: Some(at(4)),
        ended_at: Some(at(5)),
        cause: Cause::Task,
        attempt: 2,
        failures: 1,
        parent: Some(RunId(6)),
        host: Some("box".to_owned()),
        outcome: Some(Outcome::FailedTransient),
        message: Some("busy".to_owned()),
        forced: true,
        note: Some("past its limits".to_owned()),
        why: Some("its task is paused".to_owned()),
        deaths: 3,
        suspected_at: Some(at(8)),
        at_once: Some(2),
        key: Some(name("nightly")),
        chain: Some(name("round")),
        labels: Labels::read(["team=web"]).expect("a label"),
    }
}

/// Returns a run with as little as there may be.
fn bare() -> RunInfo {
    RunInfo {
        claimed_at: None,
        ended_at: None,
        parent: None,
        host: None,
        outcome: None,
        message: None,
        forced: false,
        note: None,
        why: None,
        deaths: 0,
        suspected_at: None,
        at_once: None,
        key: None,
        chain: None,
        labels: Labels::default(),
        ..full()
    }
}

const BARE: &str = r#"{"id":7,"tenant":"acme","task":"greet","state":"waiting",
    "due_at":"1970-01-01T00:00:01.000Z","run_at":"1970-01-01T00:00:02.000Z","created_at":"1970-01-01T00:00:03.000Z",
    "claimed_at":null,"ended_at":null,"cause":"task","attempt":2,"failures":1,"parent":null,"host":null,
    "outcome":null,"message":null,"forced":false,"why":null}"#;

#[test]
fn a_run_shows_all_that_the_store_and_the_host_know_of_it() {
    let held_back = Some(HeldBackShape { reason: "over its budget".to_owned(), until: Some(at(9)) });
    is_written_and_read(&RunShape { held_back, ..full().into() }, FULL);
}

const FULL: &str = r#"{"id":7,"tenant":"acme","task":"greet","state":"waiting",
    "due_at":"1970-01-01T00:00:01.000Z","run_at":"1970-01-01T00:00:02.000Z",
    "created_at":"1970-01-01T00:00:03.000Z","claimed_at":"1970-01-01T00:00:04.000Z",
    "ended_at":"1970-01-01T00:00:05.000Z","cause":"task","attempt":2,"failures":1,"parent":6,"host":"box",
    "outcome":"failed-transient","message":"busy","forced":true,"note":"past its limits",
    "why":"its task is paused","deaths":3,"suspected_at":"1970-01-01T00:00:08.000Z",
    "backfill":true,"key":"nightly","chain":"round","labels":{"team":"web"},"held_back":{"reason":"over its budget","until":"1970-01-01T00:00:09.000Z"}}"#;

#[test]
fn a_run_of_which_little_is_known_leaves_out_what_few_runs_have() {
    is_written_and_read(&RunShape::from(bare()), BARE);
}

#[test]
fn a_run_of_an_older_host_can_be_read() {
    let older = super::on_one_line(BARE).replace(r#""forced":false,"#, "");
    let read: RunShape = serde_json::from_str(&older).expect("the API's own shape");
    assert!(!read.forced && read.deaths == 0 && read.note.is_none());
}

#[test]
fn a_page_of_runs_names_the_next_one() {
    let (cursor, looked_back_to) = (Some("r7".to_owned()), Some(at(9)));
    let page = Runs { runs: vec![bare().into()], next: Some(RunId(7)), cursor, looked_back_to };
    let rest = r#""next":7,"cursor":"r7","looked_back_to":"1970-01-01T00:00:09.000Z""#;
    is_written_and_read(&page, &format!(r#"{{"runs":[{BARE}],{rest}}}"#));
    let last = Runs { runs: Vec::new(), next: None, cursor: None, looked_back_to: None };
    is_written_and_read(&last, r#"{"runs":[],"next":null}"#);
}

#[test]
fn a_run_is_shown_with_its_attempts_and_its_input() {
    let attempts: Vec<AttemptShape> = vec![super::attempts::full().into()];
    let (input, children) = (InputShape::of(b"{}"), Vec::new());
    let detail = RunDetail { run: bare().into(), attempts, input, children, children_cut: false };
    let attempt = super::attempts::FULL;
    let input = r#"{"bytes":2,"text":"{}","cut":false,"kind":"json","json":{}}"#;
    is_written_and_read(&detail, &format!(r#"{{"run":{BARE},"attempts":[{attempt}],"input":{input}}}"#));
}

#[test]
fn an_input_has_the_form_of_what_it_is() {
    let binary = r#"{"bytes":1,"text":null,"cut":false,"kind":"binary",
        "sha256":"a8100ae6aa1940d0b663bb31cd466142ebbdbd5187131b92d93818987832eb89"}"#;
    is_written_and_read(&InputShape::of(b"\xff"), binary);
    is_written_and_read(&InputShape::of(b"hi"), r#"{"bytes":2,"text":"hi","cut":false,"kind":"text"}"#);
    is_written_and_read(&InputShape::of(b""), r#"{"bytes":0,"text":"","cut":false}"#);
    let older = r#"{"bytes":2,"text":"{}","cut":false}"#;
    assert_eq!(serde_json::from_str::<InputShape>(older).expect("the shape of an older host").kind, None);
}

#[test]
fn a_run_is_shown_with_what_came_of_it_and_what_it_repeats() {
    let kinds = [ChildKind::Enqueued, ChildKind::Continuation, ChildKind::Rerun];
    let task = TaskKey { tenant: name("acme"), task: name("part") };
    let child = |kind| Child { run: RunId(8), task: task.clone(), state: RunState::Failed, kind, created_at: at(9) };
    let children: Vec<ChildShape> = kinds.into_iter().map(|kind| child(kind).into()).collect();
    for (child, word) in children.iter().zip(["enqueued", "continuation", "rerun"]) {
        let created = "1970-01-01T00:00:09.000Z";
        let json = format!(r#"{{"run":8,"task":"part","state":"failed","kind":"{word}","created_at":"{created}"}}"#);
        is_written_and_read(child, &json);
        assert_eq!(child.kind.as_str(), word);
    }
    let run = RunInfo { cause: Cause::Demand, parent: Some(RunId(6)), ..bare() };
    let run = serde_json::to_value(RunShape::from(run)).expect("JSON");
    assert_eq!((&run["parent"], &run["reruns"]), (&6.into(), &6.into()));
    let detail = RunDetail {
        run: bare().into(),
        attempts: Vec::new(),
        input: InputShape::default(),
        children,
        children_cut: true,
    };
    let detail = serde_json::to_value(detail).expect("JSON");
    assert_eq!((detail["children"][2]["kind"].as_str(), detail["children_cut"].as_bool()), (Some("rerun"), Some(true)));
}

#[test]
fn a_triggered_run_names_what_keeps_it_from_starting() {
    let triggered = Triggered {
        run: RunId(7),
        due_at: Some(at(1)),
        created: true,
        replaced: vec![RunId(5)],
        paused: true,
        paused_by: Some(PausedBy::Tenant),
        paused_why: Some("upgrade".to_owned()),
        note: Some("past its limits".to_owned()),
        held_back: Some(HeldBack { reason: "this host is draining".to_owned(), until: None }.into()),
        reruns: Some(Repeated { run: RunId(3), task: name("greet") }),
    };
    is_written_and_read(
        &triggered,
        r#"{"run":7,"due_at":"1970-01-01T00:00:01.000Z","created":true,"replaced":[5],"paused":true,
            "paused_by":"tenant","paused_why":"upgrade","note":"past its limits",
            "held_back":{"reason":"this host is draining","until":null},"reruns":{"run":3,"task":"greet"}}"#,
    );
    let existed = Triggered {
        due_at: None,
        created: false,
        replaced: Vec::new(),
        paused: false,
        paused_by: None,
        paused_why: None,
        note: None,
        held_back: None,
        reruns: None,
        ..triggered
    };
    is_written_and_read(&existed, r#"{"run":7,"created":false,"replaced":[],"paused":false,"paused_why":null}"#);
}

#[test]
fn requests_to_end_or_release_a_run_are_answered_with_their_effect() {
    for (effect, word) in
        [(KillEffect::Cancelled, "cancelled"), (KillEffect::Stopping, "stopping"), (KillEffect::Requested, "requested")]
    {
        let killed = Killed { run: RunId(7), effect, grace_ms: 1000 };
        is_written_and_read(&killed, &format!(r#"{{"run":7,"effect":"{word}","grace_ms":1000}}"#));
    }
    is_written_and_read(&ReleasedRun { run: RunId(7) }, r#"{"run":7}"#);
}
