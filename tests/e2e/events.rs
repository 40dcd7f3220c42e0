//! Tests the stream of events, on both stores: order, resuming, limits, and the command line.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sexton_testkit::api;
use sexton_testkit::postgres::{fresh_schema, shared};

use crate::harness::{Host, PATIENCE, SEXTON, Setup};
use crate::outcomes::PROBE;
use crate::pausing::does;

const ECHO: &str = r#"{"do": "echo"}"#;

/// The settings of a host with a file of its own.
fn in_file() -> String {
    String::new()
}

/// The settings of hosts that share a database.
fn in_database() -> impl Fn(&str) -> String {
    let (url, schema) = (shared().url(), fresh_schema());
    move |name| format!("[host]\nname = {name:?}\n[store]\nurl = {url:?}\nschema = {schema:?}\n")
}

fn host(config: String) -> Host {
    let host = Host::with(&Setup { config });
    host.add("probe", "probe", PROBE);
    host
}

/// A stream of server-sent events.
struct Stream(Box<dyn std::io::BufRead>);

/// A message of a stream.
#[derive(Debug)]
struct Message {
    id: u64,
    /// The type of a message about the stream itself.
    about: Option<String>,
    data: Value,
}

impl Stream {
    /// Opens a stream, and waits until it is connected.
    fn open(host: &Host, query: &str, last: Option<u64>) -> Self {
        let client = api::client(PATIENCE);
        let mut request = client.get(format!("{}/v1/events{query}", host.url)).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let answer = request.call().expect("the host answers");
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().into_with_config().limit(u64::MAX).reader();
        let mut stream = Self(Box::new(BufReader::new(body)));
        assert_eq!(stream.line().as_deref(), Some(": heartbeat"));
        stream
    }

    /// Returns the next line; `None` at the end of the stream.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap_or(0);
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Returns the next message that is no sign of life; `None` at the end of the stream.
    fn next(&mut self) -> Option<Message> {
        let (mut id, mut about, mut data) = (0, None, None);
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", text)) => id = text.parse().unwrap(),
                Some(("event", text)) => about = Some(text.to_owned()),
                Some(("data", text)) => data = Some(serde_json::from_str(text).unwrap()),
                _ if line.is_empty() => match data.take() {
                    Some(data) => return Some(Message { id, about, data }),
                    None => (id, about) = (0, None),
                },
                _ => {}
            }
        }
    }

    /// Reads all that comes until the stream breaks, as that of a host that was killed does.
    fn until_end(&mut self) {
        while self.next().is_some() {}
    }

    /// Returns all events up to the end of the run `run`.
    fn until_finished(&mut self, run: i64) -> Vec<Message> {
        let mut seen = Vec::new();
        loop {
            let message = self.next().expect("the stream goes on");
            let over = message.data["run"] == run && message.data["kind"] == "run.finished";
            seen.push(message);
            if over {
                return seen;
            }
        }
    }
}

fn kinds(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.data["kind"].as_str().unwrap()).collect()
}

fn ids(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.id).collect()
}

