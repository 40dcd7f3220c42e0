use std::time::Duration;

use proptest::prelude::*;

use super::*;
use sexton_domain::schedule::{CatchUp, Crontab, Timing};
use sexton_domain::schedule::{Cooldowns, Link, OnFailure, Pace};
use sexton_domain::task::{Budget, HttpHost, Keep, Pattern, TaskKey};
use sexton_domain::time::Timestamp;

mod broken;
mod labels;
mod reference;
mod routes;

fn parse(text: &str) -> Manifest {
    Manifest::parse("front.toml", text).unwrap_or_else(|e| panic!("{e}"))
}

fn one(text: &str) -> Task {
    let plugin = Name::new("front").unwrap();
    let tasks = parse(text).tasks(&Name::default_tenant(), &plugin, Path::new("/plugins"));
    let [task] = <[Task; 1]>::try_from(tasks).unwrap();
    task
}

/// A manifest with every key of a task.
const WHOLE: &str = r#"
[tasks.page]
description = "A page"
labels = { team = "web", "app.example/tier" = "2 or 3" }
cron = "0 9 * * mon-fri"
zone = "Europe/Berlin"
overlap = "allow(3)"
catch-up = "all(12)"
catch-up-within = "6h"
start = 2026-01-01T00:00:00Z
end = "2027-01-01T00:00:00+01:00"
times = 100
delay = "1m"
jitter = "2m"
spread = "3m"
start-within = "4m"
pause-after = 5
brake = "30s"
runs-on = ["gpu", "eu-1"]
lock = { name = "ledger", mode = "shared", wait = "10s", if-held = "succeed" }
input-json = { remotes = ["a", "b"], since = 2026-01-01T00:00:00Z, share = 0.5 }
args = ["-v"]
env = { LANG = "C" }
settings = { colour = "blue" }

[tasks.page.retry]
attempts = 7
delay = "1h"
factor = 3
max-delay = "1d"
jitter = 0

[tasks.page.limits]
deadline = "1m 30s"
idle = "20s"
ladder = { ask = "1s", insist = "3s", end = "5s" }
fuel = 1_000_000
memory = "64 MiB"
table-elements = 10
host-calls = 20
host-call-bytes = 4096
handles = 30
files = 40
output = "1 KiB"
log = "2 KiB"
stdio = "3 KB"

[tasks.page.budget]
fuel-per-minute = 2_000_000
cache = "16 MiB"

[tasks.page.grants]
locks = ["remote-*"]
cache = ["front/*", "*", { keys = "page/*", keep = 5 }, { keys = "page/big" }]
schedule = ["page"]
http = ["127.0.0.1:8080", "*.Example.org", "[::1]:8080", "fe80::1", "localhost"]
directories = [{ host = "data", guest = "/data/" }, { host = "/srv/x", guest = "/", write = true, quota = "100MiB", entries = 7 }]
"#;

fn ledger() -> TaskLock {
    TaskLock { name: "ledger".into(), mode: LockMode::Shared, wait: Duration::from_secs(10), if_held: IfHeld::Succeed }
}

fn ladder() -> Ladder {
    let seconds = Duration::from_secs;
    Ladder { ask: seconds(1), insist: Some(seconds(3)), end: seconds(5) }
}

