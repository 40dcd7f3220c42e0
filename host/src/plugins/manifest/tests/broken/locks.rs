//! Lists faults of locks of tasks, and of the steps by which runs are ended, each with its manifest and its error.

pub(super) const BROKEN: &[(&str, &str, &str)] = &[
    (
        "a lock without a name",
        r#"[tasks.a]
lock = { wait = "1s" }"#,
        "front.toml:2: `name` is missing in [tasks.a.lock]; add it",
    ),
    (
        "a lock whose name is a pattern",
        r#"[tasks.a]
lock = { name = "remote-*" }"#,
        r#"front.toml:2: `tasks.a.lock.name`: "remote-*" is not the name of a lock; write 1 to 256 bytes without `*`"#,
    ),
    (
        "a lock that is held in no known way",
        r#"[tasks.a]
lock = { name = "x", mode = "read" }"#,
        r#"front.toml:2: `tasks.a.lock.mode`: "read" is not a way to hold a lock; write "exclusive" or "shared""#,
    ),
    (
        "a lock that is held, and a run that becomes something unknown",
        r#"[tasks.a]
lock = { name = "x", if-held = "ignore" }"#,
        r#"front.toml:2: `tasks.a.lock.if-held`: "ignore" is nothing that a run can become; write "skip", "fail" or "succeed""#,
    ),
    (
        "a grace beside a ladder",
        r#"[tasks.a.limits]
grace = "1s"
ladder = { end = "5s" }"#,
        "front.toml:3: [tasks.a.limits] has both `grace` and `ladder`; keep one of them: `ladder.end` is the grace",
    ),
    (
        "a ladder whose steps are not in order",
        r#"[tasks.a.limits]
ladder = { insist = "9s", end = "5s" }"#,
        "front.toml:2: `tasks.a.limits.ladder`: the steps are not in order; let `ask` come first, then `insist`, then `end`",
    ),
];
