//! Tests the views of running runs: where they are, what they spend their time on, what they use.

use serde_json::Value;

use crate::harness::{Host, id, list, state};

const MANIFEST: &str = r#"
[tasks.NAME]
overlap = "allow(100)"
[tasks.NAME.limits]
deadline = "1h"
fuel = 1_000_000_000_000_000
[tasks.NAME.grants]
locks = ["*"]
cache = ["*"]
schedule = ["*"]
http = ["127.0.0.1:1"]
"#;

fn host() -> Host {
    let manifest = |name: &str| MANIFEST.replace("NAME", name);
    Host::with_plugins(&[("probe", "probe", &manifest("probe")), ("heedful", "heedful", &manifest("heedful"))])
}

/// Returns the attempt at `run`, among those under way, once `is` accepts it.
fn live(host: &Host, run: i64, is: impl Fn(&Value) -> bool) -> Value {
    host.eventually(&format!("run {run} is seen as it should be"), || {
        let live = host.get("/v1/live");
        list(&live, "attempts").iter().find(|attempt| attempt["run"] == run).filter(|attempt| is(attempt)).cloned()
    })
}

/// Returns a run once every view shows that it computes.
fn computing(host: &Host, task: &str, input: &str) -> i64 {
    let run = host.trigger(task, input);
    live(host, run, |attempt| attempt["fuel"].as_u64().unwrap() > 5_000_000);
    run
}

fn end(host: &Host, runs: &[i64]) {
    for run in runs {
        host.request("POST", &format!("/v1/runs/{run}/kill?now=true"), b"");
    }
}

