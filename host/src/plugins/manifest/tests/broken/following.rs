//! Lists faults of `after`, `pace` and chains, each with its manifest and its error.

pub(super) const BROKEN: &[(&str, &str, &str)] = &[
    (
        "a length of time after the end that has no unit",
        "[tasks.a]\nafter = 10",
        r#"front.toml:2: `tasks.a.after`: 10 has no unit; write "10s" if seconds are meant"#,
    ),
    (
        "a length of time after the end that is none",
        "[tasks.a]\nafter = [1]",
        r#"front.toml:2: `tasks.a.after`: a list is not allowed here; write a length of time such as "10s", or { success = "10m", fail = "1m" }"#,
    ),
    (
        "a key of `after` that there is not",
        "[tasks.a]\nafter = { failure = \"1m\" }",
        "front.toml:2: unknown key `failure` in [tasks.a.after]; did you mean `fail`? known keys: success, fail",
    ),
    (
        "two triggers of which one goes by ends",
        "[tasks.a]\nevery = \"1m\"\nafter = \"1m\"",
        "front.toml:3: [tasks.a] has both `every` and `after`; keep one of them",
    ),
    (
        "a pace with fewer at the most than at the least",
        "[tasks.a]\npace = { min = 3, max = 2, from = \"1s\", to = \"1m\" }",
        "front.toml:2: `tasks.a.pace`: `min` is 3 and `max` is 2; make `max` at least as many",
    ),
    (
        "a pace whose longest interval is shorter than its shortest",
        "[tasks.a]\npace = { min = 1, max = 2, from = \"1m\", to = \"1s\" }",
        "front.toml:2: `tasks.a.pace`: `to` is shorter than `from`; make it at least as long",
    ),
    (
        "a pace that does not say how many",
        "[tasks.a]\npace = { min = 1, from = \"1m\", to = \"1s\" }",
        "front.toml:2: `max` is missing in [tasks.a.pace]; add it",
    ),
    (
        "a pace and a way to overlap",
        "[tasks.a]\noverlap = \"skip\"\npace = { min = 1, max = 2, from = \"1s\", to = \"1m\" }",
        "front.toml:3: [tasks.a] has both `pace` and `overlap`; leave `overlap` out: `max` says how many go at once",
    ),
    (
        "a chain that is called like a task",
        "[tasks.a]\n[chains.a]\nlinks = [\"b\"]",
        "front.toml:2: there is a task `a` and a chain `a`; rename one of them",
    ),
    (
        "a chain without links",
        "[chains.a]\nlinks = []",
        "front.toml:2: `chains.a.links`: there are none; name at least one task",
    ),
    (
        "a chain that is its own link",
        "[chains.a]\nlinks = [\"b\", { task = \"a\" }]",
        "front.toml:2: `chains.a.links`: a chain cannot be a link of itself; leave it out",
    ),
    (
        "a link that is no name",
        "[chains.a]\nlinks = [\"B\"]",
        "front.toml:2: `chains.a.links`: `B` is not a name: use 1 to 64 of a-z, 0-9, `-`, `_` and `.`, beginning with a letter or a digit",
    ),
    (
        "a key of a link that there is not",
        "[chains.a]\nlinks = [{ task = \"b\", cooldown = \"1m\" }]",
        "front.toml:2: unknown key `cooldown` in [chains.a.links]; did you mean `fail-cooldown`? known keys: task, success-cooldown, fail-cooldown",
    ),
    (
        "something else to do on a failure",
        "[chains.a]\nlinks = [\"b\"]\non-failure = \"halt\"",
        r#"front.toml:3: `chains.a.on-failure`: "halt" is not an action of a chain; write "go-on" or "stop""#,
    ),
];
