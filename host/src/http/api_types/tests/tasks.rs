//! Tasks, in short and in full.

use std::time::Duration;

use super::{at, is_written, is_written_and_read, name};
use crate::http::api_types::following::Following;
use crate::http::api_types::grants::{BudgetShape, GrantsShape};
use crate::http::api_types::schedule::MarkShape;
use crate::http::api_types::statistics::StatisticsShape;
use crate::http::api_types::timing::Around;
use crate::http::api_types::{
    Due, LastRun, LimitsShape, Retry, TaskDetail, TaskInTime, TaskSummary, Tasks, TriggerShape, WaitingRun,
};
use crate::ops::{Change, ChangeKind, Spread, Statistics};
use crate::testkit;
use sexton_domain::labels::Labels;
use sexton_domain::pause::PausedBy;
use sexton_domain::run::{HeldBack, Outcome, RunId, RunState};
use sexton_domain::task::{
    Budget, Directory, Grants, HttpHost, IfHeld, Keep, Ladder, Limits, LockMode, Pattern, Quota, Task, TaskLock,
};
use sexton_store::TaskState;

pub(super) fn trigger() -> TriggerShape {
    TriggerShape { kind: "every".to_owned(), text: "every 10s".to_owned() }
}

pub(super) fn due() -> Due {
    let mark = Some(MarkShape { kind: "gap".to_owned(), text: "the clock skips 02:30".to_owned() });
    Due { at: at(1), local: "1970-01-01T01:00:01+01:00".to_owned(), mark, starts_at: Some(at(2)) }
}

pub(super) const DUE: &str = r#"{"at":"1970-01-01T00:00:01.000Z","local":"1970-01-01T01:00:01+01:00",
    "mark":{"kind":"gap","text":"the clock skips 02:30"},"starts_at":"1970-01-01T00:00:02.000Z"}"#;

/// Returns a summary with a value in every field.
fn full() -> TaskSummary {
    let text = |text: &str| Some(text.to_owned());
    TaskSummary {
        name: name("greet"),
        tenant: name("acme"),
        plugin: name("greeter"),
        description: text("Greets."),
        labels: Labels::read(["team=web"]).expect("a label"),
        trigger: trigger(),
        zone: "Europe/Berlin".to_owned(),
        timing: text("3 times"),
        remarks: vec!["a remark".to_owned()],
        next: vec![due()],
        done: text("ran 3 of 3 times"),
        left_out: text("2 instants"),
        set_back: text("the clock was set back"),
        paused: true,
        paused_by: Some(PausedBy::Task),
        paused_at: Some(at(3)),
        paused_why: text("upgrade"),
        failures: 4,
        crashes: 5,
        held_until: Some(at(6)),
        overlap: "skip".to_owned(),
        runs_on: vec![name("gpu")],
        last: Some(LastRun {
            run: RunId(7),
            state: RunState::Failed,
            due_at: at(7),
            ended_at: Some(at(8)),
            outcome: Some(Outcome::OutOfFuel),
        }),
        waiting: Some(WaitingRun { run: RunId(9), due_at: at(9), run_at: at(10) }),
        held_back: Some(HeldBack { reason: "over its budget".to_owned(), until: None }.into()),
        following: Some(Following {
            next: Some(at(11)),
            run: Some(RunId(12)),
            alive: Some(13),
            interval_ms: Some(14),
            started: Some(at(15)),
            failed: Some(at(16)),
        }),
    }
}

/// The JSON of that summary, without its braces.
const FULL: &str = r#""name":"greet","tenant":"acme","plugin":"greeter","description":"Greets.",
    "labels":{"team":"web"},
    "trigger":{"kind":"every","text":"every 10s"},"zone":"Europe/Berlin","timing":"3 times","remarks":["a remark"],
    "next":[{"at":"1970-01-01T00:00:01.000Z","local":"1970-01-01T01:00:01+01:00",
    "mark":{"kind":"gap","text":"the clock skips 02:30"},"starts_at":"1970-01-01T00:00:02.000Z"}],
    "done":"ran 3 of 3 times","left_out":"2 instants","set_back":"the clock was set back",
    "paused":true,"paused_by":"task","paused_at":"1970-01-01T00:00:03.000Z","paused_why":"upgrade",
    "failures":4,"crashes":5,"held_until":"1970-01-01T00:00:06.000Z","overlap":"skip","runs_on":["gpu"],
    "last":{"run":7,"state":"failed","due_at":"1970-01-01T00:00:07.000Z","ended_at":"1970-01-01T00:00:08.000Z",
    "outcome":"out-of-fuel"},
    "waiting":{"run":9,"due_at":"1970-01-01T00:00:09.000Z","run_at":"1970-01-01T00:00:10.000Z"},
    "held_back":{"reason":"over its budget","until":null},
    "following":{"next":"1970-01-01T00:00:11.000Z","run":12,"alive":13,"interval_ms":14,
    "started":"1970-01-01T00:00:15.000Z","failed":"1970-01-01T00:00:16.000Z"}"#;

