//! Lists faults of the text as such: its syntax, its keys and the kinds of its values.

pub(super) const BROKEN: &[(&str, &str, &str)] = &[
    ("no TOML at all", "hello", "front.toml:1: this is not TOML: key with no value, expected `=`"),
    (
        "an unclosed text",
        r#"[tasks.a]
every = "10s"#,
        r#"front.toml:2: this is not TOML: invalid basic string, expected `"`"#,
    ),
    (
        "a key twice",
        r#"[tasks.a]
every = "1s"
every = "2s""#,
        "front.toml:3: this is not TOML: duplicate key",
    ),
    (
        "an unknown table at the top",
        r#"[task.a]
every = "10s""#,
        "front.toml:1: unknown key `task` at the top; did you mean `tasks`? known keys: tasks, chains, routes, labels",
    ),
    (
        "an unknown key in an otherwise empty file",
        r#"name = "a""#,
        "front.toml:1: unknown key `name` at the top; known keys: tasks, chains, routes, labels",
    ),
    (
        "a misspelt key",
        r#"# what it does

[tasks.a]
evry = "10s""#,
        "front.toml:4: unknown key `evry` in [tasks.a]; did you mean `every`? known keys: description, labels, every, cron, cron-seconds, at, on-start, after, pace, zone, dst, start, end, times, delay, jitter, spread, start-within, overlap, catch-up, catch-up-within, pause-after, brake, lock, runs-on, input, input-json, args, env, settings, retry, limits, budget, grants",
    ),
    (
        "a key in the wrong case",
        "[tasks.a]
on_start = true",
        "front.toml:2: unknown key `on_start` in [tasks.a]; did you mean `on-start`? known keys: description, labels, every, cron, cron-seconds, at, on-start, after, pace, zone, dst, start, end, times, delay, jitter, spread, start-within, overlap, catch-up, catch-up-within, pause-after, brake, lock, runs-on, input, input-json, args, env, settings, retry, limits, budget, grants",
    ),
    (
        "an unknown limit",
        r#"[tasks.a]
[tasks.a.limits]
time = "10s""#,
        "front.toml:3: unknown key `time` in [tasks.a.limits]; known keys: deadline, grace, idle, ladder, fuel, memory, table-elements, host-calls, host-call-bytes, handles, files, output, log, stdio",
    ),
    (
        "an unknown grant",
        "[tasks.a]
[tasks.a.grants]
network = true",
        "front.toml:3: unknown key `network` in [tasks.a.grants]; known keys: locks, cache, schedule, http, directories",
    ),
    (
        "an unknown key of retry",
        "[tasks.a]
retry = { tries = 3 }",
        "front.toml:2: unknown key `tries` in [tasks.a.retry]; known keys: attempts, delay, factor, max-delay, jitter",
    ),
    (
        "an unknown key of a directory",
        r#"[tasks.a]
grants = { directories = [{ host = "d", guest = "/d", mode = "rw" }] }"#,
        "front.toml:2: unknown key `mode` in [tasks.a.grants.directories]; did you mean `write`? known keys: host, guest, write, quota, entries",
    ),
    (
        "a name with a capital letter",
        r#"[tasks.Front]
every = "10s""#,
        "front.toml:1: `tasks`: `Front` is not a name: use 1 to 64 of a-z, 0-9, `-`, `_` and `.`, beginning with a letter or a digit",
    ),
    ("tasks that are a list", r#"tasks = ["a"]"#, "front.toml:1: `tasks`: a list is not allowed here; write a table"),
    (
        "a number for a task",
        "[tasks]
a = 3",
        "front.toml:2: `tasks.a`: 3 is not allowed here; write a table",
    ),
    (
        "a text for the limits",
        r#"[tasks.a]
limits = "30s""#,
        r#"front.toml:2: `tasks.a.limits`: "30s" is not allowed here; write a table"#,
    ),
    (
        "a control character in a value",
        r#"[tasks.a]
zone = "a\u001b[31mb""#,
        r#"front.toml:2: `tasks.a.zone`: there is no zone "a [31mb"; write one of the IANA database, such as "Europe/Berlin""#,
    ),
];