fn whole() -> Task {
    let key = TaskKey { tenant: Name::default_tenant(), task: Name::new("page").unwrap() };
    Task {
        key,
        plugin: Name::new("front").unwrap(),
        description: Some("A page".into()),
        labels: Labels::read(["team=web", "app.example/tier=2 or 3"]).unwrap(),
        trigger: Trigger::Cron("0 9 * * mon-fri".parse().unwrap()),
        zone: chrono_tz::Europe::Berlin,
        overlap: Overlap::Allow(3),
        timing: Timing {
            start: Some(Timestamp::from_millis(1_767_225_600_000)),
            end: Some(Timestamp::from_millis(1_798_758_000_000)),
            times: Some(100),
            delay: Duration::from_secs(60),
            jitter: Duration::from_secs(120),
            spread: Duration::from_secs(180),
            start_within: Some(Duration::from_secs(240)),
            catch_up_within: Some(Duration::from_secs(6 * 3600)),
        },
        catch_up: CatchUp::All(12),
        retry: RetryPolicy {
            attempts: 7,
            delay: Duration::from_secs(3600),
            factor: 3.0,
            max_delay: Duration::from_secs(86_400),
            jitter: 0.0,
        },
        supervision: Supervision { pause_after: Some(5), brake: Some(Duration::from_secs(30)) },
        lock: Some(ledger()),
        runs_on: ["gpu", "eu-1"].map(|label| Name::new(label).unwrap()).to_vec(),
        remarks: Vec::new(),
        limits: Limits {
            deadline: Duration::from_secs(90),
            idle: Some(Duration::from_secs(20)),
            ladder: ladder(),
            fuel: 1_000_000,
            memory: 64 << 20,
            table_elements: 10,
            host_calls: 20,
            host_call_bytes: 4096,
            handles: 30,
            files: 40,
            output: 1024,
            log: 2048,
            stdio: 3000,
        },
        budget: Budget { fuel_per_minute: Some(2_000_000), cache: Some(16 << 20) },
        grants: whole_grants(),
        settings: [("colour".to_owned(), "blue".to_owned())].into(),
        input: br#"{"remotes":["a","b"],"share":0.5,"since":"2026-01-01T00:00:00Z"}"#.to_vec(),
        types: Vec::new(),
        args: vec!["-v".into()],
        env: [("LANG".to_owned(), "C".to_owned())].into(),
    }
}

fn whole_grants() -> Grants {
    let host = |host: &str, port| HttpHost { host: host.into(), port };
    Grants {
        locks: vec![Pattern("remote-*".into())],
        cache: ["front/*", "*", "page/*", "page/big"].map(|keys| Pattern(keys.into())).to_vec(),
        keep: vec![Keep { keys: Pattern("page/*".into()), versions: 5 }],
        schedule: vec![Pattern("page".into())],
        http: vec![
            host("127.0.0.1", Some(8080)),
            host("*.example.org", None),
            host("::1", Some(8080)),
            host("fe80::1", None),
            host("localhost", None),
        ],
        directories: vec![
            Directory { host: "/plugins/data".into(), guest: "/data".into(), write: false, quota: None },
            Directory {
                host: "/srv/x".into(),
                guest: "/".into(),
                write: true,
                quota: Some(Quota { bytes: 100 << 20, entries: 7 }),
            },
        ],
    }
}

#[test]
fn everything_that_a_manifest_can_say_is_understood() {
    assert_eq!(one(WHOLE), whole());
}

#[test]
fn each_trigger_can_be_written() {
    let at = Timestamp::from_millis(1_798_758_000_000);
    let table = [
        ("", Trigger::OnDemand),
        ("on-start = false", Trigger::OnDemand),
        ("on-start = true", Trigger::OnStart),
        ("every = '1h 30m'", Trigger::Every(Duration::from_secs(5400))),
        ("at = '2027-01-01T00:00:00+01:00'", Trigger::At(at)),
        ("at = 2026-12-31T23:00:00Z", Trigger::At(at)),
        ("at = '1 january 2027 midnight'\nzone = 'Europe/Berlin'", Trigger::At(at)),
        ("at = '2027-01-01 00:00 Europe/Berlin'", Trigger::At(at)),
        ("zone = 'Europe/Berlin'\nat = 2027-01-01T00:00:00", Trigger::At(at)),
        ("zone = 'Europe/Berlin'\nat = 2027-01-01", Trigger::At(at)),
        ("at = '2026-12-31 11pm'", Trigger::At(at)),
        ("cron = '@daily'\non-start = false", Trigger::Cron("@daily".parse().unwrap())),
        ("cron-seconds = '*/10 * * * * *'", Trigger::Cron(Crontab::parse_with_seconds("*/10 * * * * *").unwrap())),
        ("cron = '@daily'\ndst = 'vixie'", Trigger::Cron("@daily".parse().unwrap())),
        ("dst = 'utc'\ncron = '@daily'", Trigger::Cron(Crontab::parse("@daily").unwrap().with_dst(Dst::Utc))),
        (
            "cron-seconds = '@daily'\ndst = 'skip'",
            Trigger::Cron(Crontab::parse_with_seconds("@daily").unwrap().with_dst(Dst::Skip)),
        ),
        ("cron = 'H H * * *'", Trigger::Cron(Crontab::parse("H H * * *").unwrap().for_name("a"))),
    ];
    for (text, trigger) in table {
        assert_eq!(one(&format!("[tasks.a]\n{text}")).trigger, trigger, "{text}");
    }
}