#[test]
fn a_task_is_listed_with_its_schedule_and_its_state() {
    is_written_and_read(&Tasks { tasks: vec![full()], cursor: None }, &format!(r#"{{"tasks":[{{{FULL}}}]}}"#));
    let page = Tasks { tasks: Vec::new(), cursor: Some("n61".to_owned()) };
    is_written_and_read(&page, r#"{"tasks":[],"cursor":"n61"}"#);
}

#[test]
fn a_task_of_which_little_is_known_leaves_out_what_few_tasks_have() {
    let bare = TaskSummary {
        description: None,
        labels: Labels::default(),
        timing: None,
        remarks: Vec::new(),
        next: Vec::new(),
        done: None,
        left_out: None,
        set_back: None,
        paused: false,
        paused_by: None,
        paused_at: None,
        paused_why: None,
        held_until: None,
        runs_on: Vec::new(),
        last: None,
        waiting: None,
        held_back: None,
        following: None,
        ..full()
    };
    is_written_and_read(
        &bare,
        r#"{"name":"greet","tenant":"acme","plugin":"greeter","description":null,
            "trigger":{"kind":"every","text":"every 10s"},"zone":"Europe/Berlin","next":[],"paused":false,
            "paused_at":null,"paused_why":null,"failures":4,"crashes":5,"held_until":null,"overlap":"skip",
            "last":null}"#,
    );
}

/// Returns grants of every kind.
fn grants() -> Grants {
    let patterns = |text: &str| vec![Pattern(text.to_owned())];
    let directory = |write, quota| Directory { host: "/srv/in".into(), guest: "/in".to_owned(), write, quota };
    Grants {
        locks: patterns("ledger"),
        cache: patterns("front/*"),
        keep: vec![Keep { keys: Pattern("front/*".into()), versions: 5 }],
        schedule: patterns("part"),
        http: vec![
            HttpHost { host: "example.org".to_owned(), port: Some(8080) },
            HttpHost { host: "*.example.org".to_owned(), port: None },
        ],
        directories: vec![directory(false, None), directory(true, Some(Quota { bytes: 10, entries: 20 }))],
    }
}

const GRANTS: &str = r#"{"locks":["ledger"],"cache":["front/*"],"keep":[{"keys":"front/*","versions":5}],"schedule":["part"],
    "http":[{"host":"example.org","port":8080},{"host":"*.example.org","port":null}],
    "directories":[{"host":"/srv/in","guest":"/in","write":false},
    {"host":"/srv/in","guest":"/in","write":true,"quota":10,"entries":20}]}"#;

#[test]
fn grants_are_lists_of_names_hosts_and_directories() {
    is_written(&GrantsShape::from(grants()), GRANTS);
    let budget = BudgetShape::from(Budget { fuel_per_minute: Some(1), cache: None });
    is_written(&budget, r#"{"fuel_per_minute":1,"cache":null}"#);
}

#[test]
fn a_task_in_full_begins_with_its_summary() {
    let detail = TaskDetail {
        summary: full(),
        words: "every 10s".to_owned(),
        catch_up: "latest".to_owned(),
        around: Around {
            start: Some(at(1)),
            end: Some(at(2)),
            times: Some(3),
            delay_ms: 4,
            jitter_ms: 5,
            spread_ms: 6,
            start_within_ms: Some(7),
            catch_up_within_ms: None,
        },
        fired: 8,
        retry: Retry { attempts: 3, delay_ms: 1000, factor: 2.0, max_delay_ms: 60_000, jitter: 0.5 },
        pause_after: Some(9),
        brake_ms: None,
        lock: None,
        limits: LimitsShape {
            deadline_ms: 1,
            idle_ms: None,
            grace_ms: 2,
            ask_ms: 0,
            insist_ms: None,
            fuel: 3,
            memory: 4,
            table_elements: 5,
            host_calls: 6,
            host_call_bytes: 7,
            handles: 8,
            files: 9,
            output: 10,
            log: 11,
            stdio: 12,
        },
        budget: Budget { fuel_per_minute: None, cache: Some(2) }.into(),
        grants: grants().into(),
        args: vec!["-v".to_owned()],
        settings: vec!["city".to_owned()],
        env: vec!["LANG".to_owned()],
        input_bytes: 13,
        statistics: Some(statistics()),
        types: vec!["mail-*".to_owned()],
    };
    let rest = r#""words":"every 10s","catch_up":"latest",
        "around":{"start":"1970-01-01T00:00:01.000Z","end":"1970-01-01T00:00:02.000Z","times":3,"delay_ms":4,
        "jitter_ms":5,"spread_ms":6,"start_within_ms":7,"catch_up_within_ms":null},"fired":8,
        "retry":{"attempts":3,"delay_ms":1000,"factor":2.0,"max_delay_ms":60000,"jitter":0.5},"pause_after":9,
        "brake_ms":null,"limits":{"deadline_ms":1,"grace_ms":2,"fuel":3,"memory":4,"table_elements":5,"host_calls":6,
        "host_call_bytes":7,"handles":8,"files":9,"output":10,"log":11,"stdio":12},
        "budget":{"fuel_per_minute":null,"cache":2}"#;
    let last = r#""args":["-v"],"settings":["city"],"env":["LANG"],"input_bytes":13,"statistics":"#;
    let types = r#""types":["mail-*"]"#;
    is_written(&detail, &format!(r#"{{{FULL},{rest},"grants":{GRANTS},{last}{STATISTICS},{types}}}"#));
    let read: TaskInTime = serde_json::from_str(&serde_json::to_string(&detail).expect("JSON")).expect("a part of it");
    is_written(&read.statistics.expect("they are there"), STATISTICS);
    assert_eq!((read.words.as_str(), read.summary.name.as_str()), ("every 10s", "greet"));
}

#[test]
fn the_lock_and_the_ladder_of_a_task_are_there_if_it_has_them() {
    let lock = TaskLock {
        name: "ledger".to_owned(),
        mode: LockMode::Shared,
        wait: Duration::from_secs(2),
        if_held: IfHeld::Skip,
    };
    let seconds = Duration::from_secs;
    let ladder = Ladder { ask: seconds(1), insist: Some(seconds(2)), end: seconds(3) };
    let limits = Limits { idle: Some(seconds(4)), ladder, ..Limits::default() };
    let task = Task { lock: Some(lock), limits, ..testkit::task("a") };
    let summary = full();

    let json = serde_json::to_value(TaskDetail::of(&task, &TaskState::default(), summary, None)).unwrap();

    let expected = serde_json::json!({ "name": "ledger", "mode": "shared", "wait_ms": 2000, "if_held": "skip" });
    assert_eq!(json["lock"], expected);
    assert_eq!(json.get("statistics"), None, "they were not requested");
    let limits = ["idle_ms", "ask_ms", "insist_ms", "grace_ms"].map(|name| json["limits"][name].as_u64());
    assert_eq!(limits, [Some(4000), Some(1000), Some(2000), Some(3000)]);
}

/// Returns sums with a value in every field.
fn statistics() -> StatisticsShape {
    let ms = std::time::Duration::from_millis;
    let spread = |n| Some(Spread { count: n, mean: ms(n + 1), p95: ms(n + 2), longest: ms(n + 3) });
    let change = Change {
        kind: ChangeKind::New,
        run: RunId(20),
        at: at(21),
        failures: 22,
        last: (RunId(23), at(24)),
        outcome: Some(Outcome::Trapped),
        message: Some("busy".to_owned()),
    };
    let healed = Change { kind: ChangeKind::Healed, outcome: None, message: None, ..change.clone() };
    let sums = Statistics {
        since: at(1),
        cut: true,
        runs: 2,
        states: [3, 4, 5, 6, 7],
        skipped: 8,
        most_at_once: 9,
        at_limit: 20,
        took: spread(10),
        waited: spread(14),
        apart: None,
        changes: vec![change, healed],
        changes_cut: true,
        failing_since: Some(at(18)),
    };
    StatisticsShape::of(sums, 19)
}

const STATISTICS: &str = r#"{"since":"1970-01-01T00:00:01.000Z","cut":true,"runs":2,"succeeded":5,"failed":6,"skipped":8,
    "cancelled":7,"running":4,"waiting":3,"at_once":{"most":9,"limit":19,"at_limit":20},
    "run":{"count":10,"mean_ms":11,"p95_ms":12,"longest_ms":13},
    "wait":{"count":14,"mean_ms":15,"p95_ms":16,"longest_ms":17},"interval":null,
    "failing_since":"1970-01-01T00:00:18.000Z",
    "changes":[{"change":"new","run":20,"at":"1970-01-01T00:00:21.000Z","failures":22,"last_run":23,
    "last_at":"1970-01-01T00:00:24.000Z","outcome":"trapped","message":"busy"},
    {"change":"healed","run":20,"at":"1970-01-01T00:00:21.000Z","failures":22,"last_run":23,
    "last_at":"1970-01-01T00:00:24.000Z","outcome":null,"message":null}],"changes_cut":true}"#;
