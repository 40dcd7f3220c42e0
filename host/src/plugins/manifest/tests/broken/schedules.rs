//! Lists faults of schedules and of the policies for them: catch-up, overlap, pause and brake.

pub(super) const BROKEN: &[(&str, &str, &str)] = &[
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
];