fn a_run_is_told(host: &Host) {
    let mut stream = Stream::open(host, "?task=probe", None);
    let mut failures = Stream::open(host, "?kind=run.finished", None);

    let run = host.trigger("probe", ECHO);
    host.wait(run);
    let failed = host.trigger("probe", r#"{"do": "fail-permanent"}"#);

    let told = stream.until_finished(run);
    assert_eq!(kinds(&told), ["run.queued", "run.started", "run.finished"]);
    assert!(told.windows(2).all(|two| two[0].id < two[1].id), "{told:?}");
    assert_eq!((&told[2].data["state"], &told[2].data["outcome"]), (&"succeeded".into(), &"succeeded".into()));
    let ends = failures.until_finished(failed);
    let ends: Vec<_> = ends.iter().map(|end| (end.data["run"].clone(), end.data["outcome"].clone())).collect();
    assert_eq!(ends, [(run.into(), "succeeded".into()), (failed.into(), "failed-permanent".into())]);
}

#[test]
fn a_triggered_run_is_told_from_its_beginning_to_its_end() {
    a_run_is_told(&host(in_file()));
    a_run_is_told(&host(in_database()("one")));
}

/// Checks that a client which had `seen` and goes on at `host` has missed nothing and gets nothing twice.
fn goes_on(host: &Host, seen: &[Message], missed: i64) {
    let mut stream = Stream::open(host, "", seen.last().map(|last| last.id));
    let later = stream.until_finished(missed);

    let mut whole = Stream::open(host, "?after=0", None);
    let whole = ids(&whole.until_finished(missed));
    let from = whole.iter().position(|id| *id == seen[0].id).unwrap();
    assert_eq!([ids(seen), ids(&later)].concat(), whole[from..], "{later:?}");
}

#[test]
fn a_client_goes_on_after_a_restart_of_its_host() {
    for config in [in_file(), in_database()("one")] {
        let first = host(config);
        let mut stream = Stream::open(&first, "", None);
        let seen = stream.until_finished(first.trigger("probe", ECHO));
        first.wait(first.trigger("probe", ECHO));

        let second = Host::start_in(first.kill());
        second.loaded("probe");
        stream.until_end();
        let missed = second.trigger("probe", ECHO);

        goes_on(&second, &seen, missed);
    }
}

#[test]
fn a_client_goes_on_at_another_host_of_the_store() {
    let settings = in_database();
    let [one, two] = ["one", "two"].map(|name| host(settings(name)));
    let mut stream = Stream::open(&one, "", None);
    let seen = stream.until_finished(one.trigger("probe", ECHO));
    two.wait(two.trigger("probe", ECHO));
    drop(stream);

    let missed = one.trigger("probe", ECHO);

    goes_on(&two, &seen, missed);
    let mut live = Stream::open(&two, "", None);
    let run = one.trigger("probe", ECHO);
    assert_eq!(kinds(&live.until_finished(run)).last(), Some(&"run.finished"), "an event of another host");
}

#[test]
fn a_client_that_is_too_late_is_reset_to_the_newest_event() {
    let settings = in_database();
    for config in [in_file(), settings("one")] {
        let first = host(format!("{config}[events]\nkeep = 1\n"));
        let runs: Vec<i64> = (0..3).map(|_| first.trigger("probe", ECHO)).collect();
        for run in runs {
            first.wait(run);
        }

        // A host prunes when it starts.
        let second = Host::start_in(first.kill());
        second.loaded("probe");
        let newest = second.eventually("old events are gone", || {
            let message = Stream::open(&second, "?after=1", None).next()?;
            (message.about.as_deref() == Some("reset")).then(|| message.data["newest"].as_u64().unwrap())
        });

        let mut stream = Stream::open(&second, "", Some(1));
        let reset = stream.next().unwrap();
        assert_eq!((reset.about.as_deref(), reset.data["kind"].as_str()), (Some("reset"), Some("reset")));
        assert!(reset.id >= newest && reset.data["newest"] == reset.id, "{reset:?}");
        let run = second.trigger("probe", ECHO);
        assert_eq!(kinds(&stream.until_finished(run)), ["run.queued", "run.started", "run.finished"]);
    }
}

/// Opens a stream whose client never reads.
fn stuck(host: &Host) -> TcpStream {
    let address = host.url.strip_prefix("http://").unwrap();
    let mut stuck = TcpStream::connect(address).unwrap();
    stuck.write_all(format!("GET /v1/events HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let mut first = [0];
    stuck.read_exact(&mut first).unwrap();
    stuck
}

#[test]
fn clients_that_never_read_delay_neither_others_nor_the_api() {
    for config in [in_file(), in_database()("one")] {
        let host = host(config);
        let stuck: Vec<TcpStream> = (0..40).map(|_| stuck(&host)).collect();
        let mut quick = Stream::open(&host, "?task=probe", None);

        let runs: Vec<i64> = (0..20).map(|_| host.trigger("probe", ECHO)).collect();

        for run in &runs {
            host.wait(*run);
        }
        let (mut seen, mut over) = (0, 0);
        while over < runs.len() {
            let event = quick.next().unwrap().data;
            seen += 1;
            over += usize::from(event["kind"] == "run.finished");
        }
        assert_eq!(seen, 3 * runs.len());
        drop(stuck);
    }
}

#[test]
fn a_quiet_stream_has_signs_of_life() {
    let host = Host::start();
    let mut stream = Stream::open(&host, "?kind=schedule", None);
    assert!(stream.line().is_some_and(|line| line.starts_with("id: ")));
    assert_eq!(stream.line().as_deref(), Some(""));

    // This takes fifteen seconds: the time between two signs is a part of the promise.
    assert_eq!(stream.line().as_deref(), Some(": heartbeat"));
}

#[test]
fn a_host_that_keeps_no_events_says_so() {
    let host = Host::with(&Setup { config: "[events]\nkeep = 0\n".into() });

    let (status, body) = host.request("GET", "/v1/events", b"");

    assert_eq!(status, 409);
    assert!(String::from_utf8(body).unwrap().contains("no-events"));
    let refused = host.cli(&["events"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("[events] keep"));
}

/// Begins to follow events with the command line.
fn following(host: &Host, args: &[&str]) -> Child {
    let mut command = Command::new(SEXTON);
    command.arg("events").args(args).env("SEXTON_URL", &host.url).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn the_command_line_follows_events_over_a_restart_and_ends_with_its_reader() {
    let port = sexton_testkit::ports::free();
    let directory = Setup::default().directory();
    let config = format!("[http]\nlisten = \"127.0.0.1:{port}\"\n");
    std::fs::write(directory.path().join("sexton.toml"), config).unwrap();
    let first = Host::start_in(directory);
    first.add("probe", "probe", PROBE);
    let mut following = following(&first, &["--task", "probe", "--kind", "run.finished", "--after", "0", "--json"]);
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap()).unwrap();

    let run = first.trigger("probe", ECHO);
    assert_eq!(next()["run"], run);
    let second = Host::start_in(first.kill());
    second.loaded("probe");
    let run = second.trigger("probe", ECHO);
    assert_eq!(next()["run"], run);

    drop(lines);
    // Its reader is gone, which it notices with the next event.
    second.run("probe", ECHO);
    let ended = second.eventually("the command ends", || following.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}

#[test]
fn events_are_lines_for_people() {
    let host = host(in_file());
    does(&host, &["pause", "probe"]);
    let mut following = following(&host, &["--after", "0"]);
    let lines = BufReader::new(following.stdout.take().unwrap()).lines().map(Result::unwrap);

    let paused = lines.into_iter().find(|line| line.contains("task.paused")).unwrap();

    assert!(paused.ends_with("task.paused       probe"), "{paused}");
    following.kill().unwrap();
    following.wait().unwrap();
}