#[test]
fn the_stack_of_a_guest_that_spins_says_where_it_spins() {
    let host = host();
    let run = computing(&host, "probe", r#"{"do": "spin"}"#);

    let stack = host.get(&format!("/v1/runs/{run}/stack"));

    assert_eq!(stack["verdict"]["kind"], "spins", "{stack}");
    let verdict = stack["verdict"]["text"].as_str().unwrap();
    assert!(verdict.starts_with("spins in `") && verdict.contains("spin") && verdict.contains(".rs:"), "{verdict}");
    let samples = list(&stack, "samples");
    assert_eq!(samples.len(), 3, "{stack}");
    for pair in samples.windows(2) {
        let more = |field: &str| pair[1][field].as_u64().unwrap().saturating_sub(pair[0][field].as_u64().unwrap());
        assert!(more("fuel") > 0, "{stack}");
        // Both are cut to milliseconds.
        assert!(more("age_ms") + 1 >= 50, "{stack}");
    }
    let shown = String::from_utf8(host.cli(&["stack", &run.to_string(), "--samples", "2"]).stdout).unwrap();
    assert!(shown.starts_with(&format!("Run {run}, attempt 1: spins in `")), "{shown}");
    assert!(shown.contains("later: computing;") && shown.contains("fuel more"), "{shown}");
    end(&host, &[run]);
}

#[test]
fn a_loop_in_the_tasks_own_function_has_its_own_line_and_not_that_of_the_macro() {
    let manifest = "[tasks.tight]\n[tasks.tight.limits]\ndeadline = \"1h\"\nfuel = 1_000_000_000_000_000\n";
    let host = Host::with_plugins(&[("tight", "tight", manifest)]);
    let run = computing(&host, "tight", "");

    let stack = host.get(&format!("/v1/runs/{run}/stack"));

    assert_eq!(stack["verdict"]["kind"], "spins", "{stack}");
    let verdict = stack["verdict"]["text"].as_str().unwrap();
    let line = verdict.rsplit(':').next().unwrap().trim_end_matches(')').parse::<u32>().unwrap_or_default();
    assert!(verdict.contains("run`") && !verdict.contains("export"), "{verdict}");
    assert!((7..=11).contains(&line), "the loop is in lines 9 to 11: {stack}");
    end(&host, &[run]);
}

#[test]
fn a_guest_that_is_busy_in_several_places_is_not_reported_as_spinning() {
    let host = host();
    let run = computing(&host, "heedful", r#"{"do": "wander"}"#);

    // That twenty samples in a row hit the same one of the two functions is practically impossible.
    let stack = host.get(&format!("/v1/runs/{run}/stack?samples=20&apart_ms=7"));

    assert_eq!(stack["verdict"]["kind"], "slow", "{stack}");
    let verdict = stack["verdict"]["text"].as_str().unwrap();
    for expected in ["slow: busy in different places", "hither", "thither", "all within `", "wander"] {
        assert!(verdict.contains(expected), "`{expected}` is not in {verdict}");
    }
    end(&host, &[run]);
}

#[test]
fn a_wait_for_a_lock_is_shown_with_its_place() {
    let host = host();
    let holder = host.trigger("probe", r#"{"do": "lock-hold", "name": "door", "how": "sleep", "ms": 3600000}"#);
    let waits_in = |call: &'static str| move |attempt: &Value| attempt["waiting"]["call"] == call;
    live(&host, holder, waits_in("wasi:io/poll"));
    let waiter = host.trigger("probe", r#"{"do": "lock-wait", "name": "door", "ms": 3600000}"#);
    live(&host, waiter, |attempt| {
        attempt["waiting"]["call"] == "locks.acquire" && attempt["waiting"]["for_ms"].as_u64().unwrap() > 50
    });

    let stack = host.get(&format!("/v1/runs/{waiter}/stack?apart_ms=10"));
    let sleeper = host.get(&format!("/v1/runs/{holder}/stack?apart_ms=10"));

    let verdict = |stack: &Value| stack["verdict"]["text"].as_str().unwrap().to_owned();
    assert_eq!(stack["verdict"]["kind"], "waits", "{stack}");
    assert!(
        verdict(&stack).starts_with("has been waiting in `locks.acquire`") && verdict(&stack).contains(" for "),
        "{stack}"
    );
    assert!(verdict(&sleeper).starts_with("has been waiting in `wasi:io/poll`"), "{sleeper}");
    for (stack, place) in [(&stack, "lock_wait"), (&sleeper, "sleep")] {
        let frames = list(&list(stack, "samples")[0], "stack");
        assert!(frames.iter().any(|frame| frame.as_str().unwrap().contains(place)), "`{place}` is not in {stack}");
        assert!(frames.iter().any(|frame| frame.as_str().unwrap().contains(".rs:")), "{stack}");
    }
    end(&host, &[holder, waiter]);
}

#[test]
fn runs_that_are_not_running_have_no_stack_and_requests_are_bounded() {
    let host = host();
    let over = host.run("probe", r#"{"do": "echo"}"#);
    let run = computing(&host, "probe", r#"{"do": "spin"}"#);
    let status = |path: &str| host.request("GET", path, b"").0;

    assert_eq!(state(&over), "succeeded");
    for view in ["stack", "profile"] {
        assert_eq!(status(&format!("/v1/runs/{}/{view}", id(&over))), 409);
        assert_eq!(status(&format!("/v1/runs/999999/{view}")), 404);
    }
    for wrong in
        ["stack?samples=0", "stack?samples=21", "stack?apart_ms=1001", "profile?for_ms=0", "profile?for_ms=60001"]
    {
        assert_eq!(status(&format!("/v1/runs/{run}/{wrong}")), 400, "{wrong}");
    }
    end(&host, &[run]);
}

#[test]
fn a_profile_says_where_the_time_went_and_two_may_watch_at_once() {
    let host = host();
    let run = computing(&host, "probe", r#"{"do": "spin"}"#);
    let sleeper = host.trigger("probe", r#"{"do": "sleep", "ms": 3600000}"#);
    live(&host, sleeper, |attempt| attempt["waiting"]["call"] == "wasi:io/poll");

    let path = format!("/v1/runs/{run}/profile?for_ms=700");
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| host.get(&path));
        (host.get(&path), second.join().unwrap())
    });
    let slept = host.get(&format!("/v1/runs/{sleeper}/profile?for_ms=300"));

    for profile in [&first, &second] {
        let times = milliseconds_by_function(profile);
        let spun: f64 = times.iter().filter(|(name, _)| name.contains("spin")).map(|(_, ms)| ms).sum();
        let all: f64 = times.iter().map(|(_, ms)| ms).sum();
        assert!(spun > 0.0 && all < 60_000.0, "{times:?}");
        let file = file_of(profile, "spin").unwrap_or_else(|| panic!("no file in {profile}"));
        assert!(file.ends_with(".rs"), "{file}");
    }
    let times = milliseconds_by_function(&slept);
    assert!(times.iter().any(|(name, ms)| name == "waits in `wasi:io/poll`" && *ms >= 200.0), "{times:?}");
    end(&host, &[run, sleeper]);
}

#[test]
fn a_profile_is_written_to_a_file_and_ends_with_the_run() {
    let host = host();
    let run = computing(&host, "probe", r#"{"do": "spin"}"#);
    let path = host.directory.path().join("spin.json");

    let shown = std::thread::scope(|scope| {
        let written = scope.spawn(|| host.cli(&["profile", &run.to_string(), "--for", "1m", "-o", "spin.json"]));
        live(&host, run, |attempt| attempt["lookers"] == 1);
        end(&host, &[run]);
        written.join().unwrap()
    });

    let said = String::from_utf8(shown.stdout).unwrap();
    let profile =
        std::fs::read(&path).unwrap_or_else(|e| panic!("{e}: {said} {}", String::from_utf8_lossy(&shown.stderr)));
    milliseconds_by_function(&serde_json::from_slice(&profile).unwrap());
    assert!(said.contains("`spin.json`") && said.contains("profiler.firefox.com"), "{said}");
}

/// Returns the milliseconds for each innermost function, after checking that the profile is as its readers need it.
fn milliseconds_by_function(profile: &Value) -> Vec<(String, f64)> {
    let thread = &profile["threads"][0];
    let strings = list(thread, "stringArray");
    let column = |table: &str, column: &str| -> Vec<Value> {
        let rows = list(&thread[table], column).to_vec();
        assert_eq!(rows.len() as u64, thread[table]["length"].as_u64().unwrap(), "{table}.{column}: {thread}");
        rows
    };
    let refers = |from: &str, field: &str, to: usize| {
        for row in column(from, field).iter().filter(|row| !row.is_null()) {
            assert!(row.as_u64().is_some_and(|row| (row as usize) < to), "{from}.{field} has {row} of {to}");
        }
    };
    let length = |table: &str| thread[table]["length"].as_u64().unwrap() as usize;
    assert!(profile["meta"]["preprocessedProfileVersion"].as_u64().unwrap() > 0, "{}", profile["meta"]);
    refers("samples", "stack", length("stackTable"));
    refers("stackTable", "frame", length("frameTable"));
    refers("frameTable", "func", length("funcTable"));
    refers("frameTable", "category", list(&profile["meta"], "categories").len());
    refers("funcTable", "name", strings.len());
    refers("funcTable", "fileName", strings.len());
    for (row, prefix) in column("stackTable", "prefix").iter().enumerate() {
        assert!(prefix.is_null() || prefix.as_u64().unwrap() < row as u64, "what calls comes before what is called");
    }

    let (frames, funcs, names) =
        (column("stackTable", "frame"), column("frameTable", "func"), column("funcTable", "name"));
    let deltas = column("samples", "timeDeltas");
    assert!(deltas.iter().all(|delta| delta.as_f64().unwrap() >= 0.0), "samples are in the order of time");
    let at = |table: &[Value], row: &Value| table[row.as_u64().unwrap() as usize].clone();
    let mut times: Vec<(String, f64)> = Vec::new();
    for (stack, weight) in column("samples", "stack").iter().zip(column("samples", "weight")) {
        if stack.is_null() {
            continue;
        }
        let name = at(strings, &at(&names, &at(&funcs, &at(&frames, stack))));
        let (name, ms) = (name.as_str().unwrap(), weight.as_f64().unwrap());
        match times.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += ms,
            None => times.push((name.to_owned(), ms)),
        }
    }
    times
}

/// Returns the file of a function whose name contains `part`.
fn file_of(profile: &Value, part: &str) -> Option<String> {
    let thread = &profile["threads"][0];
    let (strings, funcs) = (list(thread, "stringArray"), &thread["funcTable"]);
    let text = |row: &Value| strings[row.as_u64()? as usize].as_str().map(str::to_owned);
    let of = |row: usize| text(&list(funcs, "fileName")[row]);
    (0..list(funcs, "name").len())
        .filter(|row| text(&list(funcs, "name")[*row]).is_some_and(|name| name.contains(part)))
        .find_map(of)
}

#[test]
fn attempts_under_way_are_listed_with_their_usage() {
    let host = host();
    let sleeper = host.trigger("probe", r#"{"do": "sleep", "ms": 3600000}"#);
    live(&host, sleeper, |attempt| attempt["waiting"]["call"] == "wasi:io/poll");
    let spinner = computing(&host, "probe", r#"{"do": "spin"}"#);

    let listed = host.get("/v1/live");
    let shown = String::from_utf8(host.cli(&["top"]).stdout).unwrap();

    let runs: Vec<i64> = list(&listed, "attempts").iter().map(|attempt| attempt["run"].as_i64().unwrap()).collect();
    assert_eq!(runs, [sleeper, spinner], "oldest first: {listed}");
    let spins = &list(&listed, "attempts")[1];
    assert_eq!((&spins["task"], &spins["tenant"], &spins["attempt"]), (&"probe".into(), &"default".into(), &1.into()));
    assert!(spins["memory"].as_u64().unwrap() > 60_000, "{spins}");
    assert!(["fresh", "used", "spent", "urgent"].contains(&spins["lane"].as_str().unwrap()), "{spins}");
    let rows: Vec<&str> = shown.lines().collect();
    assert_eq!(rows.len(), 3, "{shown}");
    assert!(rows[0].contains("FUEL/S") && rows[0].contains("LANE"), "{shown}");
    assert!(rows[1].starts_with(&spinner.to_string()) && rows[1].contains("computes"), "most fuel first: {shown}");
    assert!(rows[2].contains("has been waiting in wasi:io/poll"), "{shown}");
    let json = host.cli(&["top", "--json"]).stdout;
    assert!(serde_json::from_slice::<Value>(&json).unwrap()["attempts"].is_array());
    end(&host, &[sleeper, spinner]);
    host.eventually("nothing is under way", || list(&host.get("/v1/live"), "attempts").is_empty().then_some(()));
    assert_eq!(host.cli(&["top", "--once"]).stdout, b"Nothing is running.\n");
}
