//! Tests that a missing grant is named: in the run's message, in its log and in the host's log, with the line to add.

use crate::harness::{Host, attempts, id, outcome};

const MANIFEST: &str = r#"
[tasks.probe]
[tasks.probe.retry]
attempts = 1
[tasks.probe.grants]
locks = ["a"]
cache = ["x/*"]
schedule = ["probe"]
http = ["127.0.0.1:1", "localhost"]
directories = [{ host = "/HOST", guest = "/data" }]
"#;

fn host() -> (Host, String) {
    let host = Host::start();
    let data = host.directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let data = data.display().to_string();
    host.add("probe", "probe", &MANIFEST.replace("/HOST", &data));
    (host, data)
}

#[test]
fn every_grant_that_is_missing_at_run_time_is_named_with_the_line_to_add() {
    let (host, data) = host();
    let writable = format!(r#"directories = [{{ host = "{data}", guest = "/data", write = true }}]"#);
    let cases = [
        (r#"{"do": "lock-wait", "name": "c"}"#, "the lock `c`", r#"locks = ["a", "c"]"#),
        (r#"{"do": "cache-get", "key": "y/1"}"#, "the cache key `y/1`", r#"cache = ["x/*", "y/1"]"#),
        (r#"{"do": "enqueue", "task": "other"}"#, "the task `other`", r#"schedule = ["probe", "other"]"#),
        (
            r#"{"do": "http-get", "url": "http://example.com:8080/"}"#,
            "the host `example.com:8080`",
            r#"http = ["127.0.0.1:1", "localhost", "example.com:8080"]"#,
        ),
        (r#"{"do": "write-file", "path": "/data/out.txt", "content": "x"}"#, "`out.txt`", &writable),
    ];
    for (input, name, line) in cases {
        let run = host.run("probe", input);
        let message = attempts(&run)[0]["message"].as_str().unwrap();
        let line = format!("add `{line}` to [tasks.probe.grants] in probe.toml");
        assert!(message.contains(name) && message.contains(&line), "{input}: {message}");
        let log = attempts(&run)[0]["log"]["text"].as_str().unwrap().to_owned();
        assert!(log.contains("refused: ") && log.contains(&name.replace('"', "\\\"")), "{input}: {log}");
        assert!(host.log().contains(name), "{}", host.log());
    }
}

#[test]
fn sockets_and_headers_that_no_task_may_have_are_named_too() {
    let (host, _) = host();
    for (input, part) in [
        (r#"{"do": "tcp-connect", "address": "127.0.0.1:5432"}"#, "a TCP socket is not granted, and cannot be"),
        (r#"{"do": "tcp-connect", "address": "db.invalid:5432"}"#, "the address of a name is not granted"),
        (r#"{"do": "http-header", "url": "http://localhost/", "name": "Host"}"#, "the host sets the header `host`"),
    ] {
        let run = host.run("probe", input);
        let message = attempts(&run)[0]["message"].as_str().unwrap();
        assert!(message.contains(part), "{input}: {message}");
    }
}

#[test]
fn a_thousand_refusals_of_a_run_are_logged_once() {
    let (host, _) = host();

    let run = host.run("probe", r#"{"do": "refused", "times": 1000}"#);

    assert_eq!(outcome(&run), "failed-permanent", "{run}");
    let log = attempts(&run)[0]["log"]["text"].as_str().unwrap();
    assert_eq!(log.matches("refused: ").count(), 1, "{log}");
    let message = attempts(&run)[0]["message"].as_str().unwrap();
    assert!(message.contains("the lock `c0`") && message.contains("and 999 more refusals of a lock"), "{message}");
    let shown = host.cli(&["show", &id(&run).to_string()]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("the lock `c0`"), "{shown:?}");
}
