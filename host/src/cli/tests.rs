//! Tests commands against a real API on a real socket: their output, and their exit codes.

use sexton_store::history::History as _;
use sexton_store::runs::Runs as _;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::screen::Screen;
use super::{Cli, CliError, Exit, dispatch};
use crate::http::api_types::runs::Runs;
use crate::http::serve;
use crate::http::tests::{NOW, Rig, report};
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{Cause, Outcome, Output};
use sexton_store::NewRun;

struct Host {
    rig: Rig,
    url: String,
    runtime: Runtime,
}

impl Host {
    fn new() -> Self {
        let runtime = Runtime::new().expect("threads");
        let rig = Rig::new();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
        runtime.spawn(serve(listener, rig.router.clone(), std::future::pending()));
        Self { rig, url, runtime }
    }

    fn screen(&self) -> Screen {
        Screen::plain()
    }

    /// Returns the output of `line`.
    fn prints(&self, line: &str) -> String {
        let screen = self.screen();
        self.sexton(line, &screen).unwrap_or_else(|e| panic!("{line}: {e:?}"));
        String::from_utf8(screen.kept.lock().expect("no panics").clone()).expect("UTF-8")
    }

    fn fails(&self, line: &str) -> Exit {
        self.sexton(line, &self.screen()).expect_err(line).exit()
    }

    fn sexton(&self, line: &str, screen: &Screen) -> Result<(), CliError> {
        let words = ["sexton", "--url", &self.url].into_iter().chain(line.split(' '));
        dispatch(Cli::read(words).expect("a well-formed line"), screen)
    }

    /// Claims the next run that is due, as a worker would, and ends it with `transition`.
    fn work(&self, transition: Transition, outcome: Outcome) {
        self.runtime.block_on(async {
            let claim = self.rig.claim().await;
            let log =
                "{\"at\":\"2026-11-22T10:00:00Z\",\"level\":\"info\",\"message\":\"\\u001b[2Jsaid\"}\n".to_owned();
            self.rig.finish(&claim, transition, report(outcome, log)).await;
        });
    }
}

fn output(body: &str) -> Transition {
    Transition::Succeed(Output { content_type: None, body: body.as_bytes().to_vec() })
}

#[test]
fn a_run_is_triggered_worked_off_and_looked_at() {
    let host = Host::new();
    assert_eq!(host.prints("trigger hello --input x --key k"), "Created run 1 of `hello`.\n");
    assert_eq!(host.prints("trigger hello --input x --key k"), "Run 1 of `hello` exists already for this key.\n");
    host.work(output("made"), Outcome::Succeeded);

    assert_eq!(host.prints("result hello"), "made");
    assert_eq!(host.prints("result 1"), "made");
    assert_eq!(
        host.prints("trigger hello --input x --key k --wait"),
        "made",
        "a wait for what is over prints what it made"
    );
    let runs = host.prints("runs --task hello --state succeeded");
    assert!(runs.lines().nth(1).is_some_and(|row| row.starts_with("1    hello  succeeded")), "{runs}");
    assert!(host.prints("tasks").contains("every 10s"));
    assert!(host.prints("show 1").contains("Attempt 1: succeeded"));
    for line in ["logs 1", "logs hello", "logs -f 1"] {
        let log = host.prints(line);
        assert!(log.contains("\\u001b[2Jsaid") && log.contains("-- attempt 1 succeeded"), "{line}: {log}");
    }
}

#[test]
fn runs_are_filtered_by_the_words_of_the_api() {
    let host = Host::new();
    host.prints("trigger hello --label team=web --label env=prod");
    host.work(Transition::Fail, Outcome::Trapped);
    host.prints("trigger hello");
    host.work(output("made"), Outcome::Succeeded);
    host.prints("trigger tick");
    let runs = |filter: &str| -> Vec<String> {
        let shown = host.prints(&format!("runs {filter}"));
        let ids = shown.lines().skip(1).take_while(|line| !line.is_empty());
        ids.filter_map(|row| row.split_whitespace().next()).map(str::to_owned).collect()
    };

    for (filter, expected) in [
        ("--outcome failed --since 24h", vec!["1"]),
        ("--outcome crashed,succeeded", vec!["2", "1"]),
        ("--state waiting,failed --cause demand", vec!["3", "1"]),
        ("--task h*", vec!["2", "1"]),
        ("--label team=web --label env=prod", vec!["1"]),
        ("--on box --begun --limit 1", vec!["2"]),
        ("--text SAID --until 2027-01-01", vec!["2", "1"]),
        ("--longer-than 1d", vec![]),
        ("--key monday", vec![]),
        ("--cursor r2", vec!["1"]),
        ("--before 3", vec!["2", "1"]),
    ] {
        assert_eq!(runs(filter), expected, "{filter}");
    }
    let labelled = host.prints("runs --label team=web");
    assert!(labelled.contains("LABELS") && labelled.contains("env=prod, team=web"), "{labelled}");
    assert!(!host.prints("runs --task tick").contains("LABELS"), "a column that would be empty is left out");
    assert!(host.prints("show 1").contains("labels      env=prod, team=web\n"));
    for wrong in
        ["runs --label team", "runs --since later", "runs --task A", "runs --cursor x", "trigger hello --label =1"]
    {
        assert_eq!(host.fails(wrong), Exit::Usage, "{wrong}");
    }
    assert_eq!(host.fails("runs --chain nothing"), Exit::NotFound);
}

