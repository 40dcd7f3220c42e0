//! Tests the dashboard without a browser: its pages, its forms and what they refuse.

use sexton_testkit::{PATIENCE, api};

use crate::harness::{Host, id, list, state};
use crate::outcomes::PROBE;

/// A page, or the answer to a form.
struct Page {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Page {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    fn shows(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.text.contains(text), "`{text}` is not in:\n{}", self.text);
        }
    }
}

fn send(host: &Host, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Page {
    let mut request = http::Request::builder().method(method).uri(format!("{}{path}", host.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    // The way that a form leads to is looked at, and not followed.
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
    let client: ureq::Agent = config.max_redirects_will_error(false).timeout_global(Some(PATIENCE)).build().into();
    let answer = client.run(request.body(body.as_bytes().to_vec()).unwrap()).unwrap();
    let (head, mut body) = answer.into_parts();
    Page { status: head.status.as_u16(), headers: head.headers, text: body.read_to_string().unwrap() }
}

fn get(host: &Host, path: &str) -> Page {
    send(host, "GET", path, "", &[])
}

/// Sends a form as a browser does without JavaScript.
fn form(host: &Host, path: &str, body: &str) -> Page {
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", host.url.as_str()),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "navigate"),
    ];
    send(host, "POST", path, body, &headers)
}

#[test]
fn every_page_shows_what_the_host_has_done() {
    let host = Host::start();
    host.add("probe", "probe", PROBE);
    let done = id(&host.run("probe", r#"{"do": "echo", "value": {"answer": 42}}"#));
    let failed = id(&host.run("probe", r#"{"do": "panic", "message": "the disk is full"}"#));
    host.run("probe", r#"{"do": "cache-set", "key": "front/page", "value": "news"}"#);
    let waits = host.trigger("probe", r#"{"do": "sleep", "ms": 600000}"#);
    host.eventually("the run is under way", || {
        (state(&host.get(&format!("/v1/runs/{waits}"))) == "running").then_some(())
    });
    host.cli(&["schedule", "add", "weekly", "--task", "probe", "--cron", "0 9 * * mon"]);

    let failed_row = format!("id=\"run-{failed}\"");
    for (path, texts) in [
        ("/".to_owned(), vec!["Needs you", "Running on this host", "id=\"live-"]),
        ("/tasks".into(), vec!["id=\"task-probe\"", "class=\"m crash\"", "class=\"m ok\""]),
        ("/tasks/probe".into(), vec!["Limits of an attempt", "Permissions", "began to fail", "the disk is full"]),
        ("/runs?outcome=crashed".into(), vec!["trapped", &failed_row]),
        (format!("/runs/{done}"), vec!["succeeded", "answer", "Run it again", "peak memory"]),
        (format!("/runs/{failed}"), vec!["the disk is full", "Stack at its end", "trapped"]),
        (format!("/runs/{waits}"), vec!["running", "Look where it is", "Take a profile"]),
        (format!("/runs/{waits}?look=now"), vec!["Look again", "waiting in `wasi:io/poll`"]),
        ("/timeline?hours=1".into(), vec!["<svg class=\"picture wide\"", "The same as a table", "id=\"twin-"]),
        ("/calendar".into(), vec!["The coming week"]),
        ("/schedules".into(), vec!["weekly", "cron 0 9 * * mon"]),
        ("/cache?prefix=front".into(), vec!["front/page"]),
        ("/cache?key=front%2Fpage".into(), vec!["Versions of front/page"]),
        ("/plugins".into(), vec!["id=\"plugin-probe\""]),
        ("/hosts".into(), vec!["answers", "Drain it"]),
        ("/locks".into(), vec!["No lock is held"]),
        ("/explain?schedule=30+2+*+*+mon".into(), vec!["at 02:30 every Monday"]),
    ] {
        let page = get(&host, &path);
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        page.shows(&texts);
    }
}

#[test]
fn text_of_a_guest_stays_text_on_every_page() {
    let host = Host::start();
    host.add("probe", "probe", PROBE);
    let attack = r#"<img src=x onerror=alert(1)>\"'\u001b[2J\u202e"#;
    let failed = id(&host.run("probe", &format!(r#"{{"do": "panic", "message": "{attack}"}}"#)));
    let echoed = id(&host.run("probe", &format!(r#"{{"do": "echo", "value": "{attack}"}}"#)));
    host.run("probe", &format!(r#"{{"do": "cache-set", "key": "{attack}", "value": "x"}}"#));

    let paths =
        [format!("/runs/{failed}"), format!("/runs/{echoed}"), "/tasks/probe".into(), "/runs".into(), "/cache".into()];
    for path in paths {
        let page = get(&host, &path);
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(page.text.contains("onerror"), "{path} does not show it: {}", page.text);
        for never in ["<img src=x", "\u{1b}", "\u{202e}"] {
            assert!(!page.text.contains(never), "{path}: {never:?} is in:\n{}", page.text);
        }
    }
}

#[test]
fn forms_start_kill_pause_and_resume_without_scripts() {
    let host = Host::start();
    host.add("probe", "probe", PROBE);

    let started = form(&host, "/tasks/probe/start", "input=%7B%22do%22%3A%22spin%22%7D");
    assert_eq!(started.status, 303, "{}", started.text);
    let run = started.header("location").strip_suffix("?done=started").unwrap().to_owned();
    host.eventually("the run is under way", || get(&host, &run).text.contains("Look where it is").then_some(()));
    let killed = form(&host, &format!("{run}/kill"), "reason=it+spins&now=true");
    get(&host, killed.header("location")).shows(&["The run was told to end."]);
    host.eventually("the run is over", || get(&host, &run).text.contains("Run it again").then_some(()));
    get(&host, &run).shows(&["killed", "it spins"]);

    let paused = form(&host, "/tasks/probe/pause", "reason=moving+house");
    get(&host, paused.header("location")).shows(&["moving house", ">Resume<"]);
    get(&host, "/").shows(&["paused", "moving house"]);
    let again = form(&host, &format!("{run}/rerun"), "input=%7B%22do%22%3A%22echo%22%7D");
    let again = again.header("location").strip_suffix("?done=started").unwrap().to_owned();
    get(&host, &again).shows(&["its task is paused: moving house"]);
    form(&host, "/tasks/probe/resume", "");
    host.eventually("the run that waited is done", || get(&host, &again).text.contains("succeeded").then_some(()));

    host.cli(&["schedule", "add", "weekly", "--task", "probe", "--cron", "0 9 * * mon"]);
    assert_eq!(form(&host, "/schedules/weekly/delete", "").status, 303);
    assert!(list(&host.get("/v1/schedules"), "schedules").is_empty());
}

#[test]
fn forms_of_other_sites_change_nothing() {
    let host = Host::start();
    host.add("probe", "probe", PROBE);
    let form = ("content-type", "application/x-www-form-urlencoded");

    for other in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "same-site")] {
        let refused = send(&host, "POST", "/tasks/probe/start", "", &[form, other]);
        assert_eq!(refused.status, 403, "{other:?}: {}", refused.text);
    }
    assert!(list(&host.get("/v1/runs"), "runs").is_empty());
}

#[test]
fn pages_are_small_enough_to_be_fetched_every_two_seconds() {
    let host = Host::start();
    host.add("probe", "probe", PROBE);
    for _ in 0..20 {
        host.run("probe", r#"{"do": "echo"}"#);
    }

    let client = api::client(PATIENCE);
    for path in ["/", "/tasks", "/tasks/probe", "/runs"] {
        let page = api::ask(&client, "GET", &format!("{}{path}", host.url), b"").unwrap();
        assert!(page.body().len() < 100_000, "{path} has {} bytes", page.body().len());
    }
}