#[test]
fn the_zone_that_a_crontab_names_overrides_the_tasks() {
    let zone = |text: &str| one(&format!("[tasks.a]\n{text}")).zone.name();

    assert_eq!(zone("cron = '@daily'"), "UTC");
    assert_eq!(zone("cron = '@daily'\nzone = 'Europe/Berlin'"), "Europe/Berlin");
    assert_eq!(zone("cron = 'CRON_TZ=Asia/Tokyo @daily'"), "Asia/Tokyo");
    assert_eq!(zone("cron-seconds = 'TZ=Asia/Tokyo @daily'\nzone = 'Europe/Berlin'"), "Asia/Tokyo");
}

#[test]
fn tasks_of_one_name_are_spread_by_their_tenants() {
    let plugin = Name::new("front").unwrap();
    let trigger = |tenant: &str| {
        let tasks = parse("[tasks.a]\ncron = 'H H * * *'").tasks(&Name::new(tenant).unwrap(), &plugin, Path::new("/"));
        tasks[0].trigger.clone()
    };

    for (tenant, name) in [("default", "a"), ("acme", "acme/a"), ("other", "other/a")] {
        let expected = Crontab::parse("H H * * *").unwrap().for_name(name);
        assert_eq!(trigger(tenant), Trigger::Cron(expected), "{tenant}");
    }
    assert_ne!(trigger("acme"), trigger("other"));
}

#[test]
fn runs_overlap_by_default_only_on_demand() {
    let overlap = |text: &str| one(&format!("[tasks.a]\n{text}")).overlap;

    assert_eq!(overlap(""), Overlap::Allow(16));
    assert_eq!(overlap("every = '1s'"), Overlap::Skip);
    assert_eq!(overlap("on-start = true"), Overlap::Skip);
    assert_eq!(overlap("overlap = 'queue-one'"), Overlap::QueueOne);
    assert_eq!(overlap("overlap = 'queue-all'"), Overlap::QueueAll);
    assert_eq!(overlap("every = '1s'\noverlap = 'replace'"), Overlap::Replace);
}

#[test]
fn a_task_is_braked_but_never_paused_unless_its_manifest_says() {
    let supervision = |text: &str| one(&format!("[tasks.a]\n{text}")).supervision;
    let braked = |seconds| Some(Duration::from_secs(seconds));

    assert_eq!(supervision(""), Supervision { pause_after: None, brake: braked(300) });
    assert_eq!(supervision("brake = 'off'"), Supervision { pause_after: None, brake: None });
    assert_eq!(
        supervision("brake = '1d'\npause-after = 1"),
        Supervision { pause_after: Some(1), brake: braked(86_400) }
    );
}

#[test]
fn a_manifest_that_defines_no_task_is_as_good_as_none() {
    let plugin = Name::new("front").unwrap();
    let none = Manifest::for_plugin_without(&plugin).tasks(&plugin, &plugin, Path::new("/plugins"));
    for text in ["", "# nothing yet\n", "[tasks]\n"] {
        assert_eq!(parse(text).tasks(&plugin, &plugin, Path::new("/plugins")), none, "{text:?}");
    }

    let [task] = <[Task; 1]>::try_from(none).unwrap();
    assert_eq!((task.key.task.as_str(), &task.trigger), ("front", &Trigger::OnDemand));
    assert_eq!((task.limits, task.grants), (Limits::default(), Grants::default()));
}

#[test]
fn tasks_belong_to_the_tenant_and_plugin_that_are_named() {
    let [tenant, plugin] = ["acme", "front"].map(|name| Name::new(name).unwrap());

    let tasks = parse("[tasks.a]\n[tasks.b]\n").tasks(&tenant, &plugin, Path::new("/plugins"));

    let found: Vec<_> = tasks.iter().map(|task| (task.key.to_string(), task.plugin.as_str())).collect();
    assert_eq!(found, [("acme/a".to_owned(), "front"), ("acme/b".to_owned(), "front")]);
}

