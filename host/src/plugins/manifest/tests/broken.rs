//! Lists broken manifests, each with its one-line error.

use super::*;

mod following;

/// The fault, the manifest, and the error.
const BROKEN: &[(&str, &str, &str)] = &[
    ("no TOML at all", "hello", "front.toml:1: this is not TOML: key with no value, expected `=`"),
    (
        "a budget that is less than one attempt may use",
        r#"[tasks.a]
[tasks.a.limits]
fuel = 1000
[tasks.a.budget]
fuel-per-minute = 999"#,
        "front.toml:4: `tasks.a.budget`: `fuel-per-minute` is less than `limits.fuel`, what one attempt may use; raise it, or lower that",
    ),
    (
        "an empty budget of fuel",
        r#"[tasks.a.budget]
fuel-per-minute = 0"#,
        "front.toml:2: `tasks.a.budget.fuel-per-minute`: 0 is out of range; write a whole number from 1 to 1000000000000000000",
    ),
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
        "front.toml:1: unknown key `task` at the top; did you mean `tasks`? known keys: tasks, chains",
    ),
    (
        "an unknown key in an otherwise empty file",
        r#"name = "a""#,
        "front.toml:1: unknown key `name` at the top; known keys: tasks, chains",
    ),
    (
        "a misspelt key",
        r#"# what it does

[tasks.a]
evry = "10s""#,
        "front.toml:4: unknown key `evry` in [tasks.a]; did you mean `every`? known keys: description, every, cron, cron-seconds, at, on-start, after, pace, zone, dst, start, end, times, delay, jitter, spread, start-within, overlap, catch-up, catch-up-within, pause-after, brake, runs-on, input, input-json, args, env, settings, retry, limits, budget, grants",
    ),
    (
        "a key in the wrong case",
        "[tasks.a]
on_start = true",
        "front.toml:2: unknown key `on_start` in [tasks.a]; did you mean `on-start`? known keys: description, every, cron, cron-seconds, at, on-start, after, pace, zone, dst, start, end, times, delay, jitter, spread, start-within, overlap, catch-up, catch-up-within, pause-after, brake, runs-on, input, input-json, args, env, settings, retry, limits, budget, grants",
    ),
    (
        "an unknown limit",
        r#"[tasks.a]
[tasks.a.limits]
time = "10s""#,
        "front.toml:3: unknown key `time` in [tasks.a.limits]; known keys: deadline, grace, fuel, memory, table-elements, host-calls, host-call-bytes, handles, files, output, log, stdio",
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
        "a table for a length of time",
        "[tasks.a]
every = { seconds = 3 }",
        r#"front.toml:2: `tasks.a.every`: a table is not a text; write a length of time such as "10s", "500ms" or "2h 30m""#,
    ),
    (
        "a bare number for a length of time",
        "[tasks.a]
every = 10",
        r#"front.toml:2: `tasks.a.every`: 10 has no unit; write "10s" if seconds are meant"#,
    ),
    (
        "a length of time of nothing",
        r#"[tasks.a]
every = "soon""#,
        r#"front.toml:2: `tasks.a.every`: "soon" is not a length of time; write one such as "10s", "500ms" or "2h 30m""#,
    ),
    (
        "an interval that is too short",
        r#"[tasks.a]
every = "5ms""#,
        r#"front.toml:2: `tasks.a.every`: "5ms" is out of range; write "10ms" to "366d""#,
    ),
    (
        "a crontab with a bad hour",
        r#"[tasks.a]
cron = "0 25 * * *""#,
        "front.toml:2: `tasks.a.cron`: hour `25`: `25` is out of range; use 0-23, `*`, `H`, `a-b`, `a~b`, `*/n`, `a-b/n` or a list of them",
    ),
    (
        "a crontab with seconds",
        r#"[tasks.a]
cron = "0 0 9 * * *""#,
        "front.toml:2: `tasks.a.cron`: `0 0 9 * * *` has 6 fields, a crontab has five: minute hour day-of-month month day-of-week (seconds are for `cron-seconds`)",
    ),
    (
        "a crontab without seconds where they are asked for",
        r#"[tasks.a]
cron-seconds = "0 9 * * *""#,
        "front.toml:2: `tasks.a.cron-seconds`: `0 9 * * *` has 5 fields, a crontab with seconds has six: second minute hour day-of-month month day-of-week (without seconds it is for `cron`)",
    ),
    (
        "crontabs with and without seconds",
        r#"[tasks.a]
cron-seconds = "* * * * * *"
cron = "* * * * *""#,
        "front.toml:3: [tasks.a] has both `cron-seconds` and `cron`; keep one of them",
    ),
    (
        "a crontab in a zone that is none",
        r#"[tasks.a]
cron = "CRON_TZ=Berlin 0 9 * * *""#,
        r#"front.toml:2: `tasks.a.cron`: CRON_TZ `Berlin`: there is no such zone; did you mean "Europe/Berlin"?"#,
    ),
    (
        "another way to treat changes of the clock",
        r#"[tasks.a]
cron = "@daily"
dst = "Skip""#,
        r#"front.toml:3: `tasks.a.dst`: "Skip" is not a way to treat changes of the clock; write "vixie", "skip" or "utc""#,
    ),
    (
        "changes of the clock where there is no crontab",
        r#"[tasks.a]
dst = "skip"
every = "10s""#,
        "front.toml:2: [tasks.a] has `dst`, which is for `cron` and `cron-seconds`; add one of them, or leave `dst` out",
    ),
    (
        "changes of the clock where there is no schedule",
        r#"[tasks.a]
dst = "utc""#,
        "front.toml:2: [tasks.a] has `dst`, which is for `cron` and `cron-seconds`; add one of them, or leave `dst` out",
    ),
    (
        "a crontab that never fires",
        r#"[tasks.a]
cron = "0 0 31 2 *""#,
        "front.toml:2: `tasks.a.cron`: `0 0 31 2 *` never comes; use days that these months have",
    ),
    (
        "two schedules",
        r#"[tasks.a]
every = "10s"
cron = "* * * * *""#,
        "front.toml:3: [tasks.a] has both `every` and `cron`; keep one of them",
    ),
    (
        "an instant that is another one at each reading",
        r#"[tasks.a]
at = "tomorrow 4am""#,
        r#"front.toml:2: `tasks.a.at`: "tomorrow 4am" means another instant each time the manifest is read; write a date such as "2027-01-01 14:30" or "2027-01-01T00:00:00+01:00", or use `sexton schedule add --at`"#,
    ),
    (
        "an instant with a word that means nothing",
        r#"[tasks.a]
at = "2027-01-01 14:30 CEST""#,
        "front.toml:2: `tasks.a.at`: `cest` is not understood; write a day (`2027-03-28`, `tomorrow`, `friday`, `4 july`), a time (`14:30`, `4am`, `noon`), a zone (`Europe/Berlin`), `in 2 hours`, or `+ 10 minutes`",
    ),
    (
        "a TOML time",
        "[tasks.a]
at = 14:30:00",
        r#"front.toml:2: `tasks.a.at`: "14:30:00" means another instant each time the manifest is read; write a date such as "2027-01-01 14:30" or "2027-01-01T00:00:00+01:00", or use `sexton schedule add --at`"#,
    ),
    (
        "a text for a yes or no",
        r#"[tasks.a]
on-start = "yes""#,
        r#"front.toml:2: `tasks.a.on-start`: "yes" is not allowed here; write true or false"#,
    ),
    (
        "a zone by its city",
        r#"[tasks.a]
zone = "Berlin""#,
        r#"front.toml:2: `tasks.a.zone`: there is no zone "Berlin"; did you mean "Europe/Berlin"?"#,
    ),
    (
        "a misspelt zone",
        r#"[tasks.a]
zone = "Europe/Berln""#,
        r#"front.toml:2: `tasks.a.zone`: there is no zone "Europe/Berln"; did you mean "Europe/Berlin"?"#,
    ),
    (
        "a zone that is none",
        r#"[tasks.a]
zone = "Middle-earth""#,
        r#"front.toml:2: `tasks.a.zone`: there is no zone "Middle-earth"; write one of the IANA database, such as "Europe/Berlin""#,
    ),
    (
        "an unknown way to overlap",
        r#"[tasks.a]
overlap = "allow""#,
        r#"front.toml:2: `tasks.a.overlap`: "allow" is not a way to overlap; write "skip", "queue-one", "queue-all", "replace" or "allow(N)" with N from 1 to 10000"#,
    ),
    (
        "too much overlap",
        r#"[tasks.a]
overlap = "allow(10001)""#,
        r#"front.toml:2: `tasks.a.overlap`: "allow(10001)" is not a way to overlap; write "skip", "queue-one", "queue-all", "replace" or "allow(N)" with N from 1 to 10000"#,
    ),
    (
        "a number of times for what runs on demand",
        r#"[tasks.a]
times = 3"#,
        "front.toml:2: `tasks.a.times` goes with a schedule, and the task runs on demand only; add `every` or `cron`, or leave it out",
    ),
    (
        "a start for a single instant",
        r#"[tasks.a]
at = 2027-01-01T00:00:00Z
start = 2026-01-01T00:00:00Z"#,
        "front.toml:3: `tasks.a.start` goes with `every` or `cron`, not with `at`; leave it out",
    ),
    (
        "an end for what runs when hosts start",
        r#"[tasks.a]
end = 2027-01-01T00:00:00Z
on-start = true"#,
        "front.toml:2: `tasks.a.end` goes with `every` or `cron`, not with `on-start`; leave it out",
    ),
    (
        "an end before the start",
        r#"[tasks.a]
every = "1h"
end = 2026-01-01T00:00:00+01:00
start = 2026-01-01T00:00:00Z"#,
        "front.toml:3: `tasks.a.end` is before `start`; nothing would ever be due",
    ),
    (
        "a start that is another one at each reading",
        r#"[tasks.a]
every = "1h"
start = "tomorrow""#,
        r#"front.toml:3: `tasks.a.start`: "tomorrow" means another instant each time the manifest is read; write a date such as "2027-01-01 14:30" or "2027-01-01T00:00:00+01:00", or use `sexton schedule add --at`"#,
    ),
    (
        "no times at all",
        r#"[tasks.a]
every = "1h"
times = 0"#,
        "front.toml:3: `tasks.a.times`: 0 is out of range; write a whole number from 1 to 1000000",
    ),
    (
        "more jitter than there is between two runs",
        r#"[tasks.a]
every = "10s"
jitter = "11s""#,
        "front.toml:3: `tasks.a.jitter` is longer than `every`; runs would overtake each other, make it as long at most",
    ),
    (
        "a delay without a unit",
        r#"[tasks.a]
every = "10s"
delay = 5"#,
        r#"front.toml:3: `tasks.a.delay`: 5 has no unit; write "5s" if seconds are meant"#,
    ),
    (
        "a deadline to start on demand",
        r#"[tasks.a]
start-within = "5s""#,
        "front.toml:2: `tasks.a.start-within` goes with a schedule, and the task runs on demand only; add `every` or `cron`, or leave it out",
    ),
    (
        "a bound on catching up with nothing",
        r#"[tasks.a]
every = "10s"
catch-up-within = "1h""#,
        r#"front.toml:3: `tasks.a.catch-up-within` bounds what `catch-up` runs, which is "none"; write "latest" or "all(N)" there, or leave it out"#,
    ),
    (
        "an unknown way to catch up",
        r#"[tasks.a]
catch-up = "all""#,
        r#"front.toml:2: `tasks.a.catch-up`: "all" is not a way to catch up; write "none", "latest" or "all(N)" with N from 1 to 1000"#,
    ),
    (
        "a pause after nothing",
        "[tasks.a]
pause-after = 0",
        "front.toml:2: `tasks.a.pause-after`: 0 is out of range; write a whole number from 1 to 1000",
    ),
    (
        "a pause after a while",
        r#"[tasks.a]
pause-after = "5m""#,
        r#"front.toml:2: `tasks.a.pause-after`: "5m" is out of range; write a whole number from 1 to 1000"#,
    ),
    (
        "a bare number for the brake",
        "[tasks.a]
brake = 10",
        r#"front.toml:2: `tasks.a.brake`: 10 has no unit; write "10s" if seconds are meant, or "off""#,
    ),
    (
        "a brake that holds for too short",
        r#"[tasks.a]
brake = "10ms""#,
        r#"front.toml:2: `tasks.a.brake`: "10ms" is out of range; write "1s" to "1d", or "off""#,
    ),
    (
        "a brake that holds for too long",
        r#"[tasks.a]
brake = "2d""#,
        r#"front.toml:2: `tasks.a.brake`: "2d" is out of range; write "1s" to "1d", or "off""#,
    ),
    (
        "no brake by another word",
        r#"[tasks.a]
brake = "none""#,
        r#"front.toml:2: `tasks.a.brake`: "none" is not a length of time; write one such as "10s", "500ms" or "2h 30m", or "off""#,
    ),
    (
        "no brake by a yes or no",
        "[tasks.a]
brake = false",
        r#"front.toml:2: `tasks.a.brake`: false is not a text; write a length of time such as "10s", "500ms" or "2h 30m", or "off""#,
    ),
    (
        "two inputs",
        r#"[tasks.a]
input = "x"
input-json = { x = 1 }"#,
        "front.toml:3: [tasks.a] has both `input` and `input-json`; keep one of them",
    ),
    (
        "an input that JSON does not have",
        "[tasks.a]
input-json = { x = nan }",
        "front.toml:2: `tasks.a.input-json`: JSON has no nan and no inf; write another number",
    ),
    (
        "a number among the arguments",
        r#"[tasks.a]
args = ["-n", 3]"#,
        "front.toml:2: `tasks.a.args`: 3 is not allowed here; write a text in quotes",
    ),
    (
        "a number among the settings",
        "[tasks.a]
[tasks.a.settings]
size = 3",
        "front.toml:3: `tasks.a.settings.size`: 3 is not allowed here; write a text in quotes",
    ),
    (
        "an environment that no program can have",
        r#"[tasks.a]
env = { "A=B" = "c" }"#,
        "front.toml:2: `tasks.a.env`: a name is empty or has `=` in it, or a NUL; leave it out",
    ),
    (
        "no attempt at all",
        "[tasks.a]
retry = { attempts = 0 }",
        "front.toml:2: `tasks.a.retry.attempts`: 0 is out of range; write a whole number from 1 to 1000",
    ),
    (
        "a factor below one",
        "[tasks.a]
retry = { factor = 0.5 }",
        "front.toml:2: `tasks.a.retry.factor`: 0.5 is out of range; write a number from 1 to 100",
    ),
    (
        "more chance than there is",
        "[tasks.a]
retry = { jitter = 1.5 }",
        "front.toml:2: `tasks.a.retry.jitter`: 1.5 is out of range; write a number from 0 to 1",
    ),
    (
        "a longest delay below the delay",
        r#"[tasks.a]
retry = { delay = "1m", max-delay = "10s" }"#,
        "front.toml:2: `tasks.a.retry`: `max-delay` is shorter than `delay`; make it at least as long",
    ),
    (
        "a bare number for a deadline",
        "[tasks.a]
[tasks.a.limits]
deadline = 30",
        r#"front.toml:3: `tasks.a.limits.deadline`: 30 has no unit; write "30s" if seconds are meant"#,
    ),
    (
        "a deadline of zero",
        r#"[tasks.a]
[tasks.a.limits]
deadline = "0s""#,
        r#"front.toml:3: `tasks.a.limits.deadline`: "0s" is out of range; write "1ms" to "366d""#,
    ),
    (
        "a deadline of two years",
        r#"[tasks.a]
[tasks.a.limits]
deadline = "2y""#,
        r#"front.toml:3: `tasks.a.limits.deadline`: "2y" is out of range; write "1ms" to "366d""#,
    ),
    (
        "no fuel",
        "[tasks.a]
[tasks.a.limits]
fuel = 0",
        "front.toml:3: `tasks.a.limits.fuel`: 0 is out of range; write a whole number from 1 to 1000000000000000000",
    ),
    (
        "memory without a known unit",
        r#"[tasks.a]
[tasks.a.limits]
memory = "64 MX""#,
        r#"front.toml:3: `tasks.a.limits.memory`: "64 MX" is not a size; write one such as "64 MiB", "512 KiB" or "1 GB""#,
    ),
    (
        "more memory than 32 bits can address",
        r#"[tasks.a]
[tasks.a.limits]
memory = "5 GiB""#,
        r#"front.toml:3: `tasks.a.limits.memory`: "5 GiB" is out of range; write "64 KiB" to "4 GiB""#,
    ),
    (
        "a negative limit",
        "[tasks.a]
[tasks.a.limits]
handles = -1",
        "front.toml:3: `tasks.a.limits.handles`: -1 is out of range; write a whole number from 1 to 100000",
    ),
    (
        "no log",
        "[tasks.a]
[tasks.a.limits]
log = 0",
        r#"front.toml:3: `tasks.a.limits.log`: 0 is out of range; write "1 B" to "64 MiB""#,
    ),
    (
        "a star in the middle",
        r#"[tasks.a]
[tasks.a.grants]
locks = ["remote-*-x"]"#,
        r#"front.toml:3: `tasks.a.grants.locks`: "remote-*-x" is not a pattern; write a name, or its beginning with one `*` at the end"#,
    ),
    (
        "a host with its scheme",
        r#"[tasks.a]
[tasks.a.grants]
http = ["https://example.org"]"#,
        r#"front.toml:3: `tasks.a.grants.http`: "https://example.org" is more than a host; leave scheme and path out: "api.example.org", "*.example.org", "127.0.0.1:8080" or "[::1]:8080""#,
    ),
    (
        "a port that is none",
        r#"[tasks.a]
[tasks.a.grants]
http = ["example.org:99999"]"#,
        r#"front.toml:3: `tasks.a.grants.http`: "example.org:99999" has a port that is not one of 1 to 65535; write one such as "api.example.org", "*.example.org", "127.0.0.1:8080" or "[::1]:8080""#,
    ),
    (
        "a star inside a host",
        r#"[tasks.a]
[tasks.a.grants]
http = ["api.*.org"]"#,
        r#"front.toml:3: `tasks.a.grants.http`: "api.*.org" is not a host; write one such as "api.example.org", "*.example.org", "127.0.0.1:8080" or "[::1]:8080""#,
    ),
    (
        "an address that is none",
        r#"[tasks.a]
[tasks.a.grants]
http = ["127.0.0.256"]"#,
        r#"front.toml:3: `tasks.a.grants.http`: "127.0.0.256" is not a host; write one such as "api.example.org", "*.example.org", "127.0.0.1:8080" or "[::1]:8080""#,
    ),
    (
        "one host instead of a list",
        r#"[tasks.a]
[tasks.a.grants]
http = "example.org""#,
        r#"front.toml:3: `tasks.a.grants.http`: "example.org" is not allowed here; write a list in brackets"#,
    ),
    (
        "a directory without a place in the guest",
        r#"[tasks.a]
[[tasks.a.grants.directories]]
host = "data""#,
        "front.toml:2: `guest` is missing in [tasks.a.grants.directories]; add it",
    ),
    (
        "a directory that leads upwards",
        r#"[tasks.a]
[[tasks.a.grants.directories]]
host = "../data"
guest = "/data""#,
        r#"front.toml:3: `tasks.a.grants.directories.host`: "../data" leads upwards; write an absolute path, or one below the plugin directory"#,
    ),
    (
        "a place in the guest that is relative",
        r#"[tasks.a]
[[tasks.a.grants.directories]]
host = "data"
guest = "data""#,
        r#"front.toml:4: `tasks.a.grants.directories.guest`: "data" is not an absolute path; write one such as "/data""#,
    ),
    (
        "a quota of a directory that may only be read",
        r#"[tasks.a]
[[tasks.a.grants.directories]]
host = "data"
guest = "/data"
quota = "10 MiB""#,
        r#"front.toml:5: `tasks.a.grants.directories.quota`: the directory may only be read; leave it out, or add `write = true`"#,
    ),
    (
        "a quota without a unit that there is",
        r#"[tasks.a]
[[tasks.a.grants.directories]]
host = "data"
guest = "/data"
write = true
quota = "10 elephants""#,
        r#"front.toml:6: `tasks.a.grants.directories.quota`: "10 elephants" is not a size; write one such as "64 MiB", "512 KiB" or "1 GB""#,
    ),
    (
        "two directories at one place",
        r#"[tasks.a]
[tasks.a.grants]
directories = [
  { host = "x", guest = "/d" },
  { host = "y", guest = "/d/" },
]"#,
        r#"front.toml:5: `tasks.a.grants.directories`: two are seen as "/d"; rename one"#,
    ),
    (
        "a control character in a value",
        r#"[tasks.a]
zone = "a\u001b[31mb""#,
        r#"front.toml:2: `tasks.a.zone`: there is no zone "a [31mb"; write one of the IANA database, such as "Europe/Berlin""#,
    ),
];

#[test]
fn a_broken_manifest_has_one_line_with_position_fault_and_remedy() {
    for (name, text, expected) in BROKEN.iter().chain(following::BROKEN) {
        match Manifest::parse("front.toml", text) {
            Ok(manifest) => panic!("{name}: {manifest:?}"),
            Err(error) => assert_eq!(error.to_string(), *expected, "{name}"),
        }
    }
}

#[test]
fn the_table_is_as_long_as_it_is_meant_to_be() {
    assert!(BROKEN.len() >= 30, "{}", BROKEN.len());
}
