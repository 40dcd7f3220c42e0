//! Lists faults of inputs, retries, limits, budgets and grants.

pub(super) const BROKEN: &[(&str, &str, &str)] = &[
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
];