#[test]
fn a_longer_delay_raises_the_longest_delay_unless_that_is_written() {
    let retry = one("[tasks.a]\nretry = { delay = '2h' }").retry;
    assert_eq!(retry.max_delay, Duration::from_secs(7200));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\[\\]a-z=\"{}.,0-9\n -]{0,80}", value in ".{0,40}") {
        let _ = Manifest::parse("front.toml", &text);
        for key in ["every", "cron", "cron-seconds", "dst", "at", "zone", "overlap", "catch-up", "description", "pause-after", "brake"] {
            let _ = Manifest::parse("front.toml", &format!("[tasks.a]\n{key} = {value:?}"));
            let _ = Manifest::parse("front.toml", &format!("[tasks.a]\n{key} = {value}"));
        }
        for key in ["http", "locks"] {
            let _ = Manifest::parse("front.toml", &format!("[tasks.a.grants]\n{key} = [{value:?}]"));
        }
    }
}

/// The test writes the schema first if `SEXTON_WRITE_SCHEMA=1` is in the environment.
#[test]
fn the_published_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manifest.schema.json");
    if std::env::var_os("SEXTON_WRITE_SCHEMA").is_some() {
        std::fs::write(&path, schema()).unwrap();
    }

    let published = std::fs::read_to_string(&path).unwrap();

    assert!(
        published == schema(),
        "docs/manifest.schema.json is out of date; run this test with SEXTON_WRITE_SCHEMA=1"
    );
}

#[test]
fn the_schema_knows_every_key_and_refuses_others() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let task = &schema["$defs"]["TaskText"];

    assert_eq!(task["additionalProperties"], false);
    for key in [
        "every",
        "cron",
        "cron-seconds",
        "dst",
        "at",
        "on-start",
        "catch-up",
        "pause-after",
        "brake",
        "input-json",
        "retry",
        "limits",
        "grants",
    ] {
        assert!(task["properties"][key]["description"].is_string(), "{key}: {task:#}");
    }
    assert_eq!(schema["$defs"]["LimitsText"]["properties"]["fuel"]["minimum"], 1);
}

#[test]
fn schedules_that_go_by_how_runs_went_are_understood() {
    let trigger = |line: &str| (one(&format!("[tasks.a]\n{line}")).trigger, one(&format!("[tasks.a]\n{line}")).overlap);
    let after = |success, fail| {
        Trigger::After(Cooldowns { success: Duration::from_secs(success), fail: Duration::from_secs(fail) })
    };
    let pace = Pace { min: 1, max: 5, from: Duration::from_secs(1), to: Duration::from_secs(60) };

    assert_eq!(trigger("after = \"10s\""), (after(10, 10), Overlap::Skip));
    assert_eq!(trigger("after = { success = \"10m\", fail = \"1m\" }"), (after(600, 60), Overlap::Skip));
    assert_eq!(trigger("after = { success = \"10m\" }\noverlap = \"replace\""), (after(600, 600), Overlap::Replace));
    let line = "pace = { min = 1, max = 5, from = \"1s\", to = \"1m\" }";
    assert_eq!(trigger(line), (Trigger::Pace(pace), Overlap::Allow(5)));
}

#[test]
fn chains_are_understood() {
    let text = r#"
[chains.nightly]
description = "One after another"
links = ["a", { task = "b", success-cooldown = "1m", fail-cooldown = "5m" }, { task = "a" }]
on-failure = "stop"
success-cooldown = "1h"

[chains.other]
links = ["x"]
"#;
    let (tenant, plugin) = (Name::new("acme").unwrap(), Name::new("front").unwrap());
    let name = |text: &str| Name::new(text).unwrap();
    let cooldowns =
        |success, fail| Cooldowns { success: Duration::from_secs(success), fail: Duration::from_secs(fail) };
    let link = |task: &str, success, fail| Link { task: name(task), cooldowns: cooldowns(success, fail) };
    let chain = |chain: &str| Chain {
        key: TaskKey { tenant: tenant.clone(), task: name(chain) },
        plugin: plugin.clone(),
        description: None,
        links: vec![link("x", 0, 0)],
        on_failure: OnFailure::GoOn,
        cooldowns: cooldowns(1, 1),
    };
    let nightly = Chain {
        description: Some("One after another".into()),
        links: vec![link("a", 0, 0), link("b", 60, 300), link("a", 0, 0)],
        on_failure: OnFailure::Stop,
        cooldowns: cooldowns(3600, 3600),
        ..chain("nightly")
    };
    assert_eq!(parse(text).chains(&tenant, &plugin), [nightly, chain("other")]);
}

