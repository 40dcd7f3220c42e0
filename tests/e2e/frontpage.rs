//! Tests the job that Sexton was made for: a page of ten remote systems stays current although some hang.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Host, SEXTON, Setup, drop_in, guest, list};
use crate::outcomes::PROBE;

/// Ten real HTTP servers.
struct Remotes {
    child: Child,
    url: String,
}

impl Remotes {
    fn start() -> Self {
        let program = std::path::Path::new(SEXTON).with_file_name("remotes");
        let mut child =
            Command::new(&program).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap_or_else(
                |error| panic!("{}: {error}; `cargo build -p example-frontpage-remotes` makes it", program.display()),
            );
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        assert!(url.starts_with("http://127.0.0.1:"), "{line}");
        Self { child, url }
    }

    fn set(&self, remote: usize, mode: &str) {
        let answer = ureq::post(format!("{}/control/{remote}", self.url))
            .content_type("application/json")
            .send(format!(r#"{{"mode": "{mode}"}}"#));
        assert!(answer.is_ok(), "{answer:?}");
    }
}

impl Drop for Remotes {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A section as the page shows it.
#[derive(Clone, Debug, PartialEq)]
struct Section {
    class: String,
    served: u64,
    age: Option<Duration>,
}

/// Returns the example's manifest, at five times its pace.
fn manifest(remotes: &str) -> String {
    format!(
        r#"
[tasks.frontpage]
every = "2s"
overlap = "allow(3)"
[tasks.frontpage.settings]
remotes = "{remotes}"
max-age-ms = "1000"
quick-ms = "1200"
patient-ms = "9000"
current-ms = "8000"
[tasks.frontpage.retry]
attempts = 1
[tasks.frontpage.limits]
deadline = "20s"
[tasks.frontpage.grants]
cache = ["frontpage/*"]
locks = ["frontpage/*"]
http = ["{}"]
"#,
        remotes.trim_start_matches("http://")
    )
}

/// Returns the page that is served now, with the run that made it.
fn page(host: &Host) -> Option<(String, BTreeMap<usize, Section>)> {
    let answer = ureq::get(format!("{}/v1/tasks/frontpage/result", host.url)).call().ok()?;
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let run = answer.headers()["x-sexton-run"].to_str().unwrap().to_owned();
    let html = answer.into_body().read_to_string().unwrap();
    let attribute =
        |card: &str, name: &str| card.split_once(&format!("{name}=\""))?.1.split('"').next().map(str::to_owned);
    let sections: BTreeMap<usize, Section> = html
        .split("<article ")
        .skip(1)
        .map(|card| {
            let section = Section {
                class: attribute(card, "class").unwrap(),
                served: attribute(card, "data-served").unwrap().parse().unwrap(),
                age: attribute(card, "data-age-ms").map(|ms| Duration::from_millis(ms.parse().unwrap())),
            };
            (attribute(card, "data-remote").unwrap().parse().unwrap(), section)
        })
        .collect();
    assert_eq!(sections.len(), 10, "{html}");
    Some((run, sections))
}

/// Waits for pages from `count` further runs.
fn pages(host: &Host, count: usize) -> Vec<BTreeMap<usize, Section>> {
    let (mut last, _) = page(host).expect("there is a page by now");
    (0..count)
        .map(|_| {
            let (run, sections) =
                host.eventually("a newer page is there", || page(host).filter(|(run, _)| *run != last));
            last = run;
            sections
        })
        .collect()
}

#[test]
fn a_page_of_ten_remotes_stays_current_although_three_of_them_hang() {
    let remotes = Remotes::start();
    let host = Host::start();
    host.add("frontpage", "frontpage", &manifest(&remotes.url));
    host.eventually("all ten sections are current", || {
        page(&host).filter(|(_, sections)| sections.values().all(|section| section.class == "current"))
    });

    let hanging = [2, 5, 8];
    for remote in hanging {
        remotes.set(remote, "hang");
    }
    // Responses of the systems before they hung are in the cache after two more pages.
    let before = pages(&host, 2).pop().unwrap();
    let while_hung = pages(&host, 12);

    let last = while_hung.last().unwrap();
    for (remote, section) in last {
        if hanging.contains(remote) {
            assert_eq!(section.class, "old", "remote {remote} hangs: {section:?}");
            assert!(
                section.served > 0 && section.served <= before[remote].served + 1,
                "the last good value is shown: {section:?}"
            );
            assert!(section.age.unwrap() > Duration::from_secs(8), "{section:?}");
        }
    }
    for (number, sections) in while_hung.iter().enumerate() {
        for (remote, section) in sections.iter().filter(|(remote, _)| !hanging.contains(remote)) {
            assert_eq!(section.class, "current", "page {number}, remote {remote}: {section:?}");
        }
    }
    for remote in (1..=10).filter(|remote| !hanging.contains(remote)) {
        assert!(last[&remote].served > before[&remote].served + 4, "remote {remote} is asked again and again");
    }
    at_most_three_overlapped(&host);

    remotes.set(5, "ok");
    host.eventually("the section of the remote that came back follows", || {
        let (_, sections) = page(&host)?;
        (sections[&5].class == "current" && sections[&5].served > last[&5].served).then_some(())
    });
    let (_, sections) = page(&host).unwrap();
    assert_eq!((sections[&2].class.as_str(), sections[&8].class.as_str()), ("old", "old"));
}

/// Returns the edition of the page that is served now.
fn edition(host: &Host) -> Option<u64> {
    let answer = ureq::get(format!("{}/v1/tasks/frontpage/result", host.url)).call().ok()?;
    let html = answer.into_body().read_to_string().ok()?;
    html.split_once("data-edition=\"")?.1.split('"').next()?.parse().ok()
}

#[test]
fn one_run_at_a_time_makes_the_page_and_none_overtakes_a_newer_one() {
    let remotes = Remotes::start();
    let host = Host::start();
    host.add("probe", "probe", PROBE);
    host.add("frontpage", "frontpage", &manifest(&remotes.url));
    host.eventually("there is a page", || page(&host));
    let hold = r#"{"do": "lock-hold", "name": "frontpage/page", "wait-ms": 30000, "how": "sleep", "ms": 3600000}"#;
    let holder = host.trigger("probe", hold);
    let waits = |attempt: &Value| {
        // Other locks are taken without waiting.
        attempt["task"] == "frontpage"
            && attempt["waiting"]["call"] == "locks.acquire"
            && attempt["waiting"]["for_ms"].as_u64().is_some_and(|ms| ms > 300)
    };
    host.eventually("runs wait for their turn to make the page", || {
        let live = host.get("/v1/live");
        (list(&live, "attempts").iter().filter(|attempt| waits(attempt)).count() >= 2).then_some(())
    });
    let before = edition(&host).expect("there is a page");

    host.request("POST", &format!("/v1/runs/{holder}/kill?now=true"), b"");

    let mut editions = vec![before];
    while editions.len() < 6 {
        let last = editions[editions.len() - 1];
        editions.push(host.eventually("a newer page is there", || edition(&host).filter(|edition| *edition != last)));
    }
    assert!(editions.is_sorted_by(|earlier, later| earlier < later), "{editions:?}");
    // The end of a run is when its page becomes the result, so runs ended in the order of their editions.
    let runs = host.get("/v1/runs?task=frontpage&state=succeeded&limit=50");
    let mut ended: Vec<(&str, u64)> = list(&runs, "runs")
        .iter()
        .map(|run| {
            let html = String::from_utf8(host.output(run["id"].as_i64().unwrap())).unwrap();
            let edition = html.split_once("data-edition=\"").unwrap().1.split('"').next().unwrap();
            (run["ended_at"].as_str().unwrap(), edition.parse().unwrap())
        })
        .collect();
    ended.sort_unstable();
    assert!(ended.is_sorted_by(|(_, earlier), (_, later)| earlier < later), "{ended:?}");
}

/// Checks by the runs' own times that at most three were under way at any instant, and at least two at some.
fn at_most_three_overlapped(host: &Host) {
    let runs = host.get("/v1/runs?task=frontpage&limit=200");
    let at =
        |run: &Value, field: &str| run[field].as_str().map(|text| chrono::DateTime::parse_from_rfc3339(text).unwrap());
    let spans: Vec<_> = list(&runs, "runs")
        .iter()
        .filter(|run| run["state"] != "cancelled")
        .filter_map(|run| Some((at(run, "claimed_at")?, at(run, "ended_at"))))
        .collect();
    let overlapping =
        |instant| spans.iter().filter(|(from, to)| *from <= instant && to.is_none_or(|to| to > instant)).count();
    let most = spans.iter().map(|(from, _)| overlapping(*from)).max().unwrap();
    println!("{} runs, at most {most} at once", spans.len());
    assert!((2..=3).contains(&most), "{most} runs at once");
}

/// A process and all that it has started, which are killed when this is dropped.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0)]).stderr(Stdio::null()).status();
    }
}

/// Returns the processes that `parent` has started, by the names of their programs.
fn children(parent: u32) -> BTreeMap<String, u32> {
    let listed = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let name = |pid: u32| Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned());
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).filter_map(|pid| Some((name(pid)?, pid))).collect()
}