#[test]
fn a_list_goes_on_while_the_host_has_more_runs_to_look_at() {
    let host = Host::new();
    let runs = |count: usize| {
        let run = || NewRun::of(crate::testkit::task_key("hello"), NOW, Cause::Demand);
        let runs = std::iter::repeat_with(run).take(count).collect();
        host.runtime.block_on(host.rig.store.enqueue(runs, NOW)).expect("a store that works");
    };

    runs(2500);
    assert_eq!(host.prints("runs --text nothing"), "There are no such runs.\n");
    let page: Runs = serde_json::from_str(&host.prints("runs --text nothing --json")).expect("the API's own shape");
    let (cursor, at) = (page.cursor.expect("a place to go on"), page.looked_back_to.expect("an instant"));
    assert_eq!((page.runs.len(), at), (0, NOW), "a program gets one page");
    assert_eq!(host.prints(&format!("runs --text nothing --cursor {cursor}")), "There are no such runs.\n");

    runs(18_000);
    let shown = host.prints("runs --text nothing");
    assert!(shown.starts_with("There are no such runs so far.\n\nLooked as far back as "), "{shown}");
    assert!(shown.contains("; go on with --cursor r"), "{shown}");
}

#[test]
fn tasks_are_listed_by_pattern_and_page_by_page() {
    let host = Host::new();

    assert!(host.prints("tasks t*").lines().nth(1).is_some_and(|row| row.starts_with("tick ")));
    assert_eq!(host.prints("tasks --label team=web"), "There are no such tasks.\n");
    assert!(!host.prints("tasks --limit 1").contains("tick"));
    for wrong in ["tasks hello --limit 1", "tasks t* --since 1d", "tasks --label team", "tasks --cursor r1"] {
        assert_eq!(host.fails(wrong), Exit::Usage, "{wrong}");
    }
}

#[test]
fn programs_get_the_apis_json() {
    let host = Host::new();
    host.prints("trigger hello");
    host.work(output("made"), Outcome::Succeeded);
    for line in ["tasks", "runs", "plugins", "hosts", "locks", "cache list", "show 1", "logs 1", "trigger hello"] {
        let json = host.prints(&format!("{line} --json"));
        for line in json.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{line}: {e}: {json}"));
        }
        assert!(!json.is_empty(), "{line}");
    }
}

#[test]
fn a_plugin_in_quarantine_is_shown_with_its_reason() {
    let plugins = Host::new().prints("plugins");
    assert!(plugins.contains("broken") && plugins.contains("quarantined"), "{plugins}");
    assert!(plugins.contains("broken is in quarantine:\n  <script>alert(1)</script> is no component"), "{plugins}");
}

#[test]
fn entries_are_set_read_listed_and_deleted() {
    let host = Host::new();
    assert_eq!(host.prints("cache set front/a?b#%c value --ttl 1h"), "Set `front/a?b#%c`, now at version 1.\n");
    assert_eq!(host.prints("cache get front/a?b#%c"), "value");
    assert!(host.prints("cache list front/").contains("front/a?b#%c"));
    assert_eq!(host.prints("cache delete front/a?b#%c"), "Deleted `front/a?b#%c`.\n");
    assert_eq!(host.fails("cache get front/a?b#%c"), Exit::NotFound);
}