#[test]
fn a_misplaced_or_misnamed_key_is_reported_with_its_place_and_its_name() {
    for (text, told) in [
        ("[tasks.a]\ndeadline = \"5s\"\n", "`deadline` belongs in [tasks.a.limits]"),
        ("[tasks.a]\ntimeout = \"5s\"\n", "`deadline` belongs in [tasks.a.limits]"),
        ("[tasks.a]\nattempts = 1\n", "`attempts` belongs in [tasks.a.retry]"),
        ("[tasks.a]\nhttp = []\n", "`http` belongs in [tasks.a.grants]"),
        ("[tasks.a]\ntimezone = \"UTC\"\n", "did you mean `zone`?"),
        ("[tasks.a]\nschedule = \"@daily\"\n", "did you mean `cron`?"),
        (
            "[tasks.a.grants]\ndirectories = [{ host = \"a\", guest = \"/a\", mode = \"rw\" }]\n",
            "did you mean `write`?",
        ),
        (
            "[tasks.a.grants]\ndirectories = [\"/data\"]\n",
            "write a table such as { host = \"/srv/data\", guest = \"/data\"",
        ),
    ] {
        let error = Manifest::parse("front.toml", text).expect_err(text).to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn the_tables_that_keys_belong_in_are_those_of_the_schema() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("JSON");
    let keys = |table: &str| schema["$defs"][table]["properties"].as_object().unwrap_or_else(|| panic!("{table}"));
    let task = keys("TaskText");
    for (table, within) in reading::WITHIN {
        let name = format!("{}{}Text", table[..1].to_uppercase(), &table[1..]);
        for key in *within {
            assert!(keys(&name).contains_key(*key) && !task.contains_key(*key), "{table}.{key}");
        }
    }
}

#[test]
fn independent_errors_are_reported_together_up_to_twenty() {
    let lines: String = (0..50).map(|n| format!("wrong-{n} = 1\n")).collect();
    let (_, errors) = Manifest::examine("front.toml", &format!("[tasks.a]\n{lines}[tasks.b]\n"));
    assert_eq!(errors.len(), 20);

    let (manifest, errors) = Manifest::examine("front.toml", "[tasks.a]\nevery = 10\n\n[tasks.b]\nevery = \"1s\"\n");
    assert_eq!(errors.iter().map(BadManifest::line).collect::<Vec<_>>(), [2]);
    assert_eq!(manifest.drafts.len(), 1, "what is good is kept");

    let (manifest, errors) = Manifest::examine("front.toml", "[tasks.a\nevery = \"1s\"\n");
    assert!(manifest.drafts.is_empty() && errors[0].to_string().contains("this is not TOML"), "{errors:?}");
}

#[test]
fn however_much_of_a_manifest_a_message_quotes_it_is_one_line_of_bounded_length() {
    let long = "x".repeat(100_000);
    for text in [
        format!("[tasks.a]\n{long} = 1\n"),
        format!("[tasks.a]\nevery = \"{}\"\n", "9999d ".repeat(10_000)),
        format!("[tasks.a]\nevery = {{ {long} = 1 }}\n"),
        format!("[tasks.a]\nretry = \"{long}\"\n"),
        format!("[tasks.a]\nsettings = {{ {long} = 1 }}\n"),
        format!("[tasks.{long}]\n"),
        "[tasks.a]\n\"every\u{2028}zone\" = 1\n".to_owned(),
        "[tasks.a]\non-start = \"\\u001b\\u2029\\u0085\"\n".to_owned(),
    ] {
        let (_, errors) = Manifest::examine("front.toml", &text);
        let error = Manifest::parse("front.toml", &text).expect_err("it is wrong");
        assert!(errors.contains(&error), "{error}: {errors:?}");
        let error = error.to_string();
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        assert!(error.chars().count() < 1100 && !error.contains(breaks), "{} bytes: {error:?}", error.len());
    }
    let error =
        Manifest::parse("front.toml", &format!("[tasks.a]\n{long} = 1\n")).expect_err("an unknown key").to_string();
    assert!(
        error.contains("known keys: description, labels, every, "),
        "what may stand there is told all the same: {error}"
    );
    assert_eq!(reading::nearest(&"every".repeat(20), &["every"]), None, "comparing takes as long as a text is");
}