/// The address of the remotes of `make run`.
const USUAL: &str = "127.0.0.1:7400";

/// Runs the part of `make run` that follows the build, with the manifests that it finds. The remotes have a port of
/// their own, because the usual one may be in use by another test or a person.
#[test]
fn the_script_of_make_run_shows_the_page_of_the_examples_and_ends_them_all_together() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let makefile = fs::read_to_string(repository.join("Makefile")).unwrap();
    assert!(makefile.contains("\n\tscripts/run.sh $(TARGET)/debug\n"), "`make run` runs something else");
    let directory = Setup::default().new_directory();
    let remotes = format!("127.0.0.1:{}", sexton_testkit::ports::free());
    for example in ["hello", "hang", "report", "frontpage"] {
        let manifest = fs::read_to_string(repository.join(format!("plugins/{example}.toml"))).unwrap();
        assert_eq!(manifest.matches(USUAL).count(), if example == "frontpage" { 2 } else { 0 }, "{example}");
        let manifest = manifest.replace(USUAL, &remotes);
        drop_in(directory.path(), example, &guest(example), Some(&manifest));
    }
    let mut script = Command::new(repository.join("scripts/run.sh"));
    script.arg(Path::new(SEXTON).parent().unwrap()).arg(remotes).process_group(0);

    let host = Host::start_by(script, directory, &[]);
    let group = Group(host.pid());
    for example in ["hello", "hang", "report", "frontpage"] {
        host.loaded(example);
    }
    host.eventually("the page of the examples is there", || page(&host));
    let started = children(host.pid());
    // Ctrl-C reaches it in the same way.
    assert!(Command::new("kill").args(["-INT", &started["sexton"].to_string()]).status().unwrap().success());
    let (_, log, _directory) = host.ended();

    assert!(log.contains("Stopped"), "{log}");
    for (name, pid) in started {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "`{name}` goes on: {state}");
    }
    drop(group);
}