#[test]
fn exit_codes_distinguish_failures() {
    let host = Host::new();
    for missing in
        ["show 99", "result nobody", "result hello", "logs nobody", "logs hello", "trigger nobody", "kill 99"]
    {
        assert_eq!(host.fails(missing), Exit::NotFound, "{missing}");
    }
    for wrong in [
        "trigger hello --after 10",
        "trigger hello --at someday",
        "cache set k v --ttl 1",
        "trigger hello --input-file /nowhere",
    ] {
        assert_eq!(host.fails(wrong), Exit::Usage, "{wrong}");
    }
    assert_eq!(host.fails("trigger hello --key late --wait --timeout 10ms"), Exit::TimedOut);
    host.work(Transition::Fail, Outcome::Trapped);
    assert_eq!(host.fails("trigger hello --key late --wait"), Exit::Trapped);
    assert_eq!(host.fails("kill 1"), Exit::Failed, "it is over already");

    let nobody = Cli::read(["sexton", "--url", "http://127.0.0.1:1", "tasks"]).expect("a well-formed line");
    assert_eq!(dispatch(nobody, &host.screen()).expect_err("no host").exit(), Exit::Unreachable);
}

#[test]
fn waiting_ends_when_the_run_does() {
    let host = Host::new();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| host.prints("trigger hello --wait --timeout 15s"));
        host.runtime.block_on(async {
            // The other thread makes the run, so the test polls until it exists, within the time of the wait.
            let made = async {
                while host.rig.store.counts().await.expect("a store that works").values().all(|count| *count == 0) {
                    tokio::time::sleep(Duration::from_millis(5)).await; // nothing tells of a run that was only enqueued
                }
            };
            tokio::time::timeout(Duration::from_secs(10), made).await.expect("the run is made");
        });
        host.work(output("late"), Outcome::Succeeded);
        assert_eq!(waiting.join().expect("no panic"), "late");
    });
}

#[test]
fn hosts_are_listed_and_drained_and_take_runs_again() {
    let host = Host::new();
    host.runtime.block_on(host.rig.announce("box", Duration::from_secs(15)));

    let hosts = host.prints("hosts");
    let row: Vec<&str> = hosts.lines().nth(1).unwrap_or_default().split_whitespace().take(5).collect();
    assert_eq!(row, ["box", "up", "3", "of", "8"], "{hosts}");
    let draining = "Host `box` is draining: it takes no more runs, and those it has under way continue.\n";
    assert_eq!(host.prints("drain"), draining, "the one that answers");
    assert!(host.prints("hosts").contains("draining"));
    assert_eq!(host.prints("drain box --undo"), "Host `box` takes runs.\n");
    assert_eq!(host.fails("drain nobody"), Exit::NotFound);
    host.runtime.block_on(host.rig.announce("box", Duration::ZERO));
    let gone = host.prints("drain box --wait");
    assert_eq!(gone, "Host `box` is gone; it will take runs when it starts.\nHost `box` is gone.\n");
}

#[test]
fn pausing_killing_and_resuming_say_what_they_did() {
    let host = Host::new();
    assert_eq!(host.prints("pause hello --reason one"), "Paused `hello`. Runs in progress continue.\n");
    let again = host.prints("pause hello");
    assert!(again.starts_with("`hello` was paused already since ") && again.ends_with("; reason: one\n"), "{again}");
    let other = host.prints("pause hello --reason two");
    assert!(other.ends_with("; reason: two\n"), "{other}");
    assert!(host.prints("tasks --json").contains("\"two\""), "the second reason takes the place of the first");
    host.prints("trigger hello");
    assert_eq!(host.prints("kill 1 --reason enough"), "Run 1 is cancelled; it was not running.\n");
    assert!(host.prints("resume hello").starts_with("Resumed `hello`. Runs that were due while it was paused"));
    assert!(host.prints("resume hello").starts_with("`hello` was not paused"));
    assert_eq!(host.prints("locks"), "No lock is held.\n");
    assert!(
        host.prints("tenants").contains("acme     0 of 2   1000000 of 1000000 a minute  0 B of 1000 B"),
        "{}",
        host.prints("tenants")
    );
    assert_eq!(
        host.prints("--tenant acme tasks"),
        "There are no tasks. `sexton plugins` shows the state of the plugins.\n"
    );
    assert_eq!(host.fails("--tenant nobody runs --state failed"), Exit::NotFound);
    let graph = host.prints("locks --graph");
    assert!(graph.starts_with("ledger\n  1. run 99 of tick waits, exclusive, since "), "{graph}");
    assert!(host.prints("locks --graph --dot").starts_with("digraph locks {"));
    assert!(host.prints("locks --graph --json").contains("\"waiters\":"));
}
